"""The figures of a keyspace, as values. docs/STATISTICS.md says what each of them means.

Counters count since the keyspace was opened. Sizes end in `bytes`, times in `seconds`. A ratio of which the
denominator is nothing yet is None.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from fjeld.maintenance.activity import Work

__all__ = [
    "BlobFigures",
    "CacheFigures",
    "KeyspaceFigures",
    "LevelFigures",
    "PartitionFigures",
    "StallFigures",
    "ratio",
    "to_json",
]


def ratio(part: float, whole: float) -> float | None:
    """part / whole; None of nothing."""
    return part / whole if whole else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFigures:
    """One level of a partition."""

    level: int
    tables: int
    bytes: int
    entries: int
    tombstones: int
    target_bytes: int | None
    """The size it may grow to; None where the strategy sets none."""
    score: float | None
    """How full it is: from 1 on it is to be compacted. None where nothing is compacted by its size."""
    debt_bytes: int
    """What compaction has to take out of it to reach the target."""
    compaction_read_bytes: int
    compaction_written_bytes: int
    lookups: int
    """Point look-ups that asked a table of it."""
    found: int
    filter_negatives: int
    filter_false_positives: int
    block_loads: int
    """Point look-ups that had to read from a file here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobFigures:
    """The blob files of a partition, in which large values lie."""

    files: int
    bytes: int
    entries: int
    """Values in them, garbage included."""
    garbage_entries: int
    garbage_bytes: int
    """Of values that no table points to any more."""
    garbage_ratio: float | None
    """Of the bytes of all values; None where there are none."""
    collectable_files: int
    """Files over the limit: their values are about to be moved."""
    moved_bytes: int
    """Counter: what collection has copied from file to file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFigures:
    """One partition."""

    id: int
    name: str
    strategy: str
    levels: tuple[LevelFigures, ...]
    tables: int
    bytes: int
    blobs: BlobFigures
    memtables: int
    memtable_bytes: int
    memtable_entries: int
    flushed_seqno: int
    user_bytes: int
    """Keys and values that were written, ingested ones as the bytes of their tables."""
    debt_bytes: int
    write_amplification: float | None
    read_amplification: int
    space_amplification: float | None
    flushes: Work
    compactions: Work
    ingestions: Work
    running_compactions: int
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFigures:
    """The block cache that all partitions share."""

    budget_bytes: int
    used_bytes: int
    blocks: int
    hits: int
    misses: int
    evictions: int
    hit_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StallFigures:
    """What writers have waited for one reason."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyspaceFigures:
    """An open keyspace."""

    seqno: int
    persisted_seqno: int
    poisoned: bool
    partitions: dict[str, PartitionFigures]
    user_bytes: int
    write_amplification: float | None
    read_amplification: int
    space_amplification: float | None
    flushes: Work
    compactions: Work
    ingestions: Work
    stalls: dict[str, StallFigures]
    stall_seconds: float
    journals: int
    journal_bytes: int
    manifest_bytes: int
    cache: CacheFigures
    open_files: int
    max_open_files: int
    open_snapshots: int
    oldest_snapshot_seqno: int | None
    oldest_snapshot_seconds: float | None
    pending_deletions: int
    failure: str | None


def to_json(figures: KeyspaceFigures | PartitionFigures) -> dict[str, Any]:
    """As JSON values: dicts, lists, strings and numbers."""
    made: dict[str, Any] = dataclasses.asdict(figures, dict_factory=_members)
    return made


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}
