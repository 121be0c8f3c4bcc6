"""Options that make a deep tree of little data: memtables, blocks, tables and levels of a few kilobytes."""

from __future__ import annotations

import dataclasses
from typing import Any

from fjeld.options import KeyspaceOptions, KvSeparation, Leveled, PartitionOptions

KIB = 1 << 10

SMALL_PARTITION = PartitionOptions(
    compaction=Leveled(level0_runs=2, level_ratio=2, level1_bytes=16 * KIB, table_bytes=4 * KIB),
    block_bytes=256,
)

SMALL_SEPARATED = dataclasses.replace(
    SMALL_PARTITION,
    kv_separation=KvSeparation(threshold_bytes=64, file_size_bytes=2 * KIB, garbage_ratio=0.3),
)
"""... and large values, of 64 bytes on, in blob files that are soon full and soon collected."""


def small_options(**changed: Any) -> KeyspaceOptions:
    """Options of a keyspace that seals, flushes, rotates and evicts all the time."""
    chosen: dict[str, Any] = {
        "memtable_bytes": 16 * KIB,
        "journal_bytes": 32 * KIB,
        "journals_max_bytes": 256 * KIB,
        "cache_bytes": 16 * KIB,
        "max_open_files": 8,
    }
    return KeyspaceOptions(**(chosen | changed))
