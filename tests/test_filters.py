"""Compaction filters and entries that expire, as a user has them."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import fjeld
from fjeld.sync_points import set_sync_point
from tests.small import small_options
from tests.support import Task

Pairs = list[tuple[bytes, bytes]]


def opened(path: Path, **filters: fjeld.CompactionFilter) -> fjeld.Keyspace:
    return fjeld.open(path, options=fjeld.KeyspaceOptions(compaction_filters=filters))


def even(pairs: Pairs) -> list[bool]:
    return [int(key) % 2 == 0 for key, _ in pairs]


def test_what_a_filter_refuses_is_gone_after_a_compaction(path: Path) -> None:
    with opened(path, p=even) as keyspace:
        partition, other = keyspace.partition("p"), keyspace.partition("other")
        for number in range(3000):
            partition.insert(b"%d" % number, b"v")
            other.insert(b"%d" % number, b"v")
        keyspace.flush()
        assert len(partition) == 3000  # a flush asks nobody
        keyspace.compact()
        assert sorted(map(int, partition)) == list(range(0, 3000, 2))
        assert len(other) == 3000
        digest = keyspace.digest()
    with fjeld.open(path) as keyspace:
        assert keyspace.digest() == digest


def test_what_was_there_before_does_not_come_back(path: Path) -> None:
    with opened(path, p=lambda pairs: [value != b"new" for _, value in pairs]) as keyspace:
        partition = keyspace.partition("p")
        partition.insert(b"k", b"old")
        keyspace.compact()
        assert partition.get(b"k") == b"old"
        partition.insert(b"k", b"new")
        keyspace.compact()
        assert partition.get(b"k") is None


def test_an_open_snapshot_sees_what_it_saw(path: Path) -> None:
    with opened(path, p=lambda pairs: [False] * len(pairs)) as keyspace:
        partition = keyspace.partition("p")
        for number in range(100):
            partition.insert(b"%d" % number, b"v")
        with keyspace.snapshot() as snapshot:
            keyspace.compact()
            assert len(partition) == 100  # what a snapshot sees is not asked about
            partition.insert(b"more", b"v")
            keyspace.compact()
            assert len(partition) == 100
            assert len(snapshot.partition("p")) == 100
        keyspace.compact()
        assert len(partition) == 0


def test_a_snapshot_that_is_opened_during_the_compaction(path: Path) -> None:
    with opened(path, p=lambda pairs: [False] * len(pairs)) as keyspace:
        partition = keyspace.partition("p")
        for number in range(100):
            partition.insert(b"%d" % number, b"v")
        snapshots: list[fjeld.Snapshot] = []
        set_sync_point("compaction:start", lambda: snapshots.append(keyspace.snapshot()))
        keyspace.compact()
        (snapshot,) = snapshots
        assert len(partition) == 0
        assert len(snapshot.partition("p")) == 100
        snapshot.close()


def test_the_background_asks_too(path: Path) -> None:
    options = small_options(compaction_filters={"p": even})
    with fjeld.open(path, options=options) as keyspace:
        partition = keyspace.partition("p")
        for round_ in range(5):
            for number in range(2000):
                partition.insert(b"%d" % number, b"%d" % round_ * 20)
        keyspace._engine.maintainer.wait_idle()
        assert 1000 <= len(partition) < 2000
        assert all(partition.get(b"%d" % number) for number in range(0, 2000, 2))


@pytest.mark.parametrize("failure", ["it raises", "too few answers"])
def test_a_filter_that_fails_drops_nothing(path: Path, failure: str) -> None:
    broken = True

    def decide(pairs: Pairs) -> list[bool]:
        if not broken:
            return even(pairs)
        return [1 / 0 > 1] if failure == "it raises" else []

    with opened(path, p=decide) as keyspace:
        partition = keyspace.partition("p")
        for number in range(2000):
            partition.insert(b"%d" % number, b"v")
        with pytest.raises((ZeroDivisionError, ValueError)):
            keyspace.compact()
        assert len(partition) == 2000
        tables = {file.name for file in (path / "tables").iterdir()}
        assert len(tables) == sum(level["tables"] for level in partition.stats()["levels"])
        broken = False
        keyspace.compact()
        assert len(partition) == 1000


def test_a_filter_may_be_slow(path: Path) -> None:
    """Writers and readers go on while it decides."""
    asked, go = threading.Event(), threading.Event()

    def decide(pairs: Pairs) -> list[bool]:
        asked.set()
        go.wait()
        return [True] * len(pairs)

    with opened(path, p=decide) as keyspace:
        partition = keyspace.partition("p")
        partition.insert(b"k", b"v")
        compacting = Task(keyspace.compact)
        asked.wait()
        partition.insert(b"l", b"w")
        assert partition.get(b"k") == b"v"
        info = keyspace.backup_to(path.with_name("copy"))
        go.set()
        compacting.result()
    with fjeld.open(info.path) as copy:
        assert dict(copy.partition("p")) == {b"k": b"v", b"l": b"w"}


def test_entries_expire(path: Path) -> None:
    now = 1000.0
    filters = {
        "p": fjeld.expiring(
            lambda key, value: None if key == b"for ever" else struct.unpack("<d", value)[0],
            clock=lambda: now,
        )
    }
    with opened(path, **filters) as keyspace:
        partition = keyspace.partition("p")
        for seconds in range(10):
            partition.insert(b"%d" % seconds, struct.pack("<d", 1000.0 + seconds))
        partition.insert(b"for ever", b"")
        now = 1004.0
        keyspace.compact()
        assert list(partition) == [b"5", b"6", b"7", b"8", b"9", b"for ever"]
        now = 2000.0
        keyspace.compact()
        assert list(partition) == [b"for ever"]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([("p", even)], "compaction_filters must be Mapping"),
        ({1: even}, "name of a compaction filter must be str"),
        ({"p": 7}, "filter of 'p' must be callable"),
    ],
)
def test_what_is_no_filter(filters: object, message: str) -> None:
    make: Callable[..., object] = fjeld.KeyspaceOptions
    with pytest.raises(TypeError, match=message):
        make(compaction_filters=filters)


def test_options_with_filters_are_values() -> None:
    filters = {"p": even}
    options = fjeld.KeyspaceOptions(compaction_filters=filters)
    filters.clear()
    assert dict(options.compaction_filters) == {"p": even}
    assert options == fjeld.KeyspaceOptions(compaction_filters={"p": even})
    assert hash(options) == hash(fjeld.KeyspaceOptions())
