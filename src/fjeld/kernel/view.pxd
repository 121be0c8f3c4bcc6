# What a reader of one partition sees: memtables and tables, as one immutable value.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob cimport BlobSet
from fjeld.kernel.block cimport Block, Entry
from fjeld.kernel.memtable cimport MemEntry, Memtable, MemtableOwner
from fjeld.kernel.merge cimport Merge
from fjeld.kernel.read_counters cimport LevelReads, ReadCounters
from fjeld.kernel.table cimport Table

cdef struct Level:
    Table **tables          # in order, disjoint
    uint32_t count
    uint32_t number         # 1.., for the statistics

cdef enum:
    NOT_NOW = 2             # a look-up that may not wait would have to

cdef struct Found:
    uint64_t tag
    const uint8_t *value
    uint32_t value_bytes
    Block *block            # a reference that keeps `value` alive, or NULL (a memtable of the view does)

cdef class View:
    cdef readonly tuple memtables       # MemtableOwner, newest first; the first is the active one
    cdef readonly tuple levels          # of tuples of TableReader; level 0 newest first
    cdef readonly tuple blobs           # of BlobReader, ascending by number
    cdef BlobSet blob_set               # the same
    cdef Memtable **mem
    cdef uint32_t mem_count
    cdef Table **level0
    cdef uint32_t level0_count
    cdef uint64_t tables_seqno          # the newest in any of the tables
    cdef Level *runs                    # levels 1.. that hold tables
    cdef uint32_t run_count
    cdef ReadCounters reads             # where point look-ups are counted: the core's, once the partition shows this view
    cdef LevelReads *counted            # = reads.levels

    cdef void count_into(self, ReadCounters reads) noexcept

    # The newest version of key with tag <= max_tag (any kind): 1 and *out, or 0. Raises on damage.
    # wait: let go of the GIL for what has to be read from the disk; without it, NOT_NOW then.
    cdef int find(self, const uint8_t *key, size_t key_bytes, uint64_t max_tag, Found *out, bint wait) except -1
    # Its two halves: memtables, and tables (hashed: fj_xxh64 of the key), level 0 and then the runs, from `first` on.
    cdef MemEntry *find_in_memory(self, const uint8_t *key, size_t key_bytes, uint64_t max_tag) noexcept
    cdef int find_in_tables(self, const uint8_t *key, size_t key_bytes, uint64_t hashed, uint64_t max_tag, Found *out, bint wait, uint32_t first) except -1
    cdef int open_merge(self, Merge *m, uint64_t max_tag, int mode) except -1

cdef Table *level_find(Level *level, const uint8_t *key, size_t key_bytes) noexcept nogil
cdef void found_entry(Found *found, MemEntry *e) noexcept nogil
cdef void found_in_block(Found *found, Entry *e) noexcept nogil
cdef void found_release(Found *found) noexcept nogil
cdef void count(uint64_t *counter) noexcept nogil
