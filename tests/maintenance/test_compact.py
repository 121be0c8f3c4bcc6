from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from fjeld.maintenance.live_partition import LivePartition
from fjeld.manifest.edit import ClearPartition, Edit
from fjeld.manifest.version import Version
from fjeld.sync_points import set_sync_point
from tests.maintenance.engines import by_hand
from tests.support import Gate, Task, content_of, fill, tables_of


def flushed(keyspace: fjeld.Keyspace, parts: int = 3, *, apart: bool = False) -> LivePartition:
    """Partition "a" with so many tables in level 0; apart: their keys do not overlap."""
    for part in range(parts):
        fill(keyspace.partition("a"), 60, seed=part, start=100 * part if apart else 0)
        keyspace.partition("a").flush()
    return keyspace._engine.find("a")


def levels_of(keyspace: fjeld.Keyspace) -> list[int]:
    return [level["tables"] for level in keyspace.partition("a").stats()["levels"]]


def test_compact_once_does_what_the_strategy_chooses(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live, compactor = flushed(keyspace), engine.maintainer.compactor
        expected = content_of(keyspace)
        assert compactor.wanted(live)
        rounds = 0
        while compactor.compact_once(live):
            rounds += 1
        assert rounds > 0
        assert not compactor.wanted(live)
        assert levels_of(keyspace)[0] < 2
        assert content_of(keyspace) == expected
        engine.store.version.check()


def test_compact_all_leaves_one_run_without_garbage(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live = flushed(keyspace)
        for number in range(30):
            keyspace.partition("a").remove(b"%08d" % number)
        keyspace.partition("a").flush()
        expected = content_of(keyspace)
        engine.maintainer.compactor.compact_all(live)
        assert sum(count > 0 for count in levels_of(keyspace)) == 1
        tables = list(engine.store.version.tables())
        assert sum(table.entries for table in tables) == 30
        assert sum(table.tombstones for table in tables) == 0
        assert content_of(keyspace) == expected
        before = tables_of(path)
        engine.maintainer.compactor.compact_all(live)
        assert content_of(keyspace) == expected
        assert before


def test_what_snapshots_see_survives(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live = flushed(keyspace, 1)
        with keyspace.snapshot() as snapshot:
            before = content_of(snapshot)
            fill(keyspace.partition("a"), 60, seed=9)
            keyspace.partition("a").flush()
            engine.maintainer.compactor.compact_all(live)
            assert content_of(snapshot) == before != content_of(keyspace)


def test_a_table_alone_is_moved_not_written(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live = flushed(keyspace, 6, apart=True)
        expected = content_of(keyspace)
        moved = 0
        while engine.maintainer.compactor.wanted(live):
            files.start_trace()
            engine.maintainer.compactor.compact_once(live)
            moved += not any(event[0] == "create" for event in files.stop_trace())
        assert moved > 0
        assert content_of(keyspace) == expected


def test_a_partition_that_was_dropped(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live = flushed(keyspace)
        keyspace.drop_partition("a")
        compactor = engine.maintainer.compactor
        assert not compactor.wanted(live)
        assert not compactor.compact_once(live)
        compactor.compact_all(live)


@pytest.mark.parametrize("end", ["clear", "drop"])
def test_a_running_compaction_gives_way(path: Path, end: str) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live = flushed(keyspace)
        gate = Gate("compaction:start")
        compaction = Task(lambda: engine.maintainer.compactor.compact_all(live))
        gate.wait()
        partition = keyspace.partition("a")
        ending = Task(partition.clear if end == "clear" else lambda: keyspace.drop_partition("a"))
        while ending.running and not live.jobs._cancelling:
            pass
        gate.open()
        with suppress(fjeld.CancelledError):  # or it was done before it noticed
            compaction.result()
        ending.result()
        engine.store.reaper.reap()
        assert tables_of(path) == []


def test_a_result_that_is_not_wanted_any_more_is_deleted(path: Path) -> None:
    """Its inputs went while it was written."""
    with by_hand(path, "a") as (keyspace, engine):
        live = flushed(keyspace)

        def clear_beneath() -> None:
            def swap(version: Version) -> None:
                live.swap(engine.store, version.partitions[live.id])

            clear = ClearPartition(live.id, keyspace.seqno)
            engine.store.edit(Edit.of(clear), seqno=keyspace.seqno, install=swap)

        set_sync_point("compaction:written", clear_beneath)
        with pytest.raises(fjeld.CancelledError, match="cleared or dropped"):
            engine.maintainer.compactor.compact_all(live)
        engine.store.reaper.reap()
        assert tables_of(path) == []
        assert content_of(keyspace) == {"a": {}}


def test_a_failure_leaves_the_inputs(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live = flushed(keyspace)
        expected, before = content_of(keyspace), tables_of(path)
        for operation, pattern in [("write", ".sst"), ("write", "MANIFEST"), ("read", ".sst")]:
            files.inject(operation, 0, errno.EIO, path_contains=pattern, count=100)
            try:
                engine.maintainer.compactor.compact_all(live)
            except OSError as error:
                assert error.errno == errno.EIO
            files.clear_faults()
            assert content_of(keyspace) == expected
        engine.maintainer.compactor.compact_all(live)
        engine.store.reaper.reap()
        assert content_of(keyspace) == expected
        assert not set(before) & set(tables_of(path))
        named = {Path(file.path).name for file in engine.store.version.tables()}
        assert {file.name for file in tables_of(path)} == named


def test_a_compaction_that_begins_when_its_partition_is_closed_gives_up(path: Path) -> None:
    """Who closes cancels what runs, and must not wait for what has just begun."""
    with by_hand(path, "a") as (keyspace, engine):
        live = flushed(keyspace)
        before = tables_of(path)
        live.core.refuse()
        with pytest.raises(fjeld.CancelledError):
            engine.maintainer.compactor.compact_all(live)
        assert live.jobs.count == 0
        live.core.refuse(False)
        assert tables_of(path) == before
        engine.maintainer.compactor.compact_all(live)
