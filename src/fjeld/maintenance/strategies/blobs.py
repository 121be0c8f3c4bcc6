"""Which blob files are to be emptied, and the merge in place that empties them.

A file goes when no table points into it any more. So to collect one is to merge every table that does, at its own
place: the values that are still needed are copied, the pointers replaced. Ordinary merges do the same with what they
meet of these files.

Why a merge in place may run beside others, whatever the strategy:
  1. It takes tables that no job has, and `clash` says whether its output meets another's.
  2. Tables of a deeper level are rewritten into the same level; where others lie between them, an output ends there.
  3. A run of level 0 is rewritten alone. All its entries stay between those of the runs above and below it in age.
So no entry changes its place among versions of its key. First-in-first-out partitions are never rewritten: their
values go with the tables that are dropped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator

from fjeld.maintenance.strategies.choice import Choice, Job, Merge, Nothing, Tables, busy, clash, key_range
from fjeld.maintenance.strategies.leveled import overlapping
from fjeld.maintenance.strategies.size_tiered import merge_runs
from fjeld.manifest.blob_meta import references
from fjeld.manifest.version import PartitionState
from fjeld.options import Fifo, Leveled

__all__ = ["collect", "stale", "wasteful"]

# What is emptied at once, in blob files that are full: the copies take space until the old files go.
FILES_AT_ONCE = 8


def stale(state: PartitionState) -> frozenset[int]:
    """The blob files whose share of garbage is at the limit, of the oldest ones; those with most garbage first,
    as many as are emptied at once."""
    options = state.options.kv_separation
    if options is None or isinstance(state.options.compaction, Fifo):
        return frozenset()
    live = references(state.tables())
    oldest = state.blobs[: math.ceil(len(state.blobs) * options.age_cutoff)]
    found = []
    for blob in oldest:
        live_bytes = live[blob.number][1]
        if blob.garbage_bytes(live_bytes) >= options.garbage_ratio * blob.record_bytes:
            found.append((live_bytes / blob.record_bytes, blob.number, live_bytes))
    chosen = set()
    budget_bytes = FILES_AT_ONCE * options.file_size_bytes
    for _, number, live_bytes in sorted(found):
        chosen.add(number)
        budget_bytes -= live_bytes
        if budget_bytes <= 0:
            break
    return frozenset(chosen)


def wasteful(state: PartitionState) -> frozenset[int]:
    """The blob files that hold any garbage."""
    if isinstance(state.options.compaction, Fifo):
        return frozenset()
    live = references(state.tables())
    return frozenset(blob.number for blob in state.blobs if blob.garbage_bytes(live[blob.number][1]) > 0)


def collect(state: PartitionState, running: Collection[Job], moved: frozenset[int]) -> Choice:
    """A merge in place that moves values out of these blob files: where most of them are pointed to from."""
    if not moved:
        return Nothing()
    taken = busy(running)
    places = []
    for level, tables in enumerate(state.levels):
        pointing = [table for table in tables if table.number not in taken and _bytes_in(table.blobs, moved)]
        if pointing:
            places.append((-sum(_bytes_in(table.blobs, moved) for table in pointing), level, pointing))
    for _, level, pointing in sorted(places, key=lambda place: place[:2]):
        for group in _groups(state, level, pointing):
            merge = _in_place(state, level, group, moved)
            if not any(clash(merge, other) for other in running):
                return merge
    return Nothing()


def _bytes_in(references: tuple[tuple[int, int, int], ...], files: frozenset[int]) -> int:
    return sum(size_bytes for number, _, size_bytes in references if number in files)


def _groups(state: PartitionState, level: int, pointing: Tables) -> Iterator[Tables]:
    """Of one level: what may be one merge, the largest first. Level 0: the oldest run first, for its tombstones
    may go."""
    if level == 0:
        yield from ([table] for table in reversed(pointing))
        return
    yield pointing
    numbers = {table.number for table in pointing}
    for chosen, neighbours in itertools.groupby(state.levels[level], lambda table: table.number in numbers):
        if chosen:
            yield tuple(neighbours)


def _in_place(state: PartitionState, level: int, tables: Tables, moved: frozenset[int]) -> Merge:
    if level == 0:
        return merge_runs(state, tables, moved)
    options = state.options.compaction
    assert isinstance(options, Leveled), "others have level 0 only"
    smallest, largest = key_range(tables)
    return Merge(
        inputs=tuple((level, table.number) for table in tables),
        output_level=level,
        table_bytes=options.table_bytes,
        drop_tombstones=not any(
            overlapping(beneath, smallest, largest) for beneath in state.levels[level + 1 :]
        ),
        smallest=smallest,
        largest=largest,
        split_keys=_after_gaps(state.levels[level], tables),
        moved=moved,
    )


def _after_gaps(run: Tables, chosen: Tables) -> tuple[bytes, ...]:
    """The first keys of those chosen tables before which others lie."""
    numbers = {table.number for table in chosen}
    return tuple(
        table.smallest
        for before, table in itertools.pairwise(run)
        if table.number in numbers and before.number not in numbers and table is not chosen[0]
    )
