"""Iterators and cursors of optimistic transactions: what they pass over becomes part of the read set.

A movement from A to B has learned that nothing lies in between, so all of that is read, ends included. An
iterator is one range; a cursor has one for each seek, which grows with the steps from there.
"""

import cython
from cython.cimports.fjeld.kernel.core import Access, coerce
from cython.cimports.fjeld.kernel.cursor import Cursor
from cython.cimports.fjeld.kernel.read_set import ReadRange, ReadSet
from cython.cimports.fjeld.kernel.scan import Scan


@cython.cfunc
@cython.exceptval(check=False)
def close_range(read: cython.pointer[cython.void]) -> cython.void:
    """Nobody goes on with it. NULL or None where making its reader failed."""
    if read != cython.NULL and cython.cast(object, read) is not None:
        cython.cast(ReadRange, read).open = False


@cython.final
@cython.cclass
class TrackedScan(Scan):
    """As Scan, of an optimistic transaction."""

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def tell(self, reads: ReadSet) -> cython.int:
        """Requires: nothing was read yet."""
        self.read = reads.add_range()
        return 0

    def __dealloc__(self):
        close_range(cython.cast(cython.pointer[cython.void], self.read))

    @cython.cfunc
    def finish(self) -> cython.void:
        """The whole range was read."""
        self.read.begin(self.start, self.stop, False)
        self.read.open = False
        Scan.finish(self)

    @cython.cfunc
    def entry(self) -> object:
        """An entry is handed out: it was read, with what comes before it."""
        key: bytes = self.key()
        if not self.read.touched:
            self.read.begin(self.start, self.stop, False)
        if self.reverse:
            self.read.low = key
        else:
            self.read.high = key
            self.read.high_included = True
        return Scan.entry(self)


@cython.final
@cython.cclass
class TrackedCursor(Cursor):
    """As Cursor, of an optimistic transaction."""

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def tell(self, reads: ReadSet) -> cython.int:
        """Requires: nothing was read yet."""
        self.reads = reads
        return 0

    def __dealloc__(self):
        close_range(cython.cast(cython.pointer[cython.void], self.read))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def leave(self) -> cython.int:
        """A seek begins another range."""
        if self.read is not None:
            self.read.open = False
        self.read = self.reads.add_range()
        return 0

    @cython.cfunc
    def came_up(self, sought: bytes | None, found: object) -> object:
        """From `sought` (None: the start) up to where it stands."""
        if sought is None or (self.start is not None and sought < self.start):
            sought = self.start
        if found:
            self.read.begin(sought, self.current_key(), True)
        else:
            self.read.begin(sought, self.stop, False)
        return found

    @cython.cfunc
    def came_down(self, sought: bytes | None, included: cython.bint, found: object) -> object:
        """From `sought` (None: the stop) down to where it stands."""
        if sought is None or (self.stop is not None and sought >= self.stop):
            sought = self.stop
            included = False
        self.read.begin(self.current_key() if found else self.start, sought, included)
        return found

    def seek(self, key):
        """Stand on the first entry at or after key."""
        exact: bytes = coerce(key, "key")
        self.leave()
        return self.came_up(exact, Cursor.seek(self, exact))

    def seek_for_prev(self, key):
        """Stand on the last entry at or before key."""
        exact: bytes = coerce(key, "key")
        self.leave()
        return self.came_down(exact, True, Cursor.seek_for_prev(self, exact))

    def seek_first(self):
        """Stand on the first entry of the range."""
        self.leave()
        return self.came_up(None, Cursor.seek_first(self))

    def seek_last(self):
        """Stand on the last entry of the range."""
        self.leave()
        return self.came_down(None, False, Cursor.seek_last(self))

    def next(self):
        """Go to the next entry; from in front of the first, to the first."""
        if self.read is None or not self.read.touched:
            self.leave()
            return self.came_up(None, Cursor.next(self))
        found: cython.bint = Cursor.next(self)
        if found:
            self.read.reach_up(self.current_key(), True)
        else:
            self.read.reach_up(self.stop, False)
        return found

    def prev(self):
        """Go to the entry before; from behind the last, to the last."""
        if self.read is None or not self.read.touched:
            if self.before_first == 1:  # in front of the first: it stays there, and nothing is read
                return Cursor.prev(self)
            self.leave()
            return self.came_down(None, False, Cursor.prev(self))
        found: cython.bint = Cursor.prev(self)
        self.read.reach_down(self.current_key() if found else self.start)
        return found
