# The sparse index of a table: the last key of each data block, and where the block is.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.failure cimport ST_OK, ST_CORRUPT, ST_NOMEM

# In memory. One piece of memory, starting at block_offsets.
cdef struct SparseIndex:
    uint32_t blocks
    uint64_t *block_offsets     # blocks + 1: where each starts, and where the last ends
    uint64_t *heads             # fj_head64 of each last key after the prefix that all have in common
    uint32_t *key_offsets       # blocks + 1 offsets into keys
    uint8_t *keys               # the last keys in full
    uint64_t memory_bytes

# Decode the payload. data_bytes: where the data blocks end (they start at 0). ST_OK, ST_NOMEM, or ST_CORRUPT and *why. heads is left for index_heads.
cdef int index_decode(const uint8_t *payload, size_t n, uint32_t blocks, uint64_t data_bytes, SparseIndex *index,
                      const char **why) noexcept nogil
cdef void index_heads(SparseIndex *index, uint32_t prefix_bytes) noexcept nogil

# The builder: one call a block, in order.
cdef struct IndexBuilder:
    uint8_t *entries
    size_t bytes
    size_t capacity_bytes
    uint8_t *last_key
    size_t last_bytes
    size_t last_capacity_bytes
    uint64_t keys_bytes         # of all last keys in full
    uint32_t blocks

cdef enum IndexLimits:
    MAX_INDEX_KEYS_BYTES = 0xfffe0000   # key_offsets are 32 bits wide

cdef void index_init(IndexBuilder *b) noexcept nogil
cdef void index_free(IndexBuilder *b) noexcept nogil
cdef int index_add(IndexBuilder *b, const uint8_t *last_key, size_t key_bytes, uint64_t block_bytes) noexcept nogil  # ST_OK or ST_NOMEM
cdef size_t index_finish(IndexBuilder *b, uint8_t **out) noexcept nogil     # the payload, in the builder's memory, with room for a trailer; 0 on no memory
