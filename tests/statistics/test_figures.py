"""The figures of a keyspace with a history that is known to the byte."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

import fjeld
from fjeld.options import Leveled, PartitionOptions
from tests.maintenance.engines import by_hand
from tests.small import SMALL_PARTITION
from tests.support import fill, opened, settle

VALUE = b"v" * 40
ENTRY_BYTES = 8 + len(VALUE)
ONE_BLOCK = PartitionOptions(compression=("none",), block_bytes=1 << 16)


def key(number: int) -> bytes:
    return b"%08d" % number


def counters(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """All figures that may only grow while the keyspace is open."""
    growing = ("hits", "misses", "evictions", "lookups", "found", "jobs", "count", "seqno", "block_loads")
    if isinstance(value, dict):
        for member, item in value.items():
            yield from counters(item, f"{name}.{member}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from counters(item, f"{name}[{index}]")
    elif isinstance(value, int | float):
        last = name.rpartition(".")[2]
        if last in growing or last.startswith(("compaction_", "filter_", "user_")):
            yield name, value


def only_level(figures: dict, number: int) -> dict:
    """The level, which must be the only one that holds tables."""
    assert [level["level"] for level in figures["levels"] if level["tables"]] == [number]
    return figures["levels"][number]


def test_a_scripted_history(path):
    with by_hand(path, "p") as (ks, _engine):
        p = ks.partition("p")
        for number in range(100):
            p.insert(key(number), VALUE)
        figures = p.stats()
        assert figures["user_bytes"] == ks.stats()["user_bytes"] == 100 * ENTRY_BYTES
        assert (figures["memtable_entries"], figures["tables"]) == (100, 0)
        assert (figures["write_amplification"], figures["space_amplification"]) == (0.0, None)

        p.flush()
        figures = p.stats()
        flushed = only_level(figures, 0)
        assert (flushed["tables"], flushed["entries"], flushed["tombstones"]) == (1, 100, 0)
        assert figures["flushes"]["jobs"] == 1
        assert figures["flushes"]["written_bytes"] == flushed["bytes"] == p.disk_space()
        assert figures["flushes"]["seconds"] > 0
        assert figures["write_amplification"] == flushed["bytes"] / (100 * ENTRY_BYTES)
        assert (figures["read_amplification"], figures["space_amplification"]) == (1, 1.0)

        for number in range(50):
            p.remove(key(number))
        p.flush()
        figures = p.stats()
        assert figures["user_bytes"] == 100 * ENTRY_BYTES + 50 * 8
        assert only_level(figures, 0)["tombstones"] == 50
        assert figures["read_amplification"] == 2
        assert figures["space_amplification"] == figures["bytes"] / flushed["bytes"]
        assert figures["debt_bytes"] == figures["bytes"], "two runs start a merge"

        before = figures["bytes"]
        p.compact()
        figures = p.stats()
        merged = only_level(figures, 1)
        assert (merged["entries"], merged["tombstones"], figures["debt_bytes"]) == (50, 0, 0)
        assert figures["compactions"]["jobs"] == 1
        assert figures["compactions"]["read_bytes"] == before
        assert figures["compactions"]["written_bytes"] == figures["bytes"] == merged["bytes"]
        assert figures["levels"][0]["compaction_read_bytes"] == before
        assert (merged["compaction_read_bytes"], merged["compaction_written_bytes"]) == (0, merged["bytes"])
        written = figures["flushes"]["written_bytes"] + merged["bytes"]
        assert figures["write_amplification"] == written / (100 * ENTRY_BYTES + 50 * 8)
        assert (figures["read_amplification"], figures["space_amplification"]) == (1, 1.0)
        whole = ks.stats()
        for name in ("flushes", "compactions", "ingestions", "user_bytes", "write_amplification"):
            assert whole[name] == figures[name], "there is one partition"


def test_a_batch_counts_what_each_partition_got(path):
    with by_hand(path, "a", "b") as (ks, _engine):
        a, b = ks.partition("a"), ks.partition("b")
        with ks.batch() as batch:
            batch.insert(a, b"k", b"12345")
            batch.remove(b, b"gone")
            batch.insert(a, b"l", b"")
        a.insert_many([(b"m", b"1"), (b"n", b"2")])
        assert (a.stats()["user_bytes"], b.stats()["user_bytes"]) == (6 + 1 + 4, 4)
        assert ks.stats()["user_bytes"] == 15


def test_lookups(path):
    with by_hand(path) as (ks, _engine):
        p = ks.partition("p", options=ONE_BLOCK)
        p.insert_many((key(2 * number), VALUE) for number in range(1000))
        assert [p.get(key(number)) for number in range(10)].count(VALUE) == 5
        assert sum(level["lookups"] for level in p.stats()["levels"]) == 0, (
            "memtables are not asked of tables"
        )
        p.compact()
        for number in range(2000):
            p.get(key(number))
        p.get(b"9"), p.get(b"")  # no table covers these
        level = only_level(p.stats(), 1)
        assert level["lookups"] == 1999, "the last key lies behind the table"
        assert level["found"] == 1000
        assert level["filter_negatives"] + level["filter_false_positives"] == 999
        assert 0 < level["filter_false_positives"] < 50, "10 bits a key let about 1 of 100 through"
        blocks = ks.stats()["cache"]["blocks"]
        assert level["block_loads"] == blocks == 2 or level["block_loads"] == blocks == 1

        p.get_many([key(0), key(1), key(2)])
        assert key(4) in p
        assert p.size_of(key(4)) == len(VALUE)
        after = only_level(p.stats(), 1)
        assert (after["lookups"], after["found"]) == (1999 + 5, 1000 + 4)
        assert after["block_loads"] == level["block_loads"], "it was in the cache"
        with ks.snapshot() as snapshot:
            snapshot.partition("p").get(key(0))
        assert only_level(p.stats(), 1)["found"] == 1005, "snapshots read too"


def test_lookups_without_a_filter(path):
    with by_hand(path) as (ks, _engine):
        p = ks.partition("p", options=PartitionOptions(filter_bits=0))
        p.insert_many([(b"a", b""), (b"c", b"")])
        p.flush()
        p.get(b"a"), p.get(b"b")
        level = only_level(p.stats(), 0)
        assert (level["lookups"], level["found"]) == (2, 1)
        assert level["filter_negatives"] == level["filter_false_positives"] == 0


def test_a_table_that_was_not_open_yet_asks_its_filter_afterwards(path):
    with opened(path) as ks:
        ks.partition("p").insert_many([(b"a", b""), (b"c", b"")])
    with opened(path) as ks:
        p = ks.partition("p")
        assert ks.stats()["open_files"] == 0
        p.get(b"b")
        level = only_level(p.stats(), 0)
        assert (level["lookups"], level["filter_negatives"], level["block_loads"]) == (1, 1, 1)
        assert ks.stats()["open_files"] == 1
        assert ks.stats()["max_open_files"] == ks.options.max_open_files


def test_cache(path):
    with opened(path, cache_bytes=1 << 20) as ks:
        p = ks.partition("p")
        p.insert(b"k", VALUE)
        p.flush()
        assert ks.stats()["cache"]["hit_ratio"] is None
        for _ in range(4):
            p.get(b"k")
        cache = ks.stats()["cache"]
        assert (cache["misses"], cache["hits"], cache["blocks"], cache["evictions"]) == (1, 3, 1, 0)
        assert cache["hit_ratio"] == 0.75
        assert 0 < cache["used_bytes"] <= cache["budget_bytes"] == 1 << 20


def test_snapshots(path):
    with opened(path) as ks:
        p = ks.partition("p")
        p.insert(b"a", b"")
        assert ks.stats()["oldest_snapshot_seconds"] is ks.stats()["oldest_snapshot_seqno"] is None
        with ks.snapshot():
            p.insert(b"b", b"")
            with ks.snapshot():
                stats = ks.stats()
                assert (stats["open_snapshots"], stats["oldest_snapshot_seqno"]) == (2, 1)
                assert 0 <= stats["oldest_snapshot_seconds"] <= ks.stats()["oldest_snapshot_seconds"]
        assert ks.stats()["open_snapshots"] == 0
        assert ks.stats()["oldest_snapshot_seqno"] is None


def test_stalls(path):
    with opened(path, memtable_bytes=4096, max_sealed_memtables=1) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        stalls = ks.stats()["stalls"]
        assert all(stall == {"count": 0, "seconds": 0.0} for stall in stalls.values())
        assert {"memtables", "level0", "journals"} <= stalls.keys()
        for start in range(0, 20_000, 20):
            fill(p, 20, start=start)
            stats = ks.stats()
            if stats["stalls"]["memtables"]["count"]:
                break
        assert stats["stalls"]["memtables"]["count"] > 0
        assert stats["stalls"]["memtables"]["seconds"] > 0
        assert stats["stall_seconds"] == sum(stall["seconds"] for stall in stats["stalls"].values())


def test_counters_only_grow_and_begin_anew_at_the_next_opening(path, small):
    with fjeld.open(path, options=small) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        before: dict[str, float] = {}
        for start in range(0, 6000, 500):
            fill(p, 500, start=start)
            for number in range(0, start, 50):
                p.get(key(number))
            now = dict(counters(ks.stats()))
            assert before.keys() <= now.keys()
            assert all(now[name] >= value for name, value in before.items())
            before = now
        settle(ks)
        assert ks.stats()["compactions"]["jobs"] > 0
        assert sum(level["lookups"] for level in p.stats()["levels"]) > 0
    with fjeld.open(path, options=small) as ks:
        stats = ks.stats()
        assert stats["user_bytes"] == 0
        assert stats["write_amplification"] is None
        assert stats["cache"]["hits"] == 0
        assert sum(level["lookups"] for level in stats["partitions"]["p"]["levels"]) == 0
        assert stats["partitions"]["p"]["bytes"] > 0


def test_what_a_dropped_partition_did_stays_in_the_totals(path):
    with opened(path) as ks:
        ks.partition("kept")
        p = ks.partition("dropped")
        p.insert(b"k", VALUE)
        p.flush()
        before = ks.stats()
        ks.drop_partition("dropped")
        after = ks.stats()
        assert list(after["partitions"]) == ["kept"]
        assert after["user_bytes"] == before["user_bytes"] == 1 + len(VALUE)
        assert after["flushes"] == before["flushes"]
        with pytest.raises(fjeld.ClosedError, match="dropped"):
            p.stats()


def test_a_partition_that_is_dropped_between_two_looks(path):
    with opened(path) as ks:
        p = ks.partition("p")
        live = ks._engine.find("p")
        ks.drop_partition("p")
        live.core.refuse(False)  # as it was at the first look
        with pytest.raises(fjeld.ClosedError, match="dropped"):
            p.stats()


def test_figures_are_json(path):
    with opened(path) as ks:
        ks.partition("p", options=PartitionOptions(compaction=Leveled(level0_runs=2)))
        stats = ks.stats()
        assert json.loads(json.dumps(stats, allow_nan=False)) == stats
        assert ks.figures().partitions["p"].strategy == stats["partitions"]["p"]["strategy"] == "leveled"


def test_figures_beside_writers_and_drops(path, small):
    """Partitions come and go, tables are flushed and merged: no figure fails."""
    done = threading.Event()
    failures: list[BaseException] = []

    def churn(name: str) -> None:
        try:
            for _ in range(6):
                partition = ks.partition(name, options=SMALL_PARTITION)
                fill(partition, 300)
                partition.flush()
                partition.get(key(1))
                ks.drop_partition(name)
        except BaseException as error:
            failures.append(error)

    with fjeld.open(path, options=small) as ks:
        threads = [threading.Thread(target=churn, args=(f"p{number}",)) for number in range(3)]

        def look() -> None:
            try:
                while not done.is_set():
                    fjeld.prometheus_text(ks)
                    for name in ks.stats()["partitions"]:
                        try:
                            ks.partition(name, create=False).stats()
                        except (KeyError, fjeld.ClosedError):
                            pass  # dropped meanwhile
            except BaseException as error:
                failures.append(error)

        looker = threading.Thread(target=look)
        looker.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        looker.join()
        assert failures == []
        assert ks.stats()["flushes"]["jobs"] >= 18
        assert ks.stats()["user_bytes"] == 3 * 6 * 300 * ENTRY_BYTES
