"""Which tables of a partition go into a backup of a range of keys as they are: a pure function."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fjeld.extraction import KeyRange
from fjeld.manifest.blob_meta import BlobMeta, live_blobs, references
from fjeld.manifest.state import PartitionState, TableMeta

__all__ = ["EVERYTHING", "Selected", "select"]

EVERYTHING: KeyRange = (None, None)


@dataclass(frozen=True, slots=True)
class Selected:
    """What of a partition is inside of a range."""

    kept: PartitionState
    """The partition with the tables that are wholly inside, and the blob files that they point into, and no others.
    Of a range: blob files that hold nothing else."""
    crossing: tuple[tuple[int, TableMeta], ...]
    """The other tables that may hold keys inside, each with its level: they are written anew."""


def select(state: PartitionState, keys: KeyRange) -> Selected:
    """Sort the tables of a partition by where they lie."""
    start, stop = keys
    near = [
        (level, table)
        for level, tables in enumerate(state.levels)
        for table in tables
        if (start is None or start <= table.largest) and (stop is None or table.smallest < stop)
    ]
    inside = [
        table
        for _, table in near
        if (start is None or start <= table.smallest) and (stop is None or table.largest < stop)
    ]
    if keys != EVERYTHING:
        inside = _with_all_of_their_blobs(inside, state.blobs)
    kept = {table.number for table in inside}
    levels = tuple(tuple(table for table in tables if table.number in kept) for tables in state.levels)
    chosen = replace(state, levels=levels, blobs=live_blobs(inside, state.blobs))
    return Selected(chosen, tuple((level, table) for level, table in near if table.number not in kept))


def _with_all_of_their_blobs(tables: list[TableMeta], blobs: tuple[BlobMeta, ...]) -> list[TableMeta]:
    """Those of the tables that point into no blob file in which there is anything that none of them points to: it may
    belong to a key outside.
    """
    records = {blob.number: blob.entries for blob in blobs}
    while True:
        pointed = references(tables)
        whole = {number for number, (entries, _) in pointed.items() if entries == records[number]}
        kept = [table for table in tables if all(number in whole for number, _, _ in table.blobs)]
        if len(kept) == len(tables):
            return kept
        tables = kept
