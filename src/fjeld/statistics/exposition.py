"""Figures as text for Prometheus: its exposition format, version 0.0.4 (metric.py has the lines).

Names begin with `fjeld_`. Counters end in `_total` and begin at 0 when the keyspace is opened; units are
bytes and seconds. docs/STATISTICS.md says what each figure means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

from fjeld.maintenance.activity import Work
from fjeld.statistics.figures import BlobFigures, KeyspaceFigures, LevelFigures, PartitionFigures
from fjeld.statistics.metric import Labels, Metric

__all__ = ["exposition"]

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
OWN_LABELS = frozenset({"partition", "level", "reason", "strategy"})


def exposition(figures: KeyspaceFigures, labels: Labels) -> str:
    """The text. `labels`: on every sample, to tell keyspaces apart; ValueError where a name cannot be one."""
    for name, value in labels.items():
        _check_label(name, value)
    lines = (line for metric in _metrics(figures) for line in metric.lines(labels))
    return "".join(f"{line}\n" for line in lines)


def _check_label(name: object, value: object) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"names and values of labels are str, not {name!r}: {value!r}")
    if not LABEL_NAME.fullmatch(name) or name.startswith("__") or name in OWN_LABELS:
        raise ValueError(f"{name!r} cannot be the name of a label here: choose another")


def _metrics(figures: KeyspaceFigures) -> Iterator[Metric]:
    yield from _of_keyspace(figures)
    yield from _of_files(figures)
    yield from _of_stalls(figures)
    yield from _of_cache(figures)
    partitions = list(figures.partitions.values())
    yield from _of_partitions(partitions)
    yield from _of_blobs(partitions)
    yield from _of_work(partitions)
    yield from _of_levels(partitions)


# ---- of the keyspace ----


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return Metric(f"fjeld_{name}", "gauge", text, (({}, value),))


def _counter(name: str, text: str, value: float) -> Metric:
    return Metric(f"fjeld_{name}_total", "counter", text, (({}, value),))


def _of_keyspace(figures: KeyspaceFigures) -> Iterator[Metric]:
    yield _gauge("seqno", "Number of the newest write.", figures.seqno)
    yield _gauge("persisted_seqno", "Every write up to this one is on disk.", figures.persisted_seqno)
    yield _gauge("poisoned", "1 when writes are refused since a failure.", int(figures.poisoned))
    failed = int(figures.failure is not None)
    yield _gauge("background_failure", "1 while a background job fails.", failed)
    yield _counter("user_bytes", "Keys and values that users wrote.", figures.user_bytes)
    yield _gauge("open_snapshots", "Open snapshots.", figures.open_snapshots)
    age = figures.oldest_snapshot_seconds
    yield _gauge("oldest_snapshot_seconds", "Age of the oldest open snapshot.", age)


def _of_files(figures: KeyspaceFigures) -> Iterator[Metric]:
    yield _gauge("journals", "Journals that are not retired.", figures.journals)
    yield _gauge("journal_bytes", "Size of the journals that are not retired.", figures.journal_bytes)
    yield _gauge("manifest_bytes", "Size of the live manifest.", figures.manifest_bytes)
    yield _gauge("open_files", "Open descriptors of tables.", figures.open_files)
    yield _gauge("max_open_files", "Limit of the open descriptors of tables.", figures.max_open_files)
    yield _gauge("pending_deletions", "Files that wait to be deleted.", figures.pending_deletions)


def _of_stalls(figures: KeyspaceFigures) -> Iterator[Metric]:
    stalls = figures.stalls.items()
    counts = tuple(({"reason": reason}, stall.count) for reason, stall in stalls)
    yield Metric("fjeld_stalls_total", "counter", "Writes that were slowed or had to wait.", counts)
    seconds = tuple(({"reason": reason}, stall.seconds) for reason, stall in stalls)
    yield Metric("fjeld_stall_seconds_total", "counter", "How long writes were held up.", seconds)


def _of_cache(figures: KeyspaceFigures) -> Iterator[Metric]:
    cache = figures.cache
    yield _gauge("cache_budget_bytes", "Memory that the block cache may use.", cache.budget_bytes)
    yield _gauge("cache_used_bytes", "Memory that the block cache uses.", cache.used_bytes)
    yield _gauge("cache_blocks", "Blocks in the cache.", cache.blocks)
    yield _counter("cache_hits", "Blocks of tables that were found in the cache.", cache.hits)
    yield _counter("cache_misses", "Blocks of tables that were read from their files.", cache.misses)
    yield _counter("cache_evictions", "Blocks that had to make room for others.", cache.evictions)


# ---- of partitions ----

Partitions = list[PartitionFigures]


def _of_partitions(partitions: Partitions) -> Iterator[Metric]:
    def gauge(name: str, text: str, figure: Callable[[PartitionFigures], float | None]) -> Metric:
        samples = tuple(({"partition": partition.name}, figure(partition)) for partition in partitions)
        return Metric(f"fjeld_partition_{name}", "gauge", text, samples)

    strategies = tuple(({"partition": p.name, "strategy": p.strategy}, 1) for p in partitions)
    yield Metric("fjeld_partition_info", "gauge", "1; the strategy of compaction is a label.", strategies)
    yield gauge("memtables", "Memtables, the active one included.", lambda p: p.memtables)
    yield gauge("memtable_bytes", "Memory of the memtables.", lambda p: p.memtable_bytes)
    yield gauge("running_compactions", "Compactions that run now.", lambda p: p.running_compactions)
    text = "Bytes written to tables for each byte that users wrote."
    yield gauge("write_amplification", text, lambda p: p.write_amplification)
    text = "Sorted runs on disk that a look-up may have to ask."
    yield gauge("read_amplification", text, lambda p: p.read_amplification)
    text = "Bytes of all tables for each byte of the oldest run."
    yield gauge("space_amplification", text, lambda p: p.space_amplification)
    yield gauge("failure", "1 while compaction of the partition fails.", lambda p: int(p.failure is not None))
    written = tuple(({"partition": p.name}, p.user_bytes) for p in partitions)
    yield Metric("fjeld_partition_user_bytes_total", "counter", "Keys and values that users wrote.", written)


def _of_blobs(partitions: Partitions) -> Iterator[Metric]:
    def metric(
        name: str, kind: Literal["counter", "gauge"], text: str, figure: Callable[[BlobFigures], float]
    ) -> Metric:
        samples = tuple(({"partition": p.name}, figure(p.blobs)) for p in partitions)
        return Metric(f"fjeld_partition_{name}", kind, text, samples)

    yield metric("blob_files", "gauge", "Blob files, which hold large values.", lambda b: b.files)
    yield metric("blob_bytes", "gauge", "Size of the blob files.", lambda b: b.bytes)
    yield metric("blob_entries", "gauge", "Values in blob files, garbage included.", lambda b: b.entries)
    text = "Values in blob files that are not needed any more."
    yield metric("blob_garbage_entries", "gauge", text, lambda b: b.garbage_entries)
    text = "Bytes of values in blob files that are not needed any more."
    yield metric("blob_garbage_bytes", "gauge", text, lambda b: b.garbage_bytes)
    text = "Blob files with so much garbage that they are to be collected."
    yield metric("blob_collectable_files", "gauge", text, lambda b: b.collectable_files)
    text = "Bytes that collection has copied from one blob file to another."
    yield metric("blob_moved_bytes_total", "counter", text, lambda b: b.moved_bytes)


def _of_work(partitions: Partitions) -> Iterator[Metric]:
    kinds: dict[str, Callable[[PartitionFigures], Work]] = {
        "flush": lambda partition: partition.flushes,
        "compaction": lambda partition: partition.compactions,
        "ingestion": lambda partition: partition.ingestions,
    }
    figures: dict[str, tuple[str, Callable[[Work], float]]] = {
        "jobs": ("Jobs that are done.", lambda work: work.jobs),
        "read_bytes": ("Bytes of the tables that jobs read.", lambda work: work.read_bytes),
        "written_bytes": ("Bytes of the tables that jobs wrote.", lambda work: work.written_bytes),
        "seconds": ("How long jobs took.", lambda work: work.seconds),
    }
    for kind, work_of in kinds.items():
        for name, (text, figure) in figures.items():
            if kind == "compaction" or name != "read_bytes":  # the others read no tables
                samples = tuple(({"partition": p.name}, figure(work_of(p))) for p in partitions)
                yield Metric(f"fjeld_{kind}_{name}_total", "counter", text, samples)


def _of_levels(partitions: Partitions) -> Iterator[Metric]:
    def samples(figure: Callable[[LevelFigures], float | None]) -> tuple[tuple[Labels, float | None], ...]:
        return tuple(
            ({"partition": partition.name, "level": str(level.level)}, figure(level))
            for partition in partitions
            for level in partition.levels
        )

    def gauge(name: str, text: str, figure: Callable[[LevelFigures], float | None]) -> Metric:
        return Metric(f"fjeld_level_{name}", "gauge", text, samples(figure))

    def counter(name: str, text: str, figure: Callable[[LevelFigures], float]) -> Metric:
        return Metric(f"fjeld_level_{name}_total", "counter", text, samples(figure))

    yield gauge("tables", "Tables.", lambda level: level.tables)
    yield gauge("bytes", "Size of the tables.", lambda level: level.bytes)
    yield gauge("entries", "Entries in tables, tombstones included.", lambda level: level.entries)
    yield gauge("tombstones", "Tombstones in tables.", lambda level: level.tombstones)
    yield gauge("target_bytes", "Size that the level may grow to.", lambda level: level.target_bytes)
    yield gauge("score", "How full the level is; from 1 on it is to be compacted.", lambda level: level.score)
    text = "Bytes that compaction has to take out of the level."
    yield gauge("debt_bytes", text, lambda level: level.debt_bytes)
    text = "Bytes of the level's tables that compaction read."
    yield counter("compaction_read_bytes", text, lambda level: level.compaction_read_bytes)
    text = "Bytes of tables that compaction wrote to the level."
    yield counter("compaction_written_bytes", text, lambda level: level.compaction_written_bytes)
    yield counter("lookups", "Point look-ups that asked a table.", lambda level: level.lookups)
    yield counter("found", "Point look-ups that a table answered.", lambda level: level.found)
    text = "Point look-ups that a filter spared the search of a table."
    yield counter("filter_negatives", text, lambda level: level.filter_negatives)
    text = "Point look-ups that a filter let through in vain."
    yield counter("filter_false_positives", text, lambda level: level.filter_false_positives)
    yield counter("block_loads", "Point look-ups that read from a file.", lambda level: level.block_loads)
