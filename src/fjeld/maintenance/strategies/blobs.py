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

Small files (of flushes that were not of full memtables) are joined by merges that happen anyway: `joined`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator

from fjeld.maintenance.strategies.choice import Choice, Job, Merge, Nothing, Tables, busy, clash, key_range
from fjeld.maintenance.strategies.leveled import overlapping
from fjeld.maintenance.strategies.pieces import most_pieces
from fjeld.maintenance.strategies.size_tiered import merge_runs
from fjeld.manifest.blob_meta import BlobMeta, references
from fjeld.manifest.version import PartitionState
from fjeld.options import Fifo, Leveled

__all__ = ["FILES_AT_ONCE", "collect", "joined", "stale", "uncollected", "wasteful"]

# What is emptied at once, in blob files that are full: the copies take space until the old files go.
FILES_AT_ONCE = 8

# Fewer small files than this are not worth joining.
JOINED_AT_ONCE = 4


def stale(state: PartitionState) -> frozenset[int]:
    """The blob files whose share of garbage is at the limit, of the oldest ones; those with most garbage first,
    as many as are emptied at once."""
    options = state.options.kv_separation
    if options is None:
        return frozenset()
    found = [
        (live_bytes / blob.record_bytes, blob.number, live_bytes) for blob, live_bytes in _at_limit(state)
    ]
    chosen = set()
    budget_bytes = FILES_AT_ONCE * options.file_size_bytes
    for _, number, live_bytes in sorted(found):
        chosen.add(number)
        budget_bytes -= live_bytes
        if budget_bytes <= 0:
            break
    return frozenset(chosen)


def _at_limit(state: PartitionState) -> list[tuple[BlobMeta, int]]:
    """Each with the bytes in it that are pointed to."""
    options = state.options.kv_separation
    if options is None or isinstance(state.options.compaction, Fifo):
        return []
    live = references(state.tables())
    oldest = ((blob, live[blob.number][1]) for blob in _oldest(state, options.age_cutoff))
    return [
        (blob, live_bytes)
        for blob, live_bytes in oldest
        if blob.garbage_bytes(live_bytes) >= options.garbage_ratio * blob.record_bytes
    ]


def joined(state: PartitionState, merge: Merge, *, at_any_cost: bool = False) -> frozenset[int]:
    """The small files that only the inputs of this merge point to, where it makes few of many.

    No file is joined that is larger than all smaller ones together: what is copied has doubled each time, so a value
    is copied as often at most as small files must double to be large ones (half of `file_size_bytes`). At any cost:
    all of them are.
    """
    options = state.options.kv_separation
    if options is None or len(state.blobs) < JOINED_AT_ONCE:
        return frozenset()
    numbers = {number for _, number in merge.inputs}
    inputs = [table for table in state.tables() if table.number in numbers]
    live, met = references(state.tables()), references(inputs)
    small = sorted(
        (met[blob.number][1], blob.number)
        for blob in _oldest(state, options.age_cutoff)
        if 2 * blob.size_bytes < options.file_size_bytes and met.get(blob.number) == live[blob.number]
    )
    count, sum_bytes = 0, 0
    for position, (size_bytes, _) in enumerate(small):
        if at_any_cost or size_bytes <= sum_bytes:
            count = position + 1
        sum_bytes += size_bytes
    # Each piece of a merge makes a file of its own.
    if count < max(JOINED_AT_ONCE, 2 * most_pieces(inputs, merge.table_bytes)):
        return frozenset()
    return frozenset(number for _, number in small[:count])


def _oldest(state: PartitionState, share: float) -> tuple[BlobMeta, ...]:
    return state.blobs[: math.ceil(len(state.blobs) * share)]


def uncollected(state: PartitionState) -> tuple[int, int]:
    """(bytes of garbage that wait to be collected, bytes of all records): of the files whose share of it is at the
    limit, however many they are."""
    found = _at_limit(state)
    return (
        sum(blob.garbage_bytes(live_bytes) for blob, live_bytes in found),
        sum(blob.record_bytes for blob in state.blobs),
    )


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
