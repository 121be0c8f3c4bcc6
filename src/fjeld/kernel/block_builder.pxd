# Builds the payload of a data block.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.failure cimport ST_OK, ST_NOMEM

# The builder: collects entries, then encodes one payload.
cdef struct BlockBuilder:
    uint8_t *entries        # whole keys, re-encoded without the common prefix by finish
    size_t bytes
    size_t capacity_bytes
    uint32_t count
    uint32_t prefix_bytes   # common to all keys so far
    # private
    size_t first_bytes      # length of the first key: it lies at ENTRY_HEADER_BYTES of entries
    size_t body_bytes       # what the entries take when they are encoded with whole keys
    uint8_t *out
    size_t out_capacity_bytes

cdef enum:
    ENTRY_HEADER_BYTES = 16     # in the builder: key length (4), value length (4), tag (8)
    MAX_BLOCK_BYTES = 0xffff0000    # of a payload: sizes and offsets in a block are 32 bits wide, trailer included

cdef int builder_init(BlockBuilder *b) noexcept nogil
cdef void builder_free(BlockBuilder *b) noexcept nogil
cdef int builder_add(BlockBuilder *b, const uint8_t *key, size_t key_bytes, uint64_t tag,
                     const uint8_t *value, size_t value_bytes) noexcept nogil            # ST_OK or ST_NOMEM
cdef size_t builder_finish(BlockBuilder *b, uint8_t **out) noexcept nogil  # encoded payload in a buffer the builder owns, with room for a trailer; resets; 0 on no memory
# The size of the payload if this entry were added to what is there (or, with count = 0, alone): what decides where to cut.
cdef size_t builder_bytes_with(const BlockBuilder *b, const uint8_t *key, size_t key_bytes, uint64_t tag, size_t value_bytes) noexcept nogil
