"""Compactions side by side: of one partition, and of the ranges of one merge."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from fjeld.maintenance.strategies.choice import Merge
from fjeld.sync_points import set_sync_point
from tests.maintenance.engines import by_hand
from tests.small import KIB, SMALL_PARTITION
from tests.support import Gate, Task, content_of, fill, opened, settle, tables_of

ROWS = 1200


def deep(keyspace: fjeld.Keyspace) -> None:
    """Partition "a" as one run of many tables in a deeper level, and two runs in level 0."""
    partition = keyspace.partition("a")
    for seed in range(2):
        fill(partition, ROWS, seed=seed)
        partition.flush()
    keyspace._engine.maintainer.compactor.compact_all(keyspace._engine.find("a"))
    for seed in range(2):
        fill(partition, ROWS, seed=10 + seed)
        partition.flush()


def test_the_ranges_of_a_merge_are_merged_at_once(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        deep(keyspace)
        expected, before = content_of(keyspace), set(tables_of(path))
        compactor, live = engine.maintainer.compactor, engine.find("a")
        both = threading.Barrier(2, timeout=30)
        threads = set()

        def meet() -> None:
            if not both.broken and len(threads) < 2:
                threads.add(threading.get_ident())
                both.wait()

        set_sync_point("compaction:start", meet)
        merge = Task(lambda: compactor.compact_all(live))
        while (piece := compactor.next_piece()) is None:
            assert merge.running
        assert piece(), "a worker that has time helps"
        merge.result()
        assert len(threads) == 2
        assert content_of(keyspace) == expected
        engine.store.version.check()
        engine.store.reaper.reap()
        named = {Path(engine.store.table_path(table.number)) for table in engine.store.version.tables()}
        assert set(tables_of(path)) == named
        assert not named & before


def test_workers_help_a_callers_merge(path: Path) -> None:
    with opened(path, memtable_bytes=1 << 20, journal_bytes=1 << 20, journals_max_bytes=4 << 20) as keyspace:
        keyspace.partition("a", options=SMALL_PARTITION)
        deep(keyspace)
        settle(keyspace)
        both = threading.Barrier(2, timeout=30)
        threads = set()

        def meet() -> None:
            if len(threads) < 2:
                threads.add(threading.get_ident())
                both.wait()

        set_sync_point("compaction:start", meet)
        expected = content_of(keyspace)
        keyspace.compact()
        assert len(threads) == 2
        assert content_of(keyspace) == expected


@pytest.mark.parametrize("operation", ["create", "write", "sync"])
@pytest.mark.parametrize("after", [0, 3, 9])
def test_a_failure_in_one_range_leaves_nothing_of_the_others(path: Path, operation: str, after: int) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        deep(keyspace)
        expected, before = content_of(keyspace), tables_of(path)
        live = engine.find("a")
        files.inject(operation, after, errno.ENOSPC, path_contains=".sst")
        with pytest.raises(OSError, match="No space"):
            engine.maintainer.compactor.compact_all(live)
        assert tables_of(path) == before
        assert content_of(keyspace) == expected
        assert live.jobs.count == 0
        assert engine.maintainer.compactor.next_piece() is None
        engine.maintainer.compactor.compact_all(live)
        assert content_of(keyspace) == expected


def test_a_failure_of_a_helper_ends_the_merge(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        deep(keyspace)
        expected, before = content_of(keyspace), tables_of(path)
        compactor, live = engine.maintainer.compactor, engine.find("a")
        gate = Gate("compaction:start")
        merge = Task(lambda: compactor.compact_all(live))
        gate.wait()  # the owner stands at its first range
        files.inject("create", 0, errno.ENOSPC, path_contains=".sst")
        piece = compactor.next_piece()
        assert piece is not None
        piece()
        gate.open()
        with pytest.raises(OSError, match="No space"):
            merge.result()
        assert tables_of(path) == before
        assert content_of(keyspace) == expected


def test_what_snapshots_see_survives_in_every_range(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        deep(keyspace)
        with keyspace.snapshot() as snapshot:
            seen = content_of(snapshot)
            for number in range(0, ROWS, 2):
                keyspace.partition("a").remove(b"%08d" % number)
            keyspace.partition("a").flush()
            engine.maintainer.compactor.compact_all(engine.find("a"))
            assert content_of(snapshot) == seen
        assert len(content_of(keyspace)["a"]) == ROWS // 2
        engine.maintainer.compactor.compact_all(engine.find("a"))
        assert sum(table.entries for table in engine.store.version.tables()) == ROWS // 2


def test_outputs_begin_anew_at_the_keys_that_the_choice_names(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live = engine.find("a")
        for seed in range(2):
            fill(keyspace.partition("a"), 100, seed=seed)
            keyspace.partition("a").flush()
        keys = (b"%08d" % 10, b"%08d" % 11, b"%08d" % 70)
        tables = engine.store.version.partitions[live.id].levels[0]
        started = live.jobs.start(
            lambda _: Merge(
                inputs=tuple((0, table.number) for table in tables),
                output_level=1,
                table_bytes=1 << 20,
                drop_tombstones=True,
                smallest=min(table.smallest for table in tables),
                largest=max(table.largest for table in tables),
                split_keys=keys,
            )
        )
        engine.maintainer.compactor.carry_out(live, started)
        made = engine.store.version.partitions[live.id].levels[1]
        assert [table.smallest for table in made] == [b"%08d" % 0, *keys]


def test_two_compactions_of_one_partition_at_once(path: Path) -> None:
    """Runs of level 0 that lie beside those that are being merged need not wait."""
    with by_hand(path, "a", workers=2) as (keyspace, engine):
        partition, live = keyspace.partition("a"), engine.find("a")
        for start in (0, 1000):
            for seed in range(2):
                fill(partition, 50, seed=seed, start=start)
                partition.flush()
            expected = content_of(keyspace)
            if start == 0:
                gate = Gate("compaction:start")
                first = Task(engine.maintainer._next_job())
                gate.wait()
        second = engine.maintainer._next_job()
        assert live.jobs.count == 2
        assert engine.maintainer._next_job() is None, "there are no more than two workers"
        second()
        assert live.jobs.count == 1
        assert len(engine.store.version.partitions[live.id].levels[1]) > 0
        gate.open()
        first.result()
        assert content_of(keyspace) == expected
        engine.store.version.check()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_flush_never_waits_for_compactions(path: Path, workers: int) -> None:
    with opened(path, workers=workers, memtable_bytes=8 * KIB) as keyspace:
        held = threading.Semaphore(0)
        standing = threading.Semaphore(0)

        def stand() -> None:
            standing.release()
            assert held.acquire(timeout=60)

        set_sync_point("compaction:start", stand)
        names = [f"busy{number}" for number in range(workers)]
        for name in names:
            partition = keyspace.partition(name, options=SMALL_PARTITION)
            for seed in range(3):
                fill(partition, 50, seed=seed)
                partition.flush()
        for _ in names:
            assert standing.acquire(timeout=60)
        # All that may compact do, and stand still.
        idle = keyspace.partition("other", options=SMALL_PARTITION)
        fill(idle, 400)
        live = keyspace._engine.find("other")
        while live.sealed_memtables():
            pass
        assert keyspace._engine.store.version.partitions[live.id].levels[0]
        set_sync_point("compaction:start", None)
        for _ in range(100):
            held.release()
