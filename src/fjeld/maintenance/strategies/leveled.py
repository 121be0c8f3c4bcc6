"""Leveled compaction: level 0 by its number of runs, deeper levels by their size.

Why jobs may run side by side on one partition:
  1. No two of them share a table.
  2. No two that write to one level have key ranges that meet: an output spans all keys of its job, gaps
     included.
  3. A table of level 0 goes down together with all it overlaps there: no newer entry gets beneath an older
     one.
  4. A table of a deeper level goes down together with all it overlaps one level below.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Iterator, Sequence

from fjeld.maintenance.strategies.choice import Choice, Job, Merge, Move, Nothing
from fjeld.manifest.version import PartitionState, TableMeta
from fjeld.options import LEVELS, Leveled

__all__ = ["choose", "level_scores", "major"]

BOTTOM = LEVELS - 1
Tables = Sequence[TableMeta]


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
            if not any(_clash(job, other) for other in running):
                return job
    return Nothing()


def major(state: PartitionState, options: Leveled) -> Choice:
    """One job that merges everything into one run, in the first level that is deep and large enough for it.

    Requires: no job runs on the partition.
    """
    tables = list(state.tables())
    if not tables:
        return Nothing()
    deepest = max(level for level, found in enumerate(state.levels) if found)
    size_bytes = sum(table.size_bytes for table in tables)
    output_level = max(deepest, 1)
    while output_level < BOTTOM and options.target_bytes(output_level) < size_bytes:
        output_level += 1
    return Merge(
        inputs=tuple((level, table.number) for level, found in enumerate(state.levels) for table in found),
        output_level=output_level,
        table_bytes=options.table_bytes,
        drop_tombstones=True,
        smallest=min(table.smallest for table in tables),
        largest=max(table.largest for table in tables),
    )


def level_scores(state: PartitionState, running: Collection[Job], options: Leveled) -> dict[int, float]:
    """How full each level is that can be compacted, without what is leaving it already; full is 1."""
    leaving = {number for job in running for level, number in job.inputs if level < job.output_level}
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
            smallest = min(table.smallest for table in group)
            largest = max(table.largest for table in group)
        upper = [table for table in state.levels[0] if table in group]
        yield upper, _overlapping(state.levels[1], smallest, largest)


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
    smallest = min(table.smallest for table in (*upper, *lower))
    largest = max(table.largest for table in (*upper, *lower))
    if len(inputs) == 1:
        return Move(inputs=inputs, output_level=output_level, smallest=smallest, largest=largest)
    return Merge(
        inputs=inputs,
        output_level=output_level,
        table_bytes=options.table_bytes,
        drop_tombstones=not any(
            _overlapping(tables, smallest, largest) for tables in state.levels[output_level + 1 :]
        ),
        smallest=smallest,
        largest=largest,
    )


def _clash(job: Job, other: Job) -> bool:
    """Whether two jobs must not run side by side."""
    if not set(job.inputs).isdisjoint(other.inputs):
        return True
    meet = job.smallest <= other.largest and other.smallest <= job.largest
    return meet and job.output_level == other.output_level


def _overlap(run: Tables, smallest: bytes, largest: bytes) -> tuple[int, int]:
    """The slice of a run, sorted and disjoint, that may hold keys from `smallest` to `largest`."""
    start = bisect.bisect_left(run, smallest, key=lambda table: table.largest)
    stop = bisect.bisect_right(run, largest, key=lambda table: table.smallest)
    return start, max(start, stop)


def _overlapping(run: Tables, smallest: bytes, largest: bytes) -> Tables:
    start, stop = _overlap(run, smallest, largest)
    return run[start:stop]
