"""A view: what a reader of one partition sees, as one immutable value.

The active memtable, the sealed ones, level 0 (newest first), one run of disjoint tables a level, and the blob files
that entries of them point into. Flush and
compaction put a new view in the partition's place; a reader that holds an old one goes on reading it, and
keeps its memtables and files alive by holding it (law 2). Only the active memtable changes under a reader,
and only by newer seqnos.
"""

import cython
from cython.cimports.fjeld.kernel.blob import blob_set_free, blob_set_init
from cython.cimports.fjeld.kernel.block import Block, Entry, block_release
from cython.cimports.fjeld.kernel.checksum import fj_xxh64
from cython.cimports.fjeld.kernel.coding import (
    cbytes,
    fj_atomic_load64,
    fj_atomic_store64,
    fj_compare,
)
from cython.cimports.fjeld.kernel.failure import (
    ST_COLD,
    ST_NOMEM,
    ST_OK,
    Failure,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.memtable import MemEntry, MemtableOwner, entry_value, memtable_get
from cython.cimports.fjeld.kernel.merge import merge_add_memtable, merge_add_run, merge_init
from cython.cimports.fjeld.kernel.read_counters import COUNTED_LEVELS, LevelReads, ReadCounters
from cython.cimports.fjeld.kernel.table import (
    LOOK_CACHED,
    LOOK_NOW,
    LOOK_WAIT,
    TableReader,
    table_covers,
    table_get,
    table_may_contain,
)
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free

# Of views that no partition shows, such as the inputs of a compaction.
UNCOUNTED = cython.declare(ReadCounters, ReadCounters())


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def count(counter: cython.pointer[uint64_t]) -> cython.void:
    fj_atomic_store64(counter, fj_atomic_load64(counter) + 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def found_release(found: cython.pointer[Found]) -> cython.void:
    if found.block != cython.NULL:
        block_release(found.block)
        found.block = cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def found_entry(found: cython.pointer[Found], e: cython.pointer[MemEntry]) -> cython.void:
    """What a memtable gave: it lives as long as the view."""
    found.block = cython.NULL
    found.tag = e.tag
    found.value = entry_value(e)
    found.value_bytes = e.value_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def found_in_block(found: cython.pointer[Found], e: cython.pointer[Entry]) -> cython.void:
    """What a block gave. Its reference is the caller's matter."""
    found.tag = e.tag
    found.value = e.value
    found.value_bytes = e.value_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def level_find(level: cython.pointer[Level], key: cbytes, key_bytes: cython.size_t) -> cython.pointer[Table]:
    """The one table of a level that may hold the key, or NULL."""
    low: uint32_t = 0
    high: uint32_t = level.count
    middle: uint32_t
    t: cython.pointer[Table]
    while low < high:
        middle = (low + high) >> 1
        t = level.tables[middle]
        if fj_compare(t.largest, t.largest_bytes, key, key_bytes) < 0:
            low = middle + 1
        else:
            high = middle
    if low == level.count:
        return cython.NULL
    t = level.tables[low]
    return t if table_covers(t, key, key_bytes) else cython.NULL


@cython.cfunc
def find_in_table(
    t: cython.pointer[Table],
    key: cbytes,
    key_bytes: cython.size_t,
    hashed: uint64_t,
    max_tag: uint64_t,
    out: cython.pointer[Found],
    reads: cython.pointer[LevelReads],
    wait: cython.bint,
) -> cython.int:
    entry: Entry
    b: cython.pointer[cython.pointer[Block]] = cython.address(out.block)
    status: cython.int
    failure: Failure
    if table_may_contain(t, hashed) == 0:
        count(cython.address(reads.filter_negatives))
        return 0
    status = table_get(t, key, key_bytes, max_tag, cython.address(entry), b, LOOK_CACHED, cython.NULL)
    if status == ST_COLD:
        count(cython.address(reads.block_loads))
        failure_clear(cython.address(failure))
        status = table_get(
            t, key, key_bytes, max_tag, cython.address(entry), b, LOOK_NOW, cython.address(failure)
        )
    if status == ST_COLD:
        if not wait:
            return NOT_NOW
        failure_clear(cython.address(failure))  # what is wrong is met again, and said then
        with cython.nogil:
            status = table_get(
                t, key, key_bytes, max_tag, cython.address(entry), b, LOOK_WAIT, cython.address(failure)
            )
        if status < 0:
            raise_failure(cython.address(failure))
    if status != ST_OK:
        count_absent(t, hashed, reads)
        return 0
    count(cython.address(reads.found))
    found_in_block(out, cython.address(entry))
    return 1


@cython.cfunc
@cython.exceptval(check=False)
def count_absent(
    t: cython.pointer[Table], hashed: uint64_t, reads: cython.pointer[LevelReads]
) -> cython.void:
    """The table was searched in vain. One that was not open yet could not ask its filter before."""
    if t.filter_lines == 0:
        count(cython.address(reads.unfiltered))
    elif table_may_contain(t, hashed):
        count(cython.address(reads.filter_false_positives))
    else:
        count(cython.address(reads.filter_negatives))


@cython.cclass
class View:
    """`memtables`: newest first; `levels`: level 0 newest first, the deeper ones in key order and disjoint;
    `blobs`: by number.
    """

    def __cinit__(self, memtables: tuple, levels: tuple, blobs: tuple = ()):
        i: cython.Py_ssize_t
        self.memtables = memtables
        self.levels = levels
        self.blobs = blobs
        blob_set_init(cython.address(self.blob_set), blobs)
        self.count_into(UNCOUNTED)
        self.mem = cython.cast(
            cython.pointer[cython.pointer[Memtable]],
            calloc(len(memtables) + 1, cython.sizeof(cython.pointer[Memtable])),
        )
        self.runs = cython.cast(cython.pointer[Level], calloc(len(levels) + 1, cython.sizeof(Level)))
        if self.mem == cython.NULL or self.runs == cython.NULL:
            raise MemoryError
        owner: MemtableOwner
        for i in range(len(memtables)):
            owner = memtables[i]
            self.mem[i] = owner.memtable
        self.mem_count = len(memtables)
        if levels:
            self.level0 = table_array(levels[0])
            self.level0_count = len(levels[0])
        for number, level in enumerate(levels[1:], start=1):
            if level:
                self.runs[self.run_count].number = min(number, COUNTED_LEVELS - 1)
                self.runs[self.run_count].tables = table_array(level)
                self.runs[self.run_count].count = len(level)
                self.run_count += 1
        for level in levels:
            for reader in level:
                self.tables_seqno = max(self.tables_seqno, newest_in(reader))

    def __dealloc__(self):
        i: uint32_t
        blob_set_free(cython.address(self.blob_set))
        free(self.mem)
        free(self.level0)
        if self.runs != cython.NULL:
            for i in range(self.run_count):
                free(self.runs[i].tables)
        free(self.runs)

    @property
    def files(self):
        """What keeps its files alive, and nothing else of it."""
        return self.levels, self.blobs

    @cython.cfunc
    @cython.exceptval(check=False)
    def count_into(self, reads: ReadCounters) -> cython.void:
        """Requires: nobody reads this view yet."""
        self.reads = reads
        self.counted = reads.levels

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def find(
        self,
        key: cbytes,
        key_bytes: cython.size_t,
        max_tag: uint64_t,
        out: cython.pointer[Found],
        wait: cython.bint,
    ) -> cython.int:
        e: cython.pointer[MemEntry] = self.find_in_memory(key, key_bytes, max_tag)
        out.block = cython.NULL
        if e != cython.NULL:
            found_entry(out, e)
            return 1
        if self.level0_count == 0 and self.run_count == 0:
            return 0
        return self.find_in_tables(key, key_bytes, fj_xxh64(key, key_bytes), max_tag, out, wait, 0)

    @cython.cfunc
    @cython.exceptval(check=False)
    def find_in_memory(
        self, key: cbytes, key_bytes: cython.size_t, max_tag: uint64_t
    ) -> cython.pointer[MemEntry]:
        i: uint32_t
        e: cython.pointer[MemEntry]
        for i in range(self.mem_count):
            if self.mem[i].entries:
                e = memtable_get(self.mem[i], key, key_bytes, max_tag)
                if e != cython.NULL:
                    return e
        return cython.NULL

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def find_in_tables(
        self,
        key: cbytes,
        key_bytes: cython.size_t,
        hashed: uint64_t,
        max_tag: uint64_t,
        out: cython.pointer[Found],
        wait: cython.bint,
        first: uint32_t,
    ) -> cython.int:
        i: uint32_t
        found: cython.int
        t: cython.pointer[Table]
        out.block = cython.NULL
        for i in range(first, self.level0_count):
            t = self.level0[i]
            if table_covers(t, key, key_bytes):
                found = find_in_table(t, key, key_bytes, hashed, max_tag, out, self.counted, wait)
                if found:
                    return found
        for i in range(first - self.level0_count if first > self.level0_count else 0, self.run_count):
            t = level_find(cython.address(self.runs[i]), key, key_bytes)
            if t != cython.NULL:
                reads: cython.pointer[LevelReads] = self.counted + self.runs[i].number
                found = find_in_table(t, key, key_bytes, hashed, max_tag, out, reads, wait)
                if found:
                    return found
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def open_merge(self, m: cython.pointer[Merge], max_tag: uint64_t, mode: cython.int) -> cython.int:
        """Make `m` a merge of all that the view holds."""
        i: uint32_t
        sources: uint32_t = self.mem_count + self.level0_count + self.run_count
        if merge_init(m, sources, max_tag) == ST_NOMEM:
            raise MemoryError
        for i in range(self.mem_count):
            if self.mem[i].entries:
                merge_add_memtable(m, self.mem[i])
        for i in range(self.level0_count):
            merge_add_run(m, self.level0 + i, 1, mode)
        for i in range(self.run_count):
            merge_add_run(m, self.runs[i].tables, self.runs[i].count, mode)
        return 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def newest_in(reader: TableReader) -> uint64_t:
    return reader.table.max_seqno


@cython.cfunc
def table_array(level: tuple) -> cython.pointer[cython.pointer[Table]]:
    """A C array of the tables, borrowed from the readers."""
    i: cython.Py_ssize_t
    reader: TableReader
    found: cython.pointer[cython.pointer[Table]] = cython.cast(
        cython.pointer[cython.pointer[Table]],
        calloc(len(level) + 1, cython.sizeof(cython.pointer[Table])),
    )
    if found == cython.NULL:
        raise MemoryError
    for i in range(len(level)):
        reader = level[i]
        found[i] = reader.table
    return found
