# The B+-tree of the memtable: immutable entries in an arena.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.arena cimport Arena
from fjeld.kernel.mem_entry cimport MemEntry

cdef enum:
    NODE_ENTRIES = 48

cdef struct Node:
    uint32_t count
    uint32_t level          # 0: a leaf
    Node *next              # leaves only
    Node *prev
    uint64_t heads[NODE_ENTRIES]        # fj_head64 of the key behind the memtable's prefix
    MemEntry *entries[NODE_ENTRIES]     # inner nodes: the smallest entry of the child when it was made
    Node *children[NODE_ENTRIES]        # inner nodes only: a leaf is allocated without this array

cdef struct Memtable:
    int lock                # spin lock: tree shape; entries are immutable and live as long as the memtable
    int sealed              # no more inserts: readers need no lock
    uint64_t changes        # inserts so far: a cursor whose number differs finds its place again
    uint64_t entries
    uint64_t tombstones
    Arena arena             # holds nodes and entries: `arena.bytes` is all the memory of the memtable
    uint64_t lent_bytes     # of values that somebody else holds
    uint64_t first_seqno
    uint64_t last_seqno
    Node *root
    Node *first_leaf
    Node *last_leaf
    uint32_t prefix_bytes   # every key begins with these bytes of `prefix`: heads start behind them
    const uint8_t *prefix
    uint32_t reheads        # how often the prefix had to shrink

cdef Memtable *memtable_new() noexcept nogil
cdef void memtable_free(Memtable *m) noexcept nogil
# Requires: commit lock. tag above all tags of the key so far. ST_OK or ST_NOMEM. lent: a value of FAR_BYTES or more
# stays where it is for as long as the memtable does, and need not be copied.
cdef int memtable_insert(Memtable *m, const uint8_t *key, size_t key_bytes, uint64_t tag,
                         const uint8_t *value, size_t value_bytes, bint lent) noexcept nogil
# The newest version of key with tag <= max_tag, or NULL.
cdef MemEntry *memtable_get(Memtable *m, const uint8_t *key, size_t key_bytes, uint64_t max_tag) noexcept nogil

# Leaf and index of the first entry not before (key, tag); NULL where there is none. Requires: the lock, or a sealed memtable.
cdef Node *tree_seek(Memtable *m, const uint8_t *key, size_t key_bytes, uint64_t tag, uint32_t *index) noexcept nogil
