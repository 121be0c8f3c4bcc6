# What surrounds the payload of every block in a table file: compression, sizes, kind and checksum.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.failure cimport ST_OK, ST_CORRUPT, ST_NOMEM

cdef enum:
    TRAILER_BYTES = 16

cdef enum BlockKind:
    BLOCK_DATA = 0
    BLOCK_FILTER = 1
    BLOCK_INDEX = 2
    BLOCK_PROPERTIES = 3

# Write the trailer behind a stored payload, which has TRAILER_BYTES of room there, so that the checksum runs over both at once.
# `raw_bytes` is what it decompresses to, `offset` its place in the file.
cdef void trailer_write(uint8_t *stored, size_t stored_bytes, uint32_t raw_bytes, int codec, int kind, uint64_t offset) noexcept nogil
# Check a block of n bytes, trailer included, that was read at `offset`, and decompress it into a buffer of its own (malloc'ed, the caller's).
# ST_OK, ST_NOMEM, or ST_CORRUPT and *why.
cdef int trailer_open(const uint8_t *block, size_t n, int kind, uint64_t offset, uint8_t **payload,
                      uint32_t *payload_bytes, const char **why) noexcept nogil
