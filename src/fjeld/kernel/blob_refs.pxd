# What the entries of one table refer to: by blob file, how many records and bytes.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef struct BlobRef:
    uint64_t number         # of the blob file
    uint64_t entries
    uint64_t bytes          # of their records in the file

cdef struct BlobRefs:
    BlobRef *refs           # ascending by number
    size_t capacity_bytes
    uint32_t count
    uint32_t last           # that was counted: neighbours are mostly in one file

# Count an entry of KIND_BLOB; False: no memory.
cdef bint refs_count(BlobRefs *r, const uint8_t *pointer, size_t key_bytes) noexcept nogil
cdef void refs_free(BlobRefs *r) noexcept nogil
cdef tuple refs_tuple(const BlobRefs *r)        # of (number, entries, bytes)
