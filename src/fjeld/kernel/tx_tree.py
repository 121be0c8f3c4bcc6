"""One partition in a transaction: the reading methods of Reader merged with its own writes, and the writing
ones. `fjeld.TxPartition` inherits from it.

A single writer reads the newest state: while it has the turn nobody changes it. An optimistic transaction
reads at its snapshot, and its read set learns of every key and range that it takes from there.
"""

import cython
from cython.cimports.cpython.bytes import (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cython.cimports.fjeld.kernel.coding import (
    KIND_TOMBSTONE,
    KIND_VALUE,
    KIND_WEAK_TOMBSTONE,
    cbytes,
    fj_atomic_load,
)
from cython.cimports.fjeld.kernel.core import Access, TreeCore, coerce
from cython.cimports.fjeld.kernel.cursor import Cursor
from cython.cimports.fjeld.kernel.journal_reader import JournalEntry
from cython.cimports.fjeld.kernel.memtable import MemtableOwner
from cython.cimports.fjeld.kernel.merge import FJ_OWN_TAG, Merge, merge_add_memtable
from cython.cimports.fjeld.kernel.own_writes import OwnWrites
from cython.cimports.fjeld.kernel.read_set import ReadRange
from cython.cimports.fjeld.kernel.reader import key_bytes
from cython.cimports.fjeld.kernel.scan import Scan
from cython.cimports.fjeld.kernel.tracked import TrackedCursor, TrackedScan
from cython.cimports.fjeld.kernel.view import View
from cython.cimports.libc.stdint import uint64_t

NEWEST = cython.declare(uint64_t, 0xFFFFFFFFFFFFFFFF)


@cython.cclass
class TxTree(Reader):
    """For the thread of its transaction. Holds the transaction, which does not hold it."""

    def __cinit__(self, core: TreeCore, transaction: OwnWrites, reads: ReadSet | None = None):
        self.transaction = transaction
        self.reads = reads
        if reads is not None:
            self.fixed_tag = (transaction.since << 8) | 0xFF

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def check(self) -> cython.int:
        self.transaction.enter()
        if fj_atomic_load(cython.address(self.core.refused)):
            self.core.check()
        return 0

    @cython.cfunc
    def take_view(self) -> View:
        if self.reads is not None and self.reads.kept is not None:
            return self.reads.kept
        return self.core.take_view()

    @cython.cfunc
    def join_merge(self, m: cython.pointer[Merge]) -> object:
        own: MemtableOwner = None
        if self.transaction.batch.count:
            own = self.transaction.index_of(self.core)
        if own is not None:
            merge_add_memtable(m, own.memtable)
            m.own_tag = FJ_OWN_TAG + (cython.cast(uint64_t, self.transaction.batch.count) << 8) + 0xFF
        return own

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=False)
    def own_entry(self, key: bytes, out: cython.pointer[JournalEntry]) -> cython.int:
        if self.transaction.batch.count == 0:
            return 0
        return self.transaction.find(
            self.core, cython.cast(cbytes, PyBytes_AS_STRING(key)), PyBytes_GET_SIZE(key), out
        )

    # ---- reading ----

    @cython.cfunc
    def lookup(self, key: object, default: object, wait: cython.bint) -> object:
        self.check()
        exact: bytes = key_bytes(key)
        e: JournalEntry
        if self.own_entry(exact, cython.address(e)):
            return entry_value(cython.address(e), default)
        if self.reads is not None:
            self.reads.add_point(exact)
        return Reader.lookup(self, exact, default, wait)

    @cython.cfunc
    def measure(self, key: object, wait: cython.bint) -> object:
        self.check()
        exact: bytes = key_bytes(key)
        e: JournalEntry
        if self.own_entry(exact, cython.address(e)):
            return e.value_bytes if e.kind == KIND_VALUE else None
        if self.reads is not None:
            self.reads.add_point(exact)
        return Reader.measure(self, exact, wait)

    @cython.cfunc
    def lookup_many(self, keys: object, wait: cython.bint) -> object:
        self.check()
        exact: list = [key_bytes(key) for key in keys]
        self.check()  # giving the keys may have ended the transaction
        values: list = [None] * len(exact)
        others: list = []
        places: list = []
        e: JournalEntry
        i: cython.Py_ssize_t
        for i in range(len(exact)):
            if self.own_entry(exact[i], cython.address(e)):
                values[i] = entry_value(cython.address(e), None)
                continue
            others.append(exact[i])
            places.append(i)
            if self.reads is not None:
                self.reads.add_point(exact[i])
        if others:
            found: object = Reader.lookup_many(self, others, wait)
            if not isinstance(found, list):
                return found  # NOT_READY
            for place, value in zip(places, found):
                values[place] = value
        return values

    @cython.cfunc
    def open_scan(self, start: bytes | None, stop: bytes | None, reverse: object, mode: cython.int) -> Scan:
        if self.reads is None:
            return Scan(self, start, stop, reverse, mode)
        tracked: TrackedScan = TrackedScan(self, start, stop, reverse, mode)
        tracked.tell(self.reads)
        return tracked

    @cython.cfunc
    def open_cursor(self, start: bytes | None, stop: bytes | None) -> Cursor:
        if self.reads is None:
            return Cursor(self, start, stop)
        tracked: TrackedCursor = TrackedCursor(self, start, stop)
        tracked.tell(self.reads)
        return tracked

    def note_all_read(self):
        """All keys are read by what follows, such as `count_entries`."""
        self.check()
        everything: ReadRange
        if self.reads is not None:
            everything = self.reads.add_range()
            everything.begin(None, None, False)
            everything.open = False

    # ---- writing ----

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def put(self, kind: cython.int, key: object, value: object) -> cython.int:
        exact: bytes = key_bytes(key)
        self.check()  # last: a key may be an object whose code ends the transaction
        return self.transaction.batch.add(self.core, kind, exact, value)

    def insert(self, key, value):
        """Write key = value, as part of the transaction."""
        if not PyBytes_CheckExact(value):
            value = coerce(value, "value")
        self.put(KIND_VALUE, key, value)

    def remove(self, key):
        """Remove key, whether or not it exists."""
        self.put(KIND_TOMBSTONE, key, None)

    def remove_weak(self, key):
        """Remove a key that was inserted once since it was last removed, weakly too: cheaper to compact than
        `remove`.

        Of an optimistic transaction it is a plain removal: a weak one would vanish together with its value, and
        others could not see that they conflict.
        """
        self.put(KIND_WEAK_TOMBSTONE if self.reads is None else KIND_TOMBSTONE, key, None)

    def __setitem__(self, key, value):
        self.insert(key, value)

    def __delitem__(self, key):
        if self.size_of(key) is None:
            raise KeyError(key)
        self.put(KIND_TOMBSTONE, key, None)

    def insert_many(self, pairs):
        """Write all (key, value) pairs; where one is refused, or giving them fails, none of them."""
        transaction: OwnWrites = self.transaction
        mark: tuple = transaction.mark()
        try:
            for key, value in pairs:
                self.insert(key, value)
        except BaseException:
            if transaction.ended is None:
                transaction.go_back(mark)
            raise


@cython.cfunc
def entry_value(e: cython.pointer[JournalEntry], default: object) -> object:
    if e.kind != KIND_VALUE:
        return default
    return PyBytes_FromStringAndSize(cython.cast(cython.p_char, e.value), e.value_bytes)
