"""Batches: together or not at all, in any partitions of one keyspace."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import fjeld
from tests.small import SMALL_PARTITION


@pytest.fixture
def ks(path: Path, small: fjeld.KeyspaceOptions) -> Iterator[fjeld.Keyspace]:
    with fjeld.open(path, options=small) as keyspace:
        yield keyspace


def test_commit_on_a_clean_exit(ks: fjeld.Keyspace) -> None:
    a, b = ks.partition("a"), ks.partition("b")
    a[b"old"] = b"1"
    with ks.batch() as batch:
        batch.insert(a, b"k", b"v")
        batch.insert(b, b"k", b"w")
        batch.remove(a, b"old")
        batch.remove_weak(b, b"never")
        assert len(batch) == 4
        assert dict(a) == {b"old": b"1"}  # nothing is seen before the commit
        assert dict(b) == {}
    assert dict(a) == {b"k": b"v"}
    assert dict(b) == {b"k": b"w"}
    assert ks.seqno == 5


def test_discard_on_an_exception(ks: fjeld.Keyspace) -> None:
    a = ks.partition("a")
    with pytest.raises(RuntimeError), ks.batch() as batch:
        batch.insert(a, b"k", b"v")
        raise RuntimeError
    assert dict(a) == {}
    assert ks.seqno == 0
    with pytest.raises(fjeld.ClosedError):
        batch.commit()


def test_by_hand(ks: fjeld.Keyspace) -> None:
    a = ks.partition("a")
    batch = ks.batch()
    batch.insert(a, b"k", b"v")
    batch.commit()
    assert a[b"k"] == b"v"
    for use in (batch.commit, lambda: batch.insert(a, b"k", b"v"), lambda: batch.remove(a, b"k")):
        with pytest.raises(fjeld.ClosedError):
            use()
    batch.discard()
    with ks.batch() as batch:
        batch.insert(a, b"l", b"v")
        batch.commit()  # the exit then has nothing to do
    with ks.batch() as batch:
        batch.insert(a, b"m", b"v")
        batch.discard()
    with ks.batch() as batch:
        batch.insert(a, b"n", b"v")
        batch.clear()
        batch.insert(a, b"o", b"v")
    assert list(a) == [b"k", b"l", b"o"]


def test_the_last_write_of_a_key_wins(ks: fjeld.Keyspace) -> None:
    a = ks.partition("a")
    with ks.batch() as batch:
        batch.insert(a, b"k", b"1")
        batch.remove(a, b"k")
        batch.insert(a, b"k", b"2")
        batch.insert(a, b"l", b"1")
        batch.remove(a, b"l")
    assert dict(a) == {b"k": b"2"}
    a.compact()
    assert dict(a) == {b"k": b"2"}


def test_what_is_wrong_is_refused_when_it_is_put_in(ks: fjeld.Keyspace, tmp_path: Path) -> None:
    a = ks.partition("a")
    with fjeld.open(tmp_path / "other") as other, ks.batch() as batch:
        for wrong, error in (
            (lambda: batch.insert(a, "k", b"v"), TypeError),
            (lambda: batch.insert(a, b"k", "v"), TypeError),
            (lambda: batch.insert(a, b"k", None), TypeError),
            (lambda: batch.insert("a", b"k", b"v"), TypeError),
            (lambda: batch.insert(None, b"k", b"v"), TypeError),
            (lambda: batch.insert(a, b"k" * 65_536, b"v"), ValueError),
            (lambda: batch.remove(a, 1), TypeError),
            (lambda: batch.insert(other.partition("a"), b"k", b"v"), ValueError),
        ):
            with pytest.raises(error):
                wrong()
        with ks.snapshot() as snap, pytest.raises(TypeError, match="read-only"):
            batch.insert(snap.partition("a"), b"k", b"v")
        batch.insert(a, b"k", b"v")
    assert dict(a) == {b"k": b"v"}
    with pytest.raises(TypeError):
        ks.batch(durability=1)


def test_a_dropped_partition_refuses_the_whole_batch(ks: fjeld.Keyspace) -> None:
    a, b = ks.partition("a"), ks.partition("b")
    with pytest.raises(fjeld.ClosedError, match="'b' was dropped"), ks.batch() as batch:
        batch.insert(a, b"k", b"v")
        batch.insert(b, b"k", b"v")
        ks.drop_partition("b")
    assert dict(a) == {}


def test_all_of_it_comes_back_or_nothing(
    ks: fjeld.Keyspace, path: Path, small: fjeld.KeyspaceOptions
) -> None:
    parts = [ks.partition(name, options=SMALL_PARTITION) for name in "abc"]
    for i in range(300):
        with ks.batch() as batch:
            for part in parts:
                batch.insert(part, b"%04d" % (i * 7 % 300), b"%d" % i * 20)
    ks.close()
    with fjeld.open(path, options=small) as again:
        contents = [dict(again.partition(name)) for name in "abc"]
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0]) == 300


def test_snapshots_see_batches_whole(ks: fjeld.Keyspace) -> None:
    """Over partitions, while they are written, sealed, flushed and compacted."""
    a, b = ks.partition("a", options=SMALL_PARTITION), ks.partition("b")
    stop = threading.Event()
    torn: list[object] = []

    def read() -> None:
        while not stop.is_set():
            with ks.snapshot() as snap:
                left, right = snap.partition("a"), snap.partition("b")
                values = {*left.values(), *right.values(), left.get(b"k0"), right.get(b"k9")}
                if len(values) > 1:
                    torn.append(values)

    with ks.batch() as batch:
        for part in (a, b):
            for i in range(10):
                batch.insert(part, b"k%d" % i, b"start")
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(400):
        with ks.batch() as batch:
            for i in range(10):
                batch.insert(a, b"k%d" % i, b"%06d" % number * 4)
                batch.insert(b, b"k%d" % i, b"%06d" % number * 4)
        if number % 100 == 50:
            ks.compact()
    stop.set()
    reader.join()
    assert torn == []
