"""Times by the million in a few kilobytes: counts in buckets whose width grows with the time.

Each power of two is divided into 32 buckets, so a percentile is too high by 3 per cent at most. Not for
several threads at once: give each its own and `merge` them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

__all__ = ["Histogram", "bucket_of", "highest_of"]

_SUB_BITS = 5
_SUB = 1 << _SUB_BITS


def bucket_of(value: int) -> int:
    """The number of the bucket that holds the value (0 or more). Below 64 each value has its own."""
    if value < _SUB:
        return value
    shift = value.bit_length() - _SUB_BITS - 1
    return (shift << _SUB_BITS) + (value >> shift)


def highest_of(bucket: int) -> int:
    """The highest value that the bucket holds."""
    if bucket < 2 * _SUB:
        return bucket
    shift = (bucket >> _SUB_BITS) - 1
    return ((bucket - (shift << _SUB_BITS) + 1) << shift) - 1


class Histogram:
    """Counts of times in ns; their sum and the longest one are kept exactly."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.total = 0
        self.max = 0

    def add(self, values: Iterable[int]) -> None:
        """Counted by value first, which C code does: few values of a series of times differ."""
        for value, count in Counter(values).items():
            self._counts[bucket_of(value)] += count
            self.count += count
            self.total += count * value
            self.max = max(self.max, value)

    def merge(self, other: Histogram) -> None:
        """Adds what the other has counted."""
        self._counts.update(other._counts)
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)

    def percentile(self, per_cent: float) -> int:
        """What so many per cent of the values do not exceed (nearest rank; the upper end of its bucket)."""
        if not self.count:
            raise ValueError("no values, no percentile")
        if not 0 <= per_cent <= 100:
            raise ValueError(f"per cent must be within 0 to 100, not {per_cent}")
        # Rounded first: 99.9 / 100 * 1000 is 999.0000000000001 in binary, and its ceiling one too many.
        rank = max(1, math.ceil(round(per_cent * self.count / 100, 6)))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return min(highest_of(bucket), self.max)
        raise AssertionError("the buckets hold fewer values than were counted")
