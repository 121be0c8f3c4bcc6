from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fjeld.kernel import files
from fjeld.sync_points import set_sync_point
from tests.maintenance.engines import by_hand, sealed
from tests.support import Gate, Task, content_of, fill, tables_of


def test_all_sealed_memtables_become_one_table(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        flusher = engine.maintainer.flusher
        for part in range(3):
            fill(keyspace.partition("a"), 50, seed=part, start=10 * part)
            live = sealed(engine, "a")
        expected = content_of(keyspace)
        assert flusher.flush(live)
        assert not flusher.flush(live), "there are none any more"
        state = engine.store.version.partitions[live.id]
        assert [len(tables) for tables in state.levels][:2] == [1, 0]
        assert state.flushed_seqno == keyspace.seqno == 150
        assert content_of(keyspace) == expected


def test_seal_if_full(path: Path) -> None:
    with by_hand(path, "a", memtable_bytes=256 << 10, max_sealed_memtables=10) as (keyspace, engine):
        live, flusher = engine.find("a"), engine.maintainer.flusher
        keyspace.partition("a").insert(b"k", b"v")
        assert not flusher.seal_if_full(live)
        keyspace.partition("a").insert(b"k", bytes(2 << 20))
        keyspace.partition("a").insert(b"l", b"w")  # the write that finds it full asks for it
        assert len(live.sealed_memtables()) == 1
        assert not flusher.seal_if_full(live)


def test_what_snapshots_see_is_written_too(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        partition = keyspace.partition("a")
        partition.insert(b"k", b"1")
        with keyspace.snapshot() as snapshot:
            partition.insert(b"k", b"2")
            partition.insert(b"k", b"3")
            live = sealed(engine, "a")
            engine.maintainer.flusher.flush(live)
            assert next(iter(engine.store.version.tables())).entries == 2
            assert snapshot.partition("a").get(b"k") == b"1"
            assert partition.get(b"k") == b"3"


def test_only_tombstones_make_no_table(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        keyspace.partition("a").remove(b"k")
        live = sealed(engine, "a")
        assert engine.maintainer.flusher.flush(live)
        assert tables_of(path) == []
        assert engine.store.version.partitions[live.id].flushed_seqno == 1


def test_journals_are_retired_with_the_last_partition_that_needs_them(path: Path) -> None:
    with by_hand(path, "a", "b") as (keyspace, engine):
        flusher = engine.maintainer.flusher
        for name in ("a", "b"):
            keyspace.partition(name).insert(b"k", b"v")
        engine.rotation.cut(lambda: None)
        keyspace.partition("b").insert(b"l", b"w")
        (journal,) = engine.store.version.journals
        flusher.flush(sealed(engine, "a"))
        assert engine.store.version.journals == (journal,)
        assert flusher.straggler() is engine.find("b")
        assert not flusher.can_retire()
        flusher.flush(sealed(engine, "b"))
        assert engine.store.version.journals == ()
        assert flusher.straggler() is None


def test_what_a_clear_leaves_behind_is_retired(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        keyspace.partition("a").insert(b"k", b"v")
        engine.rotation.cut(lambda: None)
        keyspace.partition("a").clear()
        assert engine.maintainer.flusher.can_retire()
        engine.maintainer.flusher.retire()
        assert engine.store.version.journals == ()
        assert not engine.maintainer.flusher.can_retire()


def test_older_writes_of_others_are_on_disk_before_a_flush_is(path: Path) -> None:
    """Else a power cut could leave the newer write and take the older one."""
    with by_hand(path, "a", "b") as (keyspace, engine):
        keyspace.partition("b").insert(b"k", b"older")
        keyspace.partition("a").insert(b"k", b"newer")
        seen: list[int] = []
        set_sync_point("manifest:synced", lambda: seen.append(keyspace.stats()["persisted_seqno"]))
        engine.maintainer.flusher.flush(sealed(engine, "a"))
        assert seen == [2]


def test_a_failure_while_others_are_synced_leaves_no_table(path: Path) -> None:
    with by_hand(path, "a", "b") as (keyspace, engine):
        keyspace.partition("b").insert(b"k", b"older")
        keyspace.partition("a").insert(b"k", b"newer")
        live = sealed(engine, "a")
        files.inject("sync", 0, errno.EIO, path_contains="journals")
        with pytest.raises(Exception, match="a sync failed"):
            engine.maintainer.flusher.flush(live)
        engine.store.reaper.reap()
        assert tables_of(path) == []
        assert live.sealed_memtables()


def test_a_flush_of_a_partition_that_was_dropped(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        keyspace.partition("a").insert(b"k", b"v")
        live = sealed(engine, "a")
        keyspace.drop_partition("a")
        assert not engine.maintainer.flusher.flush(live)


@pytest.mark.parametrize("point", ["flush:start", "table:written", "flush:written", "flush:installed"])
def test_reading_and_writing_go_on_during_a_flush(path: Path, point: str) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        partition = keyspace.partition("a")
        fill(partition, 50)
        live = sealed(engine, "a")
        gate = Gate(point)
        flush = Task(lambda: engine.maintainer.flusher.flush(live))
        gate.wait()
        fill(partition, 50, seed=1, start=25)
        expected = content_of(keyspace)
        gate.open()
        flush.result()
        assert content_of(keyspace) == expected
        assert len(expected["a"]) == 75
