# A block in memory: the payload as in the file, and arrays derived when it is loaded.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int32_t

cdef struct Block:
    int refs                # atomic; the cache holds one, each user one more; freed at zero
    int visited             # the cache's second-chance bit: a hit stores 1, nothing else
    uint32_t count          # entries, > 0
    uint32_t prefix_bytes
    const uint8_t *prefix   # a copy, beside the heads
    uint32_t *heads         # fj_head32 of each suffix: ascending
    uint32_t *offsets       # of each entry in payload
    uint8_t *payload
    uint32_t payload_bytes
    uint32_t charge_bytes   # all the memory of this block
    # the cache's own:
    Block *newer
    Block *older
    Block **slot            # where the table keeps its pointer to this block; NULL when it is in no cache
    int *slot_lock          # the spin lock of that table's slots
    uint64_t seqno_tag      # of a table whose entries have one seqno: that one << 8, whatever the payload says; else 0

cdef struct Entry:
    const uint8_t *suffix   # the key without the block's prefix
    uint32_t suffix_bytes
    const uint8_t *value
    uint32_t value_bytes
    uint64_t tag            # seqno << 8 | kind

# Build a block from a verified, decompressed payload: checks every length (so that nothing later has to) and derives
# heads and offsets. Takes over `payload` (malloc'ed; freed on failure too). refs = 1.
# NULL: `*why` says what is wrong, or is NULL itself where memory ran out.
cdef Block *block_cook(uint8_t *payload, uint32_t payload_bytes, const char **why) noexcept nogil
cdef void block_release(Block *b) noexcept nogil       # drop one reference; frees at zero
cdef void block_entry(const Block *b, uint32_t i, Entry *out) noexcept nogil
# Index of the first entry >= (key, tag descending), count if none. tag = UINT64_MAX: the first version of the key.
cdef uint32_t block_seek(const Block *b, const uint8_t *key, size_t key_bytes, uint64_t tag) noexcept nogil
# Where the key probably is: the first entry whose head is not less, count where it cannot be here. Reads no entry.
cdef uint32_t block_guess(const Block *b, const uint8_t *key, size_t key_bytes) noexcept nogil
