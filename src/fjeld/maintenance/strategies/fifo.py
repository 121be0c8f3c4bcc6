"""First in, first out: all tables stay in level 0 as they were flushed, and the oldest are dropped.

What is dropped is always the oldest run of tables without a gap: were a newer one dropped first, an entry that
it hides would show again.
"""

from __future__ import annotations

from collections.abc import Collection

from fjeld.maintenance.strategies.choice import Choice, Drop, Job, Nothing
from fjeld.manifest.version import PartitionState
from fjeld.options import Fifo

__all__ = ["choose", "due_ns"]

NS_PER_SECOND = 1_000_000_000


def choose(state: PartitionState, running: Collection[Job], options: Fifo, now_ns: int) -> Choice:
    """Drop the oldest tables, as long as they are too old or all together are too large; one drop at a time."""
    if running:
        return Nothing()
    total_bytes = sum(table.held_bytes for table in state.levels[0])
    oldest_ns = None if options.max_age_seconds is None else now_ns - _ns(options.max_age_seconds)
    dropped = []
    for table in reversed(state.levels[0]):
        expired = oldest_ns is not None and table.created_ns <= oldest_ns
        if not expired and total_bytes <= options.max_bytes:
            break
        dropped.append((0, table.number))
        total_bytes -= table.held_bytes
    return Drop(inputs=tuple(dropped)) if dropped else Nothing()


def due_ns(state: PartitionState, options: Fifo) -> int | None:
    """When the oldest table will have reached its age."""
    if options.max_age_seconds is None or not state.levels[0]:
        return None
    return state.levels[0][-1].created_ns + _ns(options.max_age_seconds)


def _ns(seconds: float) -> int:
    return int(seconds * NS_PER_SECOND)
