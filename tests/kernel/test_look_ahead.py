"""Many look-ups at once: the answers of single ones, whatever way they take, and counted the same."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

import fjeld
from tests.small import SMALL_PARTITION
from tests.support import opened

COUNTS = ("found", "filter_negatives", "filter_false_positives")


def filled(keyspace: fjeld.Keyspace, filter_bits: int) -> tuple[fjeld.Partition, list[fjeld.Snapshot]]:
    """Runs in level 0 that overlap, deeper levels beneath, tombstones, old versions that snapshots see."""
    options = dataclasses.replace(
        SMALL_PARTITION,
        filter_bits=filter_bits,
        compaction=fjeld.Leveled(level0_runs=4, level1_bytes=16 << 10, table_bytes=4 << 10),
        kv_separation=fjeld.KvSeparation(threshold_bytes=300),
    )
    partition = keyspace.partition("a", options=options)
    chance = random.Random(filter_bits)
    snapshots = []
    for turn in range(9):
        for _ in range(400):
            key = b"%04d" % chance.randrange(0, 2000, 2)
            if chance.random() < 0.2:
                partition.remove(key)
            else:
                partition.insert(key, chance.randbytes(chance.choice([0, 20, 400])))
        if turn % 4 == 1:
            snapshots.append(keyspace.snapshot())
        if turn < 8:
            partition.flush()
        if turn == 4:
            keyspace._engine.maintainer.wait_idle()
            keyspace._engine.maintainer.pause_compaction()
    keyspace._engine.maintainer.wait_idle()
    return partition, snapshots


def counted(partition: fjeld.Partition) -> dict[str, int]:
    levels = partition.stats()["levels"]
    return {name: sum(level[name] for level in levels) for name in COUNTS}


@pytest.mark.parametrize("filter_bits", [0, 1, 10])
@pytest.mark.parametrize("cache_bytes", [0, 64 << 20])
def test_as_single_look_ups(path: Path, filter_bits: int, cache_bytes: int) -> None:
    with opened(path, cache_bytes=cache_bytes) as keyspace:
        partition, snapshots = filled(keyspace, filter_bits)
        keys = [b"%04d" % number for number in range(2000)] + [b"", b"x" * 500]
        random.Random(7).shuffle(keys)
        views = [partition, *(snapshot.partition("a") for snapshot in snapshots)]
        assert sum(level["tables"] > 0 for level in partition.stats()["levels"]) > 2
        for view in views:
            expected = [view.get(key) for key in keys]
            assert None in expected
            for together in (1, 31, 32, 33, len(keys)):
                groups = [keys[start : start + together] for start in range(0, len(keys), together)]
                assert [value for group in groups for value in view.get_many(group)] == expected
        for snapshot in snapshots:
            snapshot.close()


@pytest.mark.parametrize("filter_bits", [1, 10])
def test_counted_as_single_look_ups(path: Path, filter_bits: int) -> None:
    with opened(path) as keyspace:
        partition, snapshots = filled(keyspace, filter_bits)
        for snapshot in snapshots:
            snapshot.close()
        keys = [b"%04d" % number for number in range(2000)]
        start = counted(partition)
        for key in keys:
            partition.get(key)
        single = counted(partition)
        partition.get_many(keys)
        many = counted(partition)
        assert {name: many[name] - single[name] for name in COUNTS} == {
            name: single[name] - start[name] for name in COUNTS
        }
        assert single["filter_false_positives"] > start["filter_false_positives"] or filter_bits > 1


def test_one_look_up_is_one_hit(path: Path) -> None:
    with opened(path, cache_bytes=64 << 20) as keyspace:
        partition = keyspace.partition("a")
        partition.insert_many((b"%04d" % number, b"v" * 50) for number in range(1000))
        keyspace.compact()
        keys = [b"%04d" % number for number in range(1000)]
        partition.get_many(keys)
        before = keyspace.stats()["cache"]["hits"]
        partition.get_many(keys)
        assert keyspace.stats()["cache"]["hits"] - before == 1000
