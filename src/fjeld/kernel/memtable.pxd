# The memtable: cursor and owner. The tree itself is in btree.pxd.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.btree cimport (
    Memtable,
    NODE_ENTRIES,
    Node,
    memtable_free,
    memtable_get,
    memtable_insert,
    memtable_new,
    tree_seek,
)
from fjeld.kernel.journal_map cimport JournalMap
from fjeld.kernel.mem_entry cimport FAR_BYTES, MemEntry, entry_value

cdef struct MemCursor:
    Memtable *memtable
    Node *leaf
    uint32_t index
    uint64_t changes
    MemEntry *entry         # NULL: not on an entry

cdef void mem_init(MemCursor *c, Memtable *m) noexcept nogil
cdef void mem_first(MemCursor *c) noexcept nogil
cdef void mem_last(MemCursor *c) noexcept nogil
cdef void mem_seek(MemCursor *c, const uint8_t *key, size_t key_bytes, uint64_t tag) noexcept nogil
cdef void mem_seek_before(MemCursor *c, const uint8_t *key, size_t key_bytes, uint64_t tag) noexcept nogil
cdef void mem_next(MemCursor *c) noexcept nogil
cdef void mem_prev(MemCursor *c) noexcept nogil

cdef class MemtableOwner:
    cdef Memtable *memtable
    cdef JournalMap newest      # the last of `lenders`
    cdef list lenders           # mappings that hold values of this memtable

    # From here on values in this mapping may be lent to the memtable; False: copy them. Requires: commit lock.
    cdef bint borrow_from(self, JournalMap mapping) noexcept
