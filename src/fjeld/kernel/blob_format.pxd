# The pieces of a blob file (docs/FORMATS.md, *Blob file*): pointers to records, records, header and footer.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    BLOB_FORMAT = 1
    BLOB_HEADER_BYTES = 32
    BLOB_TRAILER_BYTES = 24
    BLOB_FOOTER_BYTES = 48

# Where a value is: what an entry of KIND_BLOB holds.
cdef struct BlobPointer:
    uint64_t number         # of the blob file
    uint64_t offset         # of the record in it
    uint32_t stored_bytes   # of the value in the file
    uint32_t raw_bytes      # of the value

cdef struct BlobFooter:
    uint64_t records
    uint64_t raw_bytes      # of all values
    uint64_t stored_bytes

cdef void pointer_encode(const BlobPointer *p, uint8_t *out) noexcept nogil
cdef void pointer_decode(const uint8_t *data, BlobPointer *p) noexcept nogil
cdef uint32_t pointer_raw_bytes(const uint8_t *data) noexcept nogil             # without decoding the rest
cdef size_t record_bytes(const BlobPointer *p, size_t key_bytes) noexcept nogil

# The trailer, whose checksum is over `record` (value and key) and itself: written behind them.
cdef void record_seal(uint8_t *record, const BlobPointer *p, size_t key_bytes, int codec) noexcept nogil
# ST_OK, and the codec; or ST_CORRUPT and why. `record` holds record_bytes; key: the one that it must have.
cdef int record_check(const uint8_t *record, const BlobPointer *p, const uint8_t *key, size_t key_bytes, int *codec,
                      const char **why) noexcept nogil

cdef void blob_header_encode(uint64_t number, uint8_t *out) noexcept nogil
cdef const char *blob_header_check(const uint8_t *data, uint64_t number) noexcept nogil     # what is wrong, or NULL
cdef void blob_footer_encode(const BlobFooter *footer, uint64_t file_bytes, uint8_t *out) noexcept nogil
cdef const char *blob_footer_decode(const uint8_t *data, uint64_t file_bytes, BlobFooter *footer) noexcept nogil
