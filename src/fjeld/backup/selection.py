"""Which tables of a partition go into a backup of a range of keys as they are: a pure function."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from fjeld.extraction import KeyRange
from fjeld.manifest.blob_meta import live_blobs
from fjeld.manifest.state import PartitionState, TableMeta

__all__ = ["EVERYTHING", "Selected", "select"]

EVERYTHING: KeyRange = (None, None)


@dataclass(frozen=True, slots=True)
class Selected:
    """What of a partition is inside of a range."""

    kept: PartitionState
    """The partition with the tables that are wholly inside, and the blob files that they point into, and no others."""
    crossing: tuple[tuple[int, TableMeta], ...]
    """The tables, each with its level, that may hold keys inside and hold some outside."""


def select(state: PartitionState, keys: KeyRange) -> Selected:
    """Sort the tables of a partition by where they lie."""
    start, stop = keys
    levels: list[tuple[TableMeta, ...]] = []
    crossing: list[tuple[int, TableMeta]] = []
    for level, tables in enumerate(state.levels):
        near = [
            table
            for table in tables
            if (start is None or start <= table.largest) and (stop is None or table.smallest < stop)
        ]
        inside = [
            table
            for table in near
            if (start is None or start <= table.smallest) and (stop is None or table.largest < stop)
        ]
        kept = {table.number for table in inside}
        levels.append(tuple(inside))
        crossing += [(level, table) for table in near if table.number not in kept]
    blobs = live_blobs(itertools.chain.from_iterable(levels), state.blobs)
    return Selected(replace(state, levels=tuple(levels), blobs=blobs), tuple(crossing))
