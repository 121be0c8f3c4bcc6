"""Snapshots: the whole keyspace at one moment, for as long as they are held."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

import pytest

import fjeld
from fjeld.sync_points import set_sync_point
from tests.small import SMALL_PARTITION


@pytest.fixture
def ks(path: Path, small: fjeld.KeyspaceOptions) -> Iterator[fjeld.Keyspace]:
    with fjeld.open(path, options=small) as keyspace:
        yield keyspace


@pytest.fixture
def p(ks: fjeld.Keyspace) -> fjeld.Partition:
    return ks.partition("p", options=SMALL_PARTITION)


def test_a_read_only_mapping(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    p.update({b"a": b"1", b"b": b"2", b"ba": b"3"})
    with ks.snapshot() as snap:
        view = snap.partition("p")
        p[b"c"] = b"4"
        assert isinstance(view, Mapping)
        assert not isinstance(view, MutableMapping)
        assert not hasattr(view, "insert")
        assert dict(view) == {b"a": b"1", b"b": b"2", b"ba": b"3"}
        assert (view[b"a"], view.get(b"c"), b"b" in view, len(view)) == (b"1", None, True, 3)
        assert list(view.items()) == [(b"a", b"1"), (b"b", b"2"), (b"ba", b"3")]
        assert list(reversed(view.keys())) == [b"ba", b"b", b"a"]
        assert b"3" in view.values()
        assert b"4" not in view.values()
        assert list(view.prefix(b"b", reverse=True)) == [(b"ba", b"3"), (b"b", b"2")]
        assert list(view.range(b"b")) == [(b"b", b"2"), (b"ba", b"3")]
        assert (view.first(), view.last()) == ((b"a", b"1"), (b"ba", b"3"))
        assert view.get_many([b"c", b"a"]) == [None, b"1"]
        assert view.size_of(b"c") is None
        assert not view.is_empty()
        assert bool(view)
        with view.cursor() as cursor:
            assert cursor.seek_last()
            assert cursor.key == b"ba"
        assert view.name == "p"
        assert snap.partition("p") is view
        assert view == view
        assert view != dict(view)
        with pytest.raises(KeyError):
            view[b"c"]
        with pytest.raises(TypeError):
            view[b"c"] = b"5"
        with pytest.raises(TypeError):
            del view[b"a"]


def test_its_seqno(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    with ks.snapshot() as empty:
        p[b"a"] = b"1"
        with ks.snapshot() as one:
            assert (empty.seqno, one.seqno) == (0, 1)
            assert (len(empty.partition("p")), len(one.partition("p"))) == (0, 1)


def test_every_version_stays_readable(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    """Flush and compaction keep the newest version at or below each open snapshot, tombstones included."""
    opened = []
    state: dict[bytes, bytes] = {}
    for i in range(60):
        key = b"key%d" % (i % 7)
        if i % 5 == 4:
            p.remove(key)
            state.pop(key, None)
        else:
            p[key] = b"%d" % i * 30
            state[key] = b"%d" % i * 30
        opened.append((ks.snapshot(), dict(state)))
        if i % 11 == 10:
            p.flush()
        if i % 23 == 22:
            p.compact()
    for round_ in range(3):
        for snapshot, expected in opened:
            assert dict(snapshot.partition("p")) == dict(sorted(expected.items()))
        p.compact()
        for snapshot, _ in opened[round_::4]:
            snapshot.close()
        opened = [pair for i, pair in enumerate(opened) if i not in range(round_, len(opened), 4)]
    for snapshot, _ in opened:
        snapshot.close()
    p.compact()
    assert sum(level["entries"] for level in p.stats()["levels"]) == len(state)  # no garbage is left


def test_clear_is_not_seen(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    p.insert_many((b"%05d" % i, b"v" * 30) for i in range(1500))
    p.compact()
    p[b"in memory"] = b"v"
    with ks.snapshot() as used, ks.snapshot() as unused:
        view = used.partition("p")
        assert len(view) == 1501
        iterator = iter(view.items())
        next(iterator)
        p.clear()
        p[b"after"] = b"v"
        p.compact()
        gc.collect()
        assert len(list(iterator)) == 1500
        assert len(view) == len(unused.partition("p")) == 1501
        assert view[b"in memory"] == unused.partition("p")[b"in memory"] == b"v"
        with ks.snapshot() as later:
            assert dict(later.partition("p")) == {b"after": b"v"}
        p.clear()
        assert len(unused.partition("p")) == 1501
    assert dict(p) == {}


def test_a_clear_that_is_under_way_is_seen_whole_or_not_at_all(
    ks: fjeld.Keyspace, p: fjeld.Partition
) -> None:
    """A snapshot that is opened while the clear is in the manifest and not yet installed goes on seeing
    everything.
    """
    p[b"before"] = b"v"
    opened: list[fjeld.Snapshot] = []

    def midway() -> None:
        set_sync_point("manifest:synced", None)
        p[b"meanwhile"] = b"v"
        opened.append(ks.snapshot())
        assert sorted(opened[0].partition("p")) == [b"before", b"meanwhile"]

    set_sync_point("manifest:synced", midway)
    p.clear()
    assert sorted(opened[0].partition("p")) == [b"before", b"meanwhile"]
    assert list(p) == [b"meanwhile"]
    p.compact()
    assert sorted(opened[0].partition("p")) == [b"before", b"meanwhile"]
    opened[0].close()


def test_the_snapshot_of_a_backup_does_not_see_a_clear_during_it(
    ks: fjeld.Keyspace, p: fjeld.Partition, tmp_path: Path
) -> None:
    p[b"k"] = b"v"
    set_sync_point("backup:finished", p.clear)
    info = ks.backup_to(tmp_path / "copy", with_snapshot=True)
    assert len(p) == 0
    assert dict(info.snapshot.partition("p")) == {b"k": b"v"}
    with fjeld.open(tmp_path / "copy") as copy:
        assert copy.digest() == ks.digest(snapshot=info.snapshot)
    info.snapshot.close()


def test_partitions_as_they_were(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    p[b"k"] = b"v"
    with ks.snapshot() as snap:
        ks.partition("made later")
        assert snap.partitions() == ["p"]
        with pytest.raises(KeyError):
            snap.partition("made later")
        with pytest.raises(KeyError):
            snap.partition("never made")
        view = snap.partition("p")
        ks.drop_partition("p")
        ks.partition("p")[b"k"] = b"of another partition"
        assert snap.partitions() == ["p"]
        for read in (lambda: view[b"k"], lambda: snap.partition("p")[b"k"], lambda: len(view)):
            with pytest.raises(fjeld.ClosedError, match="dropped"):
                read()
        with pytest.raises(fjeld.ClosedError, match="dropped"):
            ks.digest(snapshot=snap)


def test_closing(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    p[b"k"] = b"v"
    snap = ks.snapshot()
    view = snap.partition("p")
    iterator, cursor = iter(view), view.cursor()
    cursor.seek_first()
    snap.close()
    snap.close()
    for use in (
        lambda: snap.partition("p"),
        lambda: snap.partitions(),
        lambda: view[b"k"],
        lambda: view.get(b"k"),
        lambda: len(view),
        lambda: list(view),
        lambda: view.range(),
        lambda: next(iterator),
        lambda: cursor.next(),
        lambda: cursor.key,
        lambda: ks.digest(snapshot=snap),
        lambda: snap.__enter__(),
    ):
        with pytest.raises(fjeld.ClosedError, match="snapshot was closed"):
            assert use() is use
    assert snap.seqno == 1
    assert p[b"k"] == b"v"


def test_a_forgotten_snapshot_closes_itself(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    p[b"k"] = b"v"
    snap = ks.snapshot()
    assert ks.stats()["open_snapshots"] == 1
    view = snap.partition("p")
    del snap
    gc.collect()
    assert ks.stats()["open_snapshots"] == 1  # its partitions hold it,
    iterator = iter(view)
    del view
    gc.collect()
    p[b"k"] = b"w"
    p.compact()
    assert ks.stats()["open_snapshots"] == 1  # and so do their iterators
    assert list(iterator) == [b"k"]
    del iterator
    gc.collect()
    assert ks.stats()["open_snapshots"] == 0


def test_a_snapshot_that_dies_inside_a_lock_does_not_wait_for_it(
    ks: fjeld.Keyspace, p: fjeld.Partition
) -> None:
    """Finalizers run anywhere: also while this thread asks which snapshots are open."""
    p[b"k"] = b"v"
    held = [ks.snapshot()]

    def seqno_while_it_dies() -> int:
        held.clear()
        gc.collect()
        return 1

    snapshots = ks._engine.snapshots
    snapshots.open(seqno_while_it_dies)
    assert snapshots.seqnos() == [1]
    snapshots.close(1)
    assert snapshots.seqnos() == []


def test_many_snapshots(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    for i in range(500):
        p[b"k"] = b"%d" % i
        with ks.snapshot() as snap:
            assert snap.partition("p")[b"k"] == b"%d" % i
    assert ks.stats()["open_snapshots"] == 0
