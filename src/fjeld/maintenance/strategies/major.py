"""Major compaction: everything that a partition holds into one run."""

from __future__ import annotations

import dataclasses

from fjeld.maintenance.strategies.blobs import joined, wasteful
from fjeld.maintenance.strategies.choice import Choice, Merge, Nothing, key_range
from fjeld.maintenance.strategies.leveled import BOTTOM
from fjeld.maintenance.strategies.size_tiered import UNLIMITED_BYTES
from fjeld.manifest.version import PartitionState
from fjeld.options import Fifo, Leveled, SizeTiered

__all__ = ["major"]


def major(state: PartitionState) -> Choice:
    """One job that merges everything into one run, of many tables (leveled) or one (size-tiered).

    There is nothing that a FIFO partition could merge. Requires: no job runs on the partition.
    """
    options = state.options.compaction
    tables = list(state.tables())
    if not tables or isinstance(options, Fifo):
        return Nothing()
    smallest, largest = key_range(tables)
    merge = Merge(
        inputs=tuple((level, table.number) for level, found in enumerate(state.levels) for table in found),
        output_level=0 if isinstance(options, SizeTiered) else _output_level(state, options),
        table_bytes=UNLIMITED_BYTES if isinstance(options, SizeTiered) else options.table_bytes,
        drop_tombstones=True,
        smallest=smallest,
        largest=largest,
    )
    return dataclasses.replace(merge, moved=wasteful(state) | joined(state, merge, at_any_cost=True))


def _output_level(state: PartitionState, options: Leveled) -> int:
    """The first level that is deep and large enough for everything."""
    size_bytes = sum(table.size_bytes for table in state.tables())
    level = max(1, *(level for level, found in enumerate(state.levels) if found))
    while level < BOTTOM and options.target_bytes(level) < size_bytes:
        level += 1
    return level
