"""What writers feel: the time of each commit, told apart by whether a checkpoint was in flight."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Interval",
    "LatencyRecorder",
    "Series",
    "Summary",
    "bucketize",
    "overlaps",
    "percentile",
    "summarize",
    "total_seconds",
]

Interval = tuple[int, int]
"""Start and end on the monotonic clock, in ns."""


class LatencyRecorder:
    """Collects (start, end) of commits. One thread records; reading is for afterwards."""

    def __init__(self) -> None:
        self._starts = array("q")
        self._ends = array("q")

    def __len__(self) -> int:
        return len(self._starts)

    def record(self, start_ns: int, end_ns: int) -> None:
        self._starts.append(start_ns)
        self._ends.append(end_ns)

    def durations(self) -> list[int]:
        """All of them, in ns."""
        return [end - start for start, end in zip(self._starts, self._ends, strict=True)]

    def split(self, busy: Sequence[Interval], quiet: Sequence[Interval]) -> tuple[list[int], list[int]]:
        """Durations in ns: (of those in a quiet interval and no busy one, of those that overlap a busy one).

        The rest is left out: between two checkpoints of a busy window the old one is being deleted.
        Within each of the two sequences the intervals are in order and disjoint.
        """
        without, during = [], []
        for start, end in zip(self._starts, self._ends, strict=True):
            if overlaps(busy, start, end):
                during.append(end - start)
            elif overlaps(quiet, start, end):
                without.append(end - start)
        return without, during


@dataclass(frozen=True, slots=True)
class Series:
    """Commits of one kind: how long each took, and in how much time all of them came."""

    durations_ns: list[int]
    seconds: float

    @property
    def rate(self) -> float:
        """Commits a second, with all that the writer does between two of them."""
        return len(self.durations_ns) / self.seconds if self.seconds else 0.0


def total_seconds(intervals: Sequence[Interval]) -> float:
    """The length of all of them."""
    return sum(end - start for start, end in intervals) / 1e9


def overlaps(intervals: Sequence[Interval], start: int, end: int) -> bool:
    """Whether [start, end] meets one of the intervals (in order, disjoint)."""
    after = bisect_right(intervals, end, key=lambda interval: interval[0])
    return after > 0 and intervals[after - 1][1] >= start


def percentile(ordered: Sequence[int], per_cent: float) -> int:
    """The smallest value that at least so many per cent of the values do not exceed (nearest rank)."""
    if not ordered:
        raise ValueError("no values, no percentile")
    if not 0 <= per_cent <= 100:
        raise ValueError(f"per cent must be within 0 to 100, not {per_cent}")
    # Rounded first: 99.9 / 100 * 1000 is 999.0000000000001 in binary, and its ceiling one too many.
    rank = math.ceil(round(per_cent * len(ordered) / 100, 6))
    return ordered[max(rank, 1) - 1]


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one series, in ns."""

    count: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


def summarize(durations: Sequence[int]) -> Summary | None:
    """None for an empty series."""
    if not durations:
        return None
    ordered = sorted(durations)
    p50, p99, p999 = (percentile(ordered, per_cent) for per_cent in (50, 99, 99.9))
    return Summary(len(ordered), p50, p99, p999, ordered[-1])


def bucketize(durations: Sequence[int], bounds: Sequence[int]) -> list[int]:
    """How many fall into each bucket.

    Bucket i holds what is above bounds[i - 1] and up to bounds[i]; the last, beyond all bounds, has no end.
    """
    counts = [0] * (len(bounds) + 1)
    for duration in durations:
        counts[bisect_left(bounds, duration)] += 1
    return counts
