# The reader of a table. The cursor over a run of tables is in run.pxd.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int32_t
from fjeld.kernel.block cimport Block, Entry
from fjeld.kernel.cache cimport Cache, BlockCache
from fjeld.kernel.descriptors cimport Descriptor, Descriptors, DescriptorPool
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.footer cimport Footer
from fjeld.kernel.mutex cimport pthread_mutex_t

cdef struct Table:
    const char *path
    Descriptor descriptor       # its place in the pool of open files
    uint64_t file_bytes
    uint32_t blocks
    uint64_t entries
    # sparse index: the last key of each block
    uint32_t prefix_bytes       # common to all keys of the table
    uint64_t *heads             # fj_head64 of each last key after the table's prefix
    uint32_t *key_offsets       # blocks + 1 offsets into keys
    uint8_t *keys               # the last keys in full
    uint64_t *block_offsets     # blocks + 1
    const uint8_t *smallest     # smallest key (in full), and its length
    uint32_t smallest_bytes
    const uint8_t *largest
    uint32_t largest_bytes
    uint32_t filter_lines
    uint32_t filter_probes
    uint8_t *filter             # 64-byte aligned
    int slot_lock
    Block **slots               # the direct slots: blocks of this table that are in the cache
    Cache *cache
    Descriptors *descriptors
    uint64_t memory_bytes       # index + filter + slots
    # private
    uint8_t *edges              # holds smallest, and largest where the manifest has told it
    Footer footer
    int opened                  # atomic: everything above but path, edges, cache and descriptors is there
    uint64_t expected_bytes     # what the manifest says of the file's size; 0: nothing
    pthread_mutex_t opening     # one thread opens; taken without the GIL
    uint64_t max_seqno          # of its entries, as the manifest says; the greatest there is where it does not
    uint64_t seqno_tag          # the manifest says that all entries have this seqno (<< 8); 0: they have their own

cdef class TableReader:
    """Owns a Table. Open reads footer, index, filter and properties (checked); blocks are read when asked for."""
    cdef Table *table
    cdef readonly str path
    cdef readonly dict properties
    cdef readonly bint held             # its file is open and stays open, whatever becomes of its name
    cdef BlockCache cache               # keep alive
    cdef DescriptorPool descriptors     # keep alive
    cdef object take_edges(self, bytes smallest, bytes largest)
    cdef object open_file(self)
    cdef object take_properties(self, bytes text)

cdef bint table_may_contain(const Table *t, uint64_t key_hash) noexcept nogil     # key_hash = xxh64 of the user key
cdef bint table_covers(const Table *t, const uint8_t *key, size_t key_bytes) noexcept nogil   # smallest <= key <= largest
cdef uint32_t table_find_block(const Table *t, const uint8_t *key, size_t key_bytes) noexcept nogil   # first block whose last key >= key; t.blocks if none
cdef Block *table_cached_block(Table *t, uint32_t i) noexcept nogil             # a reference, or NULL where it is not in memory
# Reads, checks, decompresses, builds, caches; a reference. NULL: f is set, or (LOOK_NOW) it would have to be waited for. LOOK_WAIT: call without the GIL.
cdef Block *table_load_block(Table *t, uint32_t i, int how, Failure *f) noexcept nogil
cdef Block *table_keep_block(Table *t, uint32_t i, const uint8_t *raw, Failure *f) noexcept nogil   # the same, of bytes that were read

cdef enum Look:
    LOOK_CACHED = 0     # blocks in memory only; never reads
    LOOK_NOW = 1        # reads what the system has in its page cache, and gives up rather than wait; may be called with the GIL
    LOOK_WAIT = 2       # reads what it takes: call without the GIL

# Point look-up: the newest version of key with tag <= max_tag (max_tag = snapshot seqno << 8 | 0xff).
# ST_OK: *out and *block (a reference that the caller releases) are set; ST_END: not here. It does not look at the filter.
# LOOK_WAIT: never ST_COLD; failures in f. The others: ST_COLD where they cannot tell, whatever is in f; LOOK_CACHED does without f.
cdef int table_get(Table *t, const uint8_t *key, size_t key_bytes, uint64_t max_tag, Entry *out, Block **block,
                   int how, Failure *f) noexcept nogil

cdef enum Finding:      # in one block
    FOUND
    ABSENT
    FURTHER             # if anywhere, in the next block

# The newest version of the key in one block with tag <= max_tag: FOUND (in *out), ABSENT, or whether the next block has to be asked.
cdef int find_in_block(Block *b, const uint8_t *key, size_t key_bytes, uint64_t max_tag, Entry *out) noexcept nogil

cdef enum RunMode:      # of the cursor over a run (run.pxd)
    RUN_CACHED = 0      # through the cache; a missing block is ST_COLD
    RUN_STREAM = 1      # for compaction, verify and digest: private read-ahead, past the cache, never ST_COLD

# The data block of n bytes (trailer included) that was read at `offset`: checked, decompressed, cooked; in no cache. NULL: f is set.
cdef Block *table_cook(const Table *t, const uint8_t *raw, size_t n, uint64_t offset, Failure *f) noexcept nogil
