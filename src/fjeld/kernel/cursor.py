"""The movable cursor over a range, as of its creation.

It stands on an entry (`valid`), in front of the first or behind the last. `next` and `prev` go on from there;
a change of direction seeks the neighbour of the current key anew.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.blob_value import blob_value
from cython.cimports.fjeld.kernel.coding import KIND_BLOB, cbytes, fj_compare
from cython.cimports.fjeld.kernel.core import Access, coerce
from cython.cimports.fjeld.kernel.merge import Merge, merge_close
from cython.cimports.fjeld.kernel.scan import (
    BEGIN_BEFORE,
    BEGIN_FIRST,
    BEGIN_LAST,
    BEGIN_SEEK,
    advance,
    position,
)
from cython.cimports.fjeld.kernel.table import RUN_CACHED
from cython.cimports.libc.stdint import uint64_t

from fjeld.errors import ClosedError

IN_FRONT = cython.declare(cython.int, 1)
BEHIND = cython.declare(cython.int, 2)


@cython.cclass
class Cursor:
    """A context manager; not for use by two threads at once. Each movement returns whether it stands on an
    entry.
    """

    def __cinit__(self, reader: Access, start: object, stop: object):
        self.owner = reader
        self.core = reader.core
        self.start = start
        self.stop = stop
        self.before_first = IN_FRONT
        tag: uint64_t = reader.read_tag()
        self.view = reader.take_view()
        self.view.open_merge(cython.address(self.merge), tag, RUN_CACHED)
        self.own = reader.join_merge(cython.address(self.merge))

    def __dealloc__(self):
        merge_close(cython.address(self.merge))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def enter(self) -> cython.int:
        reader: Access = self.owner
        if self.closed:
            raise ClosedError("this cursor was closed: open a new one")
        if self.busy:
            raise ValueError("this cursor is being used by another thread")
        reader.check()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def settle(self) -> cython.bint:
        """Take the next entry of the merge if it is inside the range."""
        self.on_entry = advance(cython.address(self.merge)) == 1
        if self.on_entry and self.reverse and self.start is not None:
            self.on_entry = (
                fj_compare(
                    self.merge.key,
                    self.merge.key_bytes,
                    cython.cast(cbytes, PyBytes_AS_STRING(self.start)),
                    PyBytes_GET_SIZE(self.start),
                )
                >= 0
            )
        if self.on_entry and not self.reverse and self.stop is not None:
            self.on_entry = (
                fj_compare(
                    self.merge.key,
                    self.merge.key_bytes,
                    cython.cast(cbytes, PyBytes_AS_STRING(self.stop)),
                    PyBytes_GET_SIZE(self.stop),
                )
                < 0
            )
        if not self.on_entry:
            self.before_first = IN_FRONT if self.reverse else BEHIND
        return self.on_entry

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def start_forward(self, key: bytes | None) -> cython.bint:
        """Stand on the first entry at or after key (None: of the range)."""
        if self.start is not None and (key is None or key < self.start):
            key = self.start
        self.reverse = False
        self.on_entry = False
        self.busy = True
        try:
            position(cython.address(self.merge), BEGIN_FIRST if key is None else BEGIN_SEEK, key)
            return self.settle()
        finally:
            self.busy = False

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def start_reverse(self, key: bytes | None) -> cython.bint:
        """Stand on the last entry before key (None: of the range)."""
        if self.stop is not None and (key is None or key > self.stop):
            key = self.stop
        self.reverse = True
        self.on_entry = False
        self.busy = True
        try:
            position(cython.address(self.merge), BEGIN_LAST if key is None else BEGIN_BEFORE, key)
            return self.settle()
        finally:
            self.busy = False

    @cython.cfunc
    def current_key(self) -> bytes:
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.merge.key), self.merge.key_bytes)

    def seek(self, key):
        """Stand on the first entry at or after key."""
        exact: bytes = coerce(key, "key")  # first: this may run code of the caller's
        self.enter()
        return self.start_forward(exact)

    def seek_for_prev(self, key):
        """Stand on the last entry at or before key."""
        exact: bytes = coerce(key, "key") + b"\x00"
        self.enter()
        return self.start_reverse(exact)

    def seek_first(self):
        """Stand on the first entry of the range."""
        self.enter()
        return self.start_forward(None)

    def seek_last(self):
        """Stand on the last entry of the range."""
        self.enter()
        return self.start_reverse(None)

    def next(self):
        """Go to the next entry; from in front of the first, to the first."""
        self.enter()
        if not self.on_entry:
            return self.start_forward(None) if self.before_first == IN_FRONT else False
        if self.reverse:
            return self.start_forward(self.current_key() + b"\x00")
        self.busy = True
        try:
            return self.settle()
        finally:
            self.busy = False

    def prev(self):
        """Go to the entry before; from behind the last, to the last."""
        self.enter()
        if not self.on_entry:
            return self.start_reverse(None) if self.before_first == BEHIND else False
        if not self.reverse:
            return self.start_reverse(self.current_key())
        self.busy = True
        try:
            return self.settle()
        finally:
            self.busy = False

    @property
    def valid(self):
        """Does it stand on an entry?"""
        return self.on_entry and not self.closed

    @property
    def key(self):
        """The current key. Requires: valid."""
        self.enter()
        if not self.on_entry:
            raise ValueError("the cursor stands on no entry")
        return self.current_key()

    @property
    def value(self):
        """The current value; one in a blob file is read when it is asked for. Requires: valid."""
        self.enter()
        if not self.on_entry:
            raise ValueError("the cursor stands on no entry")
        m: cython.pointer[Merge] = cython.address(self.merge)
        if (m.tag & 0xFF) != KIND_BLOB:
            return PyBytes_FromStringAndSize(cython.cast(cython.p_char, m.value), m.value_bytes)
        self.busy = True
        try:
            return blob_value(cython.address(self.view.blob_set), m.value, m.key, m.key_bytes, True)
        finally:
            self.busy = False

    def close(self):
        """Let go of what it holds. Closing twice is fine."""
        if self.busy:
            raise ValueError("this cursor is being used by another thread")
        self.closed = True
        self.on_entry = False
        merge_close(cython.address(self.merge))
        self.view = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
