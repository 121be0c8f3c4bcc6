"""Partitions with other strategies than levels, in a keyspace that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld.options import MAX_NS
from tests.maintenance.engines import by_hand, sealed
from tests.small import KIB, small_options
from tests.support import content_at, content_of, fill, opened, settle

SECOND = 1_000_000_000
TIERED = fjeld.PartitionOptions(compaction=fjeld.SizeTiered(min_runs=2, max_runs=4), block_bytes=256)


def fifo(**options: Any) -> fjeld.PartitionOptions:
    return fjeld.PartitionOptions(compaction=fjeld.Fifo(**options), block_bytes=256)


class Clock:
    def __init__(self, seconds: int = 1000) -> None:
        self.seconds = seconds

    def __call__(self) -> int:
        return self.seconds * SECOND


def levels_of(partition: fjeld.Partition) -> list[int]:
    return [level["tables"] for level in partition.stats()["levels"]]


# ---- size-tiered ----


def test_all_runs_stay_in_level_0_and_their_number_is_limited(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=TIERED)
        for seed in range(5):
            fill(partition, 700, seed=seed)
        keyspace.flush()
        settle(keyspace)
        expected = content_of(keyspace)
        levels = levels_of(partition)
        assert 1 <= levels[0] <= 4
        assert not any(levels[1:])
        keyspace.compact()
        assert levels_of(partition) == [1, 0, 0, 0, 0, 0, 0]
        assert content_of(keyspace) == expected
        keyspace._engine.store.version.check()
    assert content_at(path) == expected


def test_tombstones_stay_until_the_oldest_run_takes_part(path: Path) -> None:
    with by_hand(path) as (keyspace, engine):
        partition = keyspace.partition(
            "a", options=fjeld.PartitionOptions(compaction=fjeld.SizeTiered(min_runs=2, size_ratio=1.5))
        )
        live, compactor = engine.find("a"), engine.maintainer.compactor
        fill(partition, 2000)
        partition.flush()
        for part in range(2):
            for number in range(50):
                partition.remove(b"%08d" % (2 * number + part))
            partition.flush()
        assert compactor.compact_once(live)
        newer, oldest = engine.store.version.partitions[live.id].levels[0]
        assert (newer.tombstones, oldest.tombstones) == (100, 0)
        assert not compactor.wanted(live)
        assert len(partition) == 1900
        partition.compact()
        (table,) = engine.store.version.partitions[live.id].levels[0]
        assert (table.entries, table.tombstones) == (1900, 0)


def test_a_merge_hands_on_the_newest_time(path: Path) -> None:
    clock = Clock()
    with by_hand(path, clock=clock) as (keyspace, engine):
        partition = keyspace.partition("a", options=TIERED)
        for seed in range(3):
            clock.seconds = 1000 + seed
            fill(partition, 30, seed=seed)
            partition.flush()
        tables = engine.store.version.partitions[engine.find("a").id].levels[0]
        assert [table.created_ns for table in tables] == [1002 * SECOND, 1001 * SECOND, 1000 * SECOND]
        clock.seconds = 5000
        partition.compact()
        (table,) = engine.store.version.partitions[engine.find("a").id].levels[0]
        assert table.created_ns == 1002 * SECOND


# ---- first in, first out ----


def test_the_oldest_tables_go_when_there_are_too_many_bytes(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=fifo(max_bytes=64 * KIB))
        for start in range(0, 10_000, 500):
            fill(partition, 500, start=start)
        keyspace.flush()
        settle(keyspace)
        found = list(partition)
        assert 0 < partition.disk_space() <= 64 * KIB
        assert found[-1] == b"%08d" % 9999
        assert 0 < len(found) < 5000
        assert keyspace.stats()["stall_seconds"] >= 0
        keyspace.compact()
        assert list(partition) == found, "there is nothing that could be merged"
    assert list(content_at(path)["a"]) == found


def test_tables_that_are_too_old_go(path: Path) -> None:
    clock = Clock()
    with by_hand(path, clock=clock) as (keyspace, engine):
        partition = keyspace.partition("a", options=fifo(max_age_seconds=60))
        live, compactor = engine.find("a"), engine.maintainer.compactor
        for part in range(3):
            clock.seconds = 1000 + 20 * part
            partition.insert(b"%d" % part, b"v")
            partition.flush()
        assert not compactor.wanted(live)
        assert compactor.due_seconds(live) == 20
        clock.seconds = 1060
        assert compactor.due_seconds(live) == 0
        assert compactor.compact_once(live)
        assert list(partition) == [b"1", b"2"]
        clock.seconds = 2000
        assert compactor.compact_once(live)
        assert list(partition) == []
        assert not compactor.compact_once(live)
        assert compactor.due_seconds(live) is None


def test_age_is_noticed_although_nobody_writes(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=fifo(max_age_seconds=0.05))
        partition.insert(b"k", b"v")
        keyspace.flush()
        while b"k" in partition:
            pass
        settle(keyspace)
        assert partition.disk_space() == 0


def test_an_open_snapshot_keeps_what_it_sees(path: Path) -> None:
    clock = Clock()
    with by_hand(path, clock=clock) as (keyspace, engine):
        partition = keyspace.partition("a", options=fifo(max_age_seconds=60))
        live, compactor = engine.find("a"), engine.maintainer.compactor
        partition.insert(b"old", b"1")
        partition.flush()
        partition.insert(b"in memory", b"2")
        with keyspace.snapshot() as snapshot:
            seen = content_of(snapshot)
            partition.insert(b"in memory", b"3")
            clock.seconds += 100
            assert compactor.compact_once(live)
            assert dict(partition.items()) == {b"in memory": b"3"}
            assert content_of(snapshot) == seen == {"a": {b"old": b"1", b"in memory": b"2"}}
            sealed(engine, "a")
            engine.maintainer.flusher.flush(live)
            clock.seconds += 100
            assert compactor.compact_once(live)
            assert dict(partition.items()) == {}
            assert content_of(snapshot) == seen
        assert dict(partition.items()) == {}


def test_an_iterator_keeps_what_it_sees(path: Path) -> None:
    clock = Clock()
    with by_hand(path, clock=clock) as (keyspace, engine):
        partition = keyspace.partition("a", options=fifo(max_age_seconds=60))
        fill(partition, 100)
        partition.flush()
        iterator = partition.items()
        found = iter(iterator)
        next(found)
        clock.seconds += 100
        assert engine.maintainer.compactor.compact_once(engine.find("a"))
        engine.store.reaper.reap()
        assert len(list(found)) == 99


@pytest.mark.parametrize("time_ns", [-5, 0, MAX_NS, 1 << 80])
def test_a_clock_that_is_wrong_makes_no_manifest_that_cannot_be_read(path: Path, time_ns: int) -> None:
    options = small_options(clock=lambda: time_ns)
    assert 0 <= options.now_ns() <= MAX_NS
    if 0 <= time_ns < 1 << 64:
        with fjeld.open(path, options=options) as keyspace:
            keyspace.partition("a").insert(b"k", b"v")
            keyspace.flush()
        assert content_at(path) == {"a": {b"k": b"v"}}


@pytest.mark.parametrize(
    ("compaction", "name"),
    [
        (fjeld.SizeTiered(min_runs=3, max_runs=9, size_ratio=1.25, max_space_amplification=3), "size_tiered"),
        (fjeld.Fifo(max_bytes=12345, max_age_seconds=1.5), "fifo"),
        (fjeld.Fifo(), "fifo"),
    ],
)
def test_options_are_kept_with_the_partition(path: Path, compaction: Any, name: str) -> None:
    options = fjeld.PartitionOptions(compaction=compaction)
    assert options.to_json()["compaction"]["strategy"] == name
    assert fjeld.PartitionOptions.from_json(options.to_json()) == options
    with opened(path) as keyspace:
        keyspace.partition("a", options=options)
    with opened(path) as keyspace:
        assert keyspace.partition("a").options == options
