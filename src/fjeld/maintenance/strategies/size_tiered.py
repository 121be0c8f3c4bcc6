"""Size-tiered compaction: all runs are in level 0, one table each; some of adjacent age become one.

Why jobs may run side by side on one partition: each takes tables that follow one another in age, none of which
another has; so whatever it makes is newer than all older runs and older than all newer ones.

Reasons for a merge, in this order:
  1. Space: the newer runs together are so large beside the oldest that much of it may be hidden. All merge.
  2. Similar sizes: at least `min_runs` in a row, of which no older one is much larger than the newer ones.
  3. Number: there are more than `max_runs`. Those in a row that cost least.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fjeld.maintenance.strategies.choice import Choice, Job, Merge, Nothing, Tables, busy, key_range
from fjeld.manifest.version import PartitionState
from fjeld.options import SizeTiered

__all__ = ["UNLIMITED_BYTES", "choose", "merge_runs"]

# A run is one table, whatever its size.
UNLIMITED_BYTES = 1 << 62


def choose(state: PartitionState, running: Collection[Job], options: SizeTiered) -> Choice:
    """The first merge that there is a reason for."""
    runs = state.levels[0]
    if not running and _wastes_space(runs, options):
        return merge_runs(state, runs)
    stretches = list(_stretches(runs, running))
    for stretch in stretches:
        similar = _similar(stretch, options)
        if similar:
            return merge_runs(state, similar)
    # Each job that runs leaves one run of its own behind.
    taken = busy(running)
    expected = sum(table.number not in taken for table in runs) + len(running)
    if expected > options.max_runs:
        cheapest = _cheapest(stretches, max(options.min_runs, expected - options.max_runs + 1))
        if cheapest:
            return merge_runs(state, cheapest)
    return Nothing()


def merge_runs(state: PartitionState, runs: Tables, moved: frozenset[int] = frozenset()) -> Merge:
    """Merge runs of level 0 that follow one another, newest first, into one.

    Tombstones are dropped where the oldest of all takes part: else they could hide something in an older one.
    """
    smallest, largest = key_range(runs)
    return Merge(
        inputs=tuple((0, table.number) for table in runs),
        output_level=0,
        table_bytes=UNLIMITED_BYTES,
        drop_tombstones=runs[-1] is state.levels[0][-1] and not any(state.levels[1:]),
        smallest=smallest,
        largest=largest,
        moved=moved,
    )


def _wastes_space(runs: Tables, options: SizeTiered) -> bool:
    if len(runs) < options.min_runs:
        return False
    newer_bytes = sum(table.size_bytes for table in runs[:-1])
    return newer_bytes >= options.max_space_amplification * runs[-1].size_bytes


def _stretches(runs: Tables, running: Collection[Job]) -> Iterator[Tables]:
    """Runs that follow one another and are free, newest first."""
    taken = busy(running)
    start = 0
    for index, table in enumerate(runs):
        if table.number in taken:
            yield runs[start:index]
            start = index + 1
    yield runs[start:]


def _similar(stretch: Tables, options: SizeTiered) -> Tables:
    """The newest runs in a row that are similar; none where too few are."""
    for start in range(len(stretch)):
        total_bytes = stretch[start].size_bytes
        stop = start + 1
        # In integers times the count, not divided: exact, so that equal sizes are always similar.
        while stop < len(stretch) and (
            stretch[stop].size_bytes * (stop - start) <= options.size_ratio * total_bytes
        ):
            total_bytes += stretch[stop].size_bytes
            stop += 1
        if stop - start >= options.min_runs:
            return stretch[start:stop]
    return ()


def _cheapest(stretches: list[Tables], width: int) -> Tables:
    """So many runs in a row (or, where no stretch has that many, what there is) with the fewest bytes."""
    width = min(width, max(map(len, stretches)))
    if width < 2:
        return ()
    windows = [
        stretch[start : start + width] for stretch in stretches for start in range(len(stretch) - width + 1)
    ]
    return min(windows, key=lambda window: sum(table.size_bytes for table in window))
