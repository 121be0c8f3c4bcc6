"""The read set: which keys and ranges of one partition an optimistic transaction has read.

Bounded: above `max_weight` bytes everything becomes ranges, and neighbours are joined until half of that is
left. What the set covers only grows by that, so a conflict may be found where there is none, and none is missed.

Invariant: each key whose value, absence or place among others the transaction has learned from the keyspace
(not from its own writes) is a point of the set or lies within a range of it.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.conflicts import find_change
from cython.cimports.fjeld.kernel.core import TreeCore
from cython.cimports.fjeld.kernel.view import View
from cython.cimports.libc.stdint import uint64_t

from fjeld.errors import ConflictError

# Of one point or range beside its keys: what the objects take, about.
OVERHEAD_BYTES = cython.declare(uint64_t, 100)
# Of one partition and transaction: some ten thousand short keys. Checking them takes milliseconds.
MAX_WEIGHT_BYTES = 1 << 20


@cython.final
@cython.cclass
class ReadRange:
    """Keys from `low` up to `high` that were read. Who reads makes it grow."""

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin(self, low: bytes | None, high: bytes | None, high_included: cython.bint) -> cython.int:
        """Something was read: between low and high."""
        self.low = low
        self.high = high
        self.high_included = high_included
        self.touched = True
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def reach_up(self, high: bytes | None, included: cython.bint) -> cython.int:
        """What was read goes on up to `high` (None: to the end). Requires: touched."""
        if self.high is None:
            return 0
        if high is None or high > self.high or (high == self.high and included):
            self.high = high
            self.high_included = included
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def reach_down(self, low: bytes | None) -> cython.int:
        """What was read goes on down to `low` (None: to the beginning). Requires: touched."""
        if self.low is not None and (low is None or low < self.low):
            self.low = low
        return 0

    @cython.cfunc
    def end(self) -> bytes:
        """The first key behind the range; None: there is none."""
        if self.high is not None and self.high_included:
            return self.high + b"\x00"
        return self.high


@cython.cfunc
@cython.exceptval(check=False)
def weight_of(low: bytes | None, high: bytes | None) -> uint64_t:
    weight: uint64_t = OVERHEAD_BYTES
    if low is not None:
        weight += PyBytes_GET_SIZE(low)
    if high is not None:
        weight += PyBytes_GET_SIZE(high)
    return weight


def join_ranges(ranges: list, max_weight: uint64_t) -> list:
    """Disjoint, ascending ranges (low, high) that cover all of the given ones and weigh at most max_weight.

    low: None is the beginning; high is not included, None is the end. One range is left at least.
    """
    joined: list = []
    begin: object
    end: object
    first: cython.bint = True
    for low, high in sorted(ranges, key=begin_of):
        if first:
            begin, end, first = low, high, False
        elif end is None or begin_of((low, high)) <= end:
            if end is not None and (high is None or high > end):
                end = high
        else:
            joined.append((begin, end))
            begin, end = low, high
    if not first:
        joined.append((begin, end))
    while len(joined) > 1 and sum([weight_of(low, high) for low, high in joined]) > max_weight:
        pairs: list = [joined[i : i + 2] for i in range(0, len(joined), 2)]
        joined = [(pair[0][0], pair[len(pair) - 1][1]) for pair in pairs]
    return joined


def begin_of(span: tuple) -> bytes:
    return b"" if span[0] is None else span[0]


@cython.final
@cython.cclass
class ReadSet:
    """Of one partition and one transaction; for its thread. `keep` may be called from any."""

    def __cinit__(self, core: TreeCore, max_weight: uint64_t = MAX_WEIGHT_BYTES):
        self.core = core
        self.points = set()
        self.ranges = []
        self.max_weight = max_weight

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def add_point(self, key: bytes) -> cython.int:
        count: cython.Py_ssize_t = len(self.points)
        self.points.add(key)
        if len(self.points) != count:
            self.weight += OVERHEAD_BYTES + PyBytes_GET_SIZE(key)
            if self.weight > self.max_weight:
                self.make_room()
        return 0

    @cython.cfunc
    def add_range(self) -> ReadRange:
        """A range that nothing was read of yet; whoever reads tells it how far. Close it at the end."""
        added: ReadRange = ReadRange()
        added.open = True
        self.weight += OVERHEAD_BYTES
        if self.weight > self.max_weight:
            self.make_room()
        self.ranges.append(added)
        return added

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def make_room(self) -> cython.int:
        """Join what is finished. Ranges that are still read stay as they are."""
        one: ReadRange
        still_open: list = []
        finished: list = [(key, key + b"\x00") for key in self.points]
        for one in self.ranges:
            if one.open:
                still_open.append(one)
            elif one.touched:
                finished.append((one.low, one.end()))
        self.ranges = still_open
        self.points = set()
        self.weight = OVERHEAD_BYTES * cython.cast(uint64_t, len(still_open))
        for low, high in join_ranges(finished, self.max_weight // 2):
            one = ReadRange()
            one.begin(low, high, False)
            self.ranges.append(one)
            self.weight += weight_of(low, high)
        # Where open ones alone are too many (each has an iterator that somebody holds), the next look is later.
        self.max_weight = max(self.max_weight, 2 * self.weight)
        return 0

    @cython.cfunc
    def spans(self) -> list:
        """The ranges as (low, high); high is not included."""
        one: ReadRange
        found: list = []
        for one in self.ranges:
            if one.touched:
                found.append((one.low, one.end()))
        return found

    @cython.cfunc
    def may_need_disk(self, since: uint64_t) -> cython.bint:
        """Is there anything to check that could be in tables?"""
        view: View = self.core.take_view()
        return (len(self.points) or len(self.ranges)) and view.tables_seqno > since

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def check(self, since: uint64_t) -> cython.int:
        """ConflictError where anything of what was read has changed after `since`."""
        spans: list = self.spans()
        if not self.points and not spans:
            return 0
        if self.core.refused:
            self.core.commit.control.check_open()
            raise ConflictError(f"the partition {self.core.name!r} was dropped: run the transaction again")
        if self.kept is not None:
            raise ConflictError(
                f"entries of {self.core.name!r} that this transaction may have read were cleared: run it again"
            )
        found: object = find_change(self.core.take_view(), self.points, spans, since)
        if found is not None:
            raise ConflictError(
                f"another transaction has changed what this one read, in {self.core.name!r} at the key"
                f" {shortened(found)}: run it again"
            )
        return 0

    # ---- for the control plane, and for tests ----

    def keep(self, view: View):
        """What the partition had at the transaction's beginning goes: it is in `view`. Any thread."""
        if self.kept is None:
            self.kept = view

    def covered(self) -> tuple:
        """For tests: the points, and the ranges as (low, high)."""
        return set(self.points), self.spans()


@cython.cfunc
def shortened(key: bytes) -> str:
    return repr(key) if len(key) <= 40 else f"{key[:40]!r}..."
