"""Partitions and tables that exist as values only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.options import LEVELS, PartitionOptions
from tests.manifest.samples import table as sample_table


def table(number: int, size_bytes: int, **changed: Any) -> TableMeta:
    return replace(sample_table(number), size_bytes=size_bytes, **changed)


def state(*levels: list[TableMeta], compaction: Any = None) -> PartitionState:
    """With these levels, level 0 first."""
    options = PartitionOptions() if compaction is None else PartitionOptions(compaction=compaction)
    filled = tuple(map(tuple, levels)) + ((),) * (LEVELS - len(levels))
    return PartitionState(id=1, name="p", options=options, levels=filled)
