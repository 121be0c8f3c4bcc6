"""The Python face of the cursor over a run: for tests and tools."""

import cython
from cython.cimports.fjeld.kernel.coding import cbytes
from cython.cimports.fjeld.kernel.failure import (
    ST_COLD,
    ST_END,
    ST_OK,
    Failure,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.run import (
    run_close,
    run_first,
    run_init,
    run_last,
    run_load,
    run_next,
    run_prev,
    run_seek,
    run_seek_before,
)
from cython.cimports.fjeld.kernel.table import RUN_CACHED, RUN_STREAM, Table, TableReader
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.stdlib import calloc, free

NEWEST = cython.declare(uint64_t, 0xFFFFFFFFFFFFFFFF)


@cython.final
@cython.no_gc_clear
@cython.cclass
class RunScan:
    """Iterates over the (key, seqno, kind, value)s of tables in order; or moves by hand. For one thread.

    `stream`: past the cache, with read-ahead. Every movement returns the entry it stands on, or None.
    """

    def __cinit__(self, tables: object, *, stream: cython.bint = True, reverse: cython.bint = False):
        i: cython.Py_ssize_t
        reader: TableReader
        self.readers = list(tables)
        self.reverse = reverse
        self.tables = cython.cast(
            cython.pointer[cython.pointer[Table]],
            calloc(len(self.readers) + 1, cython.sizeof(cython.pointer[Table])),
        )
        if self.tables == cython.NULL:
            raise MemoryError()
        for i in range(len(self.readers)):
            reader = self.readers[i]
            self.tables[i] = reader.table
        run_init(
            cython.address(self.cursor),
            self.tables,
            len(self.readers),
            RUN_STREAM if stream else RUN_CACHED,
        )

    def __dealloc__(self):
        run_close(cython.address(self.cursor))
        free(self.tables)

    def __iter__(self):
        return self

    def __next__(self):
        entry: object
        if self.started:
            entry = self.prev() if self.reverse else self.next()
        else:
            entry = self.last() if self.reverse else self.first()
        self.started = True
        if entry is None:
            raise StopIteration
        return entry

    def first(self) -> object:
        f: Failure
        status: cython.int
        failure_clear(cython.address(f))
        with cython.nogil:
            status = run_first(cython.address(self.cursor), cython.address(f))
        return self.arrive(status, cython.address(f))

    def last(self) -> object:
        f: Failure
        status: cython.int
        failure_clear(cython.address(f))
        with cython.nogil:
            status = run_last(cython.address(self.cursor), cython.address(f))
        return self.arrive(status, cython.address(f))

    def next(self) -> object:
        f: Failure
        status: cython.int
        failure_clear(cython.address(f))
        with cython.nogil:
            status = run_next(cython.address(self.cursor), cython.address(f))
        return self.arrive(status, cython.address(f))

    def prev(self) -> object:
        f: Failure
        status: cython.int
        failure_clear(cython.address(f))
        with cython.nogil:
            status = run_prev(cython.address(self.cursor), cython.address(f))
        return self.arrive(status, cython.address(f))

    def seek(self, key: bytes, max_seqno: object = None) -> object:
        """The first entry at or after the newest version of key up to max_seqno."""
        f: Failure
        tag: uint64_t = newest_tag(max_seqno)
        status: cython.int
        failure_clear(cython.address(f))
        data: cbytes = key
        n: cython.size_t = len(key)
        with cython.nogil:
            status = run_seek(cython.address(self.cursor), data, n, tag, cython.address(f))
        return self.arrive(status, cython.address(f))

    def seek_before(self, key: bytes, max_seqno: object = None) -> object:
        """The last entry before that."""
        f: Failure
        tag: uint64_t = newest_tag(max_seqno)
        status: cython.int
        failure_clear(cython.address(f))
        data: cbytes = key
        n: cython.size_t = len(key)
        with cython.nogil:
            status = run_seek_before(cython.address(self.cursor), data, n, tag, cython.address(f))
        return self.arrive(status, cython.address(f))

    @cython.cfunc
    def arrive(self, status: cython.int, f: cython.pointer[Failure]) -> object:
        c: cython.pointer[RunCursor] = cython.address(self.cursor)
        if status == ST_COLD:
            with cython.nogil:
                status = run_load(c, f)
        if status == ST_END:
            return None
        if status != ST_OK:
            raise_failure(f)
        return (
            cython.cast(cython.p_char, c.key)[: c.key_bytes],
            c.tag >> 8,
            c.tag & 0xFF,
            cython.cast(cython.p_char, c.value)[: c.value_bytes],
        )


@cython.cfunc
def newest_tag(max_seqno: object) -> uint64_t:
    return NEWEST if max_seqno is None else cython.cast(uint64_t, max_seqno) << 8 | 0xFF
