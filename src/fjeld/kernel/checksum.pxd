# xxHash (XXH3), compiled into each module that uses it: a key is hashed in a few nanoseconds only where the call is inlined.
from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    #define XXH_INLINE_ALL
    #include <stdint.h>
    #include <xxhash.h>
    """
    ctypedef struct XXH128_hash_t:
        uint64_t low64
        uint64_t high64
    ctypedef struct XXH128_canonical_t:
        unsigned char digest[16]
    ctypedef struct XXH3_state_t:
        pass
    uint64_t XXH3_64bits(const void *data, size_t n) noexcept nogil
    uint64_t XXH3_64bits_withSeed(const void *data, size_t n, uint64_t seed) noexcept nogil
    XXH128_hash_t XXH3_128bits(const void *data, size_t n) noexcept nogil
    # The state must be 64-byte aligned: never embed one, always create it.
    XXH3_state_t *XXH3_createState() noexcept nogil
    int XXH3_freeState(XXH3_state_t *state) noexcept nogil
    int XXH3_64bits_reset_withSeed(XXH3_state_t *state, uint64_t seed) noexcept nogil
    int XXH3_64bits_update(XXH3_state_t *state, const void *data, size_t n) noexcept nogil
    uint64_t XXH3_64bits_digest(const XXH3_state_t *state) noexcept nogil
    int XXH3_128bits_reset(XXH3_state_t *state) noexcept nogil
    int XXH3_128bits_update(XXH3_state_t *state, const void *data, size_t n) noexcept nogil
    XXH128_hash_t XXH3_128bits_digest(const XXH3_state_t *state) noexcept nogil
    void XXH128_canonicalFromHash(XXH128_canonical_t *out, XXH128_hash_t h) noexcept nogil

# The hash of a user key: what filters are made of.
cdef extern from *:
    """
    static inline uint64_t fj_xxh64(const uint8_t *data, size_t n) { return XXH3_64bits(data, n); }
    """
    uint64_t fj_xxh64(const uint8_t *data, size_t n) noexcept nogil

cdef object hash_hex(XXH128_hash_t h)      # 32 hex digits, canonical (big-endian)

cdef class Xxh128:
    cdef XXH3_state_t *state
