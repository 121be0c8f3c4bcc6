"""Dropping a range of keys: what lies in it goes a whole table at a time, without being read."""

from __future__ import annotations

from collections.abc import Collection

from fjeld.maintenance.strategies.choice import Choice, Drop, Job, Nothing, busy
from fjeld.manifest.version import PartitionState

__all__ = ["drop_range"]


def drop_range(
    state: PartitionState,
    running: Collection[Job],
    start: bytes | None,
    stop: bytes | None,
    snapshots: Collection[int],
) -> Choice:
    """Drop all tables that lie wholly inside [start, stop) and that no open snapshot needs.

    A snapshot (its seqno) needs a table that holds something as old as itself. Entries of the range in other
    tables stay, also such that a dropped one hid: whoever drops a range removes them as well.
    """
    taken = busy(running)
    newest_snapshot = max(snapshots, default=-1)
    inputs = tuple(
        (level, table.number)
        for level, tables in enumerate(state.levels)
        for table in tables
        if (start is None or start <= table.smallest)
        and (stop is None or table.largest < stop)
        and table.min_seqno > newest_snapshot
        and table.number not in taken
    )
    return Drop(inputs=inputs) if inputs else Nothing()
