# Blocked Bloom filter: a key's probes all fall in one 64-byte line, so a look-up costs one cache miss at most.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "filter_avx2.h" nogil:
    int fj_has_avx2() noexcept
    int fj_filter_holds_avx2(const uint8_t *bits, uint32_t lines, uint32_t probes, uint32_t golden, const uint64_t *hashes, size_t n) noexcept

cdef enum:
    LINE_BYTES = 64
    FILTER_HEADER_BYTES = 8     # in the file: lines (4), probes (4)
    MAX_PROBES = 12

cdef uint32_t filter_lines_for(uint64_t keys, uint32_t bits_per_key) noexcept nogil    # at least 1; 0 where bits_per_key is 0
cdef uint32_t filter_probes_for(uint32_t bits_per_key) noexcept nogil                  # 1..12
cdef void filter_fill(uint8_t *bits, uint32_t lines, uint32_t probes, const uint64_t *hashes, uint64_t n) noexcept nogil  # bits: zeroed
cdef bint filter_may_contain(const uint8_t *bits, uint32_t lines, uint32_t probes, uint64_t h) noexcept nogil             # Requires: lines > 0
cdef void filter_fetch(const uint8_t *bits, uint32_t lines, uint64_t h) noexcept nogil   # prefetch the line of a key
# Does the filter let all n keys through? Requires: lines > 0.
cdef bint filter_holds(const uint8_t *bits, uint32_t lines, uint32_t probes, const uint64_t *hashes, size_t n) noexcept nogil
