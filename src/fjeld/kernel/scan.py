"""The iterator over a range of keys, forward or in reverse, as of its creation."""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.coding import cbytes, fj_compare
from cython.cimports.fjeld.kernel.core import Access
from cython.cimports.fjeld.kernel.failure import (
    ST_COLD,
    ST_END,
    ST_OK,
    Failure,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.merge import (
    merge_close,
    merge_first,
    merge_last,
    merge_load,
    merge_next,
    merge_resume,
    merge_seek,
    merge_seek_before,
)
from cython.cimports.fjeld.kernel.table import RUN_CACHED
from cython.cimports.libc.stdint import uint64_t


@cython.cfunc
@cython.exceptval(-1, check=False)
def position(m: cython.pointer[Merge], start: cython.int, key: bytes | None) -> cython.int:
    """Position the merge. `key` must live until this returns; it is not needed afterwards."""
    failure: Failure
    status: cython.int
    data: cbytes = cython.NULL
    size: cython.size_t = 0
    failure_clear(cython.address(failure))
    if key is not None:
        data = cython.cast(cbytes, PyBytes_AS_STRING(key))
        size = PyBytes_GET_SIZE(key)
    if start == BEGIN_FIRST:
        status = merge_first(m, cython.address(failure))
    elif start == BEGIN_LAST:
        status = merge_last(m, cython.address(failure))
    elif start == BEGIN_SEEK:
        status = merge_seek(m, data, size, cython.address(failure))
    else:
        status = merge_seek_before(m, data, size, cython.address(failure))
    while status == ST_COLD:
        with cython.nogil:
            status = merge_load(m, cython.address(failure))
        if status == ST_OK:
            status = merge_resume(m, cython.address(failure))
    if status < 0:
        raise_failure(cython.address(failure))
    return 1


@cython.cfunc
def advance_cold(
    m: cython.pointer[Merge], status: cython.int, failure: cython.pointer[Failure]
) -> cython.int:
    while status == ST_COLD:
        with cython.nogil:
            status = merge_load(m, failure)
        if status == ST_OK:
            status = merge_next(m, failure)
    if status < 0:
        raise_failure(failure)
    return 1 if status == ST_OK else 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def advance(m: cython.pointer[Merge]) -> cython.int:
    failure: Failure
    status: cython.int = merge_next(m, cython.address(failure))
    if status == ST_OK:
        return 1
    if status == ST_END:
        return 0
    return advance_cold(m, status, cython.address(failure))


@cython.cclass
class Scan:
    """Entries with start <= key < stop (None: open), in order or in reverse. Lazy; may be dropped half-way.

    Thread safety: one thread at a time; a second one inside at the same moment gets a ValueError.
    """

    def __cinit__(self, reader: Access, start: object, stop: object, reverse: bool, mode: int):
        self.owner = reader
        self.core = reader.core
        self.start = start
        self.stop = stop
        self.reverse = reverse
        self.mode = mode
        tag: uint64_t = reader.read_tag()
        self.view = reader.take_view()
        self.view.open_merge(cython.address(self.merge), tag, RUN_CACHED)

    def __dealloc__(self):
        merge_close(cython.address(self.merge))

    def __iter__(self):
        return self

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin(self) -> cython.int:
        self.phase = 1
        if self.reverse:
            return position(
                cython.address(self.merge), BEGIN_LAST if self.stop is None else BEGIN_BEFORE, self.stop
            )
        return position(
            cython.address(self.merge), BEGIN_FIRST if self.start is None else BEGIN_SEEK, self.start
        )

    @cython.cfunc
    def finish(self) -> cython.void:
        self.phase = 2
        merge_close(cython.address(self.merge))
        self.view = None

    def __next__(self):
        reader: Access = self.owner
        found: cython.int
        if self.phase == 2:
            raise StopIteration
        if self.busy:
            raise ValueError("this iterator is being used by another thread")
        reader.check()
        self.busy = True
        try:
            if self.phase == 0:
                self.begin()
            found = advance(cython.address(self.merge))
        except BaseException:
            self.phase = 2  # where a merge stands after a failure is not known
            raise
        finally:
            self.busy = False
        if found == 0 or self.beyond():
            self.finish()
            raise StopIteration
        if self.mode == SCAN_KEYS:
            return self.key()
        if self.mode == SCAN_VALUES:
            return self.value()
        return (self.key(), self.value())

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def beyond(self) -> cython.bint:
        """Is the entry outside the range?"""
        if self.reverse:
            return self.start is not None and (
                fj_compare(
                    self.merge.key,
                    self.merge.key_bytes,
                    cython.cast(cbytes, PyBytes_AS_STRING(self.start)),
                    PyBytes_GET_SIZE(self.start),
                )
                < 0
            )
        return self.stop is not None and (
            fj_compare(
                self.merge.key,
                self.merge.key_bytes,
                cython.cast(cbytes, PyBytes_AS_STRING(self.stop)),
                PyBytes_GET_SIZE(self.stop),
            )
            >= 0
        )

    @cython.cfunc
    @cython.inline
    def key(self) -> bytes:
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.merge.key), self.merge.key_bytes)

    @cython.cfunc
    @cython.inline
    def value(self) -> bytes:
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.merge.value), self.merge.value_bytes)
