"""Leveled compaction: level 0 by its number of runs, deeper levels by their size.

Why jobs may run side by side on one partition:
  1. No two of them share a table.
  2. No two that write to one level have key ranges that meet: an output spans all keys of its job, gaps
     included.
  3. A table of level 0 goes down together with all it overlaps there: no newer entry gets beneath an older
     one.
  4. A table of a deeper level goes down together with all it overlaps one level below.

An output table ends early where it would overlap too much of the level below its own: it would have to be
merged with all of that one day. (LevelDB's grandparents.)
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Iterator

from fjeld.maintenance.strategies.choice import (
    Choice,
    Drop,
    Job,
    Merge,
    Move,
    Nothing,
    Tables,
    clash,
    key_range,
)
from fjeld.manifest.version import PartitionState
from fjeld.options import LEVELS, Leveled

__all__ = ["BOTTOM", "choose", "level_scores", "overlapping"]

BOTTOM = LEVELS - 1

# Of the level below its own an output table overlaps at most about so many tables' bytes: what a level that
# is `level_ratio` times as large holds beneath each table on average.
MAX_GRANDPARENT_TABLES = 10


def choose(state: PartitionState, running: Collection[Job], options: Leveled) -> Choice:
    """The job for the level that is furthest above its target, if it can start beside the running ones.

    Else the one for the next level, and so on down to levels that are just full.
    """
    scores = level_scores(state, running, options)
    for level in sorted(scores, key=lambda level: (-scores[level], level)):
        if scores[level] < 1:
            break
        candidates = _of_level0(state) if level == 0 else _of_level(state, level)
        for upper, lower in candidates:
            job = _job(state, level, upper, lower, options)
            if not any(clash(job, other) for other in running):
                return job
    return Nothing()


def level_scores(state: PartitionState, running: Collection[Job], options: Leveled) -> dict[int, float]:
    """How full each level is that can be compacted, without what is leaving it already; full is 1."""
    leaving = {
        number
        for job in running
        for level, number in job.inputs
        if isinstance(job, Drop) or level < job.output_level
    }
    scores = {0: sum(table.number not in leaving for table in state.levels[0]) / options.level0_runs}
    for level in range(1, BOTTOM):
        size_bytes = sum(table.size_bytes for table in state.levels[level] if table.number not in leaving)
        scores[level] = size_bytes / options.target_bytes(level)
    return scores


def _of_level0(state: PartitionState) -> Iterator[tuple[Tables, Tables]]:
    """Groups of tables of level 0 that overlap, one after the other, each with what it overlaps in level 1.

    The group of the oldest table comes first.
    """
    rest = list(state.levels[0])
    while rest:
        group = [rest.pop()]
        smallest, largest = group[0].smallest, group[0].largest
        while reached := [table for table in rest if table.overlaps(smallest, largest)]:
            group += reached
            rest = [table for table in rest if table not in reached]
            smallest, largest = key_range(group)
        upper = [table for table in state.levels[0] if table in group]
        yield upper, overlapping(state.levels[1], smallest, largest)


def _of_level(state: PartitionState, level: int) -> Iterator[tuple[Tables, Tables]]:
    """Each table of a level with what it overlaps one level below: least to rewrite for its size first."""
    below = state.levels[level + 1]
    sizes = list(itertools.accumulate((table.size_bytes for table in below), initial=0))
    candidates = []
    for table in state.levels[level]:
        start, stop = _overlap(below, table.smallest, table.largest)
        cost = (sizes[stop] - sizes[start]) / table.size_bytes
        candidates.append((cost, table.smallest, table, start, stop))
    candidates.sort(key=lambda candidate: candidate[:2])
    for _, _, table, start, stop in candidates:
        yield [table], below[start:stop]


def _job(state: PartitionState, level: int, upper: Tables, lower: Tables, options: Leveled) -> Job:
    """The job that brings `upper`, tables of `level`, down into the next one, where they overlap `lower`."""
    output_level = level + 1
    inputs = (*((level, table.number) for table in upper), *((output_level, table.number) for table in lower))
    smallest, largest = key_range((*upper, *lower))
    if len(inputs) == 1:
        return Move(inputs=inputs, output_level=output_level, smallest=smallest, largest=largest)
    return Merge(
        inputs=inputs,
        output_level=output_level,
        table_bytes=options.table_bytes,
        drop_tombstones=not any(
            overlapping(tables, smallest, largest) for tables in state.levels[output_level + 1 :]
        ),
        smallest=smallest,
        largest=largest,
        split_keys=_split_keys(state, output_level, smallest, largest, options),
    )


def _split_keys(
    state: PartitionState, output_level: int, smallest: bytes, largest: bytes, options: Leveled
) -> tuple[bytes, ...]:
    """Keys at which an output must begin, so that none overlaps too much of the level below it."""
    if output_level == BOTTOM:
        return ()
    keys = []
    beneath_bytes = 0
    for table in overlapping(state.levels[output_level + 1], smallest, largest):
        if beneath_bytes and beneath_bytes + table.size_bytes > MAX_GRANDPARENT_TABLES * options.table_bytes:
            keys.append(table.smallest)
            beneath_bytes = 0
        beneath_bytes += table.size_bytes
    return tuple(keys)


def _overlap(run: Tables, smallest: bytes, largest: bytes) -> tuple[int, int]:
    """The slice of a run, sorted and disjoint, that may hold keys from `smallest` to `largest`."""
    start = bisect.bisect_left(run, smallest, key=lambda table: table.largest)
    stop = bisect.bisect_right(run, largest, key=lambda table: table.smallest)
    return start, max(start, stop)


def overlapping(run: Tables, smallest: bytes, largest: bytes) -> Tables:
    """The tables of a run that may hold keys from `smallest` to `largest`."""
    start, stop = _overlap(run, smallest, largest)
    return run[start:stop]
