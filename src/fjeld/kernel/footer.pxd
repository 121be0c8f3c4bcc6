# The last 64 bytes of a table file: where its filter, index and properties are.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    FOOTER_BYTES = 64
    TABLE_FORMAT = 1

cdef enum FooterStatus:
    FOOTER_SOUND = 0
    FOOTER_DAMAGED = -1
    FOOTER_NEWER = -2       # whole, but of a format that is not ours

cdef struct Footer:
    uint64_t filter_offset
    uint32_t filter_bytes       # with trailer, as the next two
    uint64_t index_offset
    uint32_t index_bytes
    uint64_t properties_offset
    uint32_t properties_bytes
    uint32_t blocks
    uint32_t format

cdef void footer_encode(const Footer *footer, uint64_t file_bytes, uint8_t *out) noexcept nogil
# A FooterStatus; where it is damaged, *why says how. Proves that the three blocks lie in the file, one after another up to the footer.
cdef int footer_decode(const uint8_t *data, uint64_t file_bytes, Footer *footer, const char **why) noexcept nogil
