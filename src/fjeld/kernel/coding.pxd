# The inline primitives of primitives.h, for every kernel module.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "primitives.h" nogil:
    uint32_t fj_load32(const uint8_t *p) noexcept
    uint64_t fj_load64(const uint8_t *p) noexcept
    void fj_store32(uint8_t *p, uint32_t v) noexcept
    void fj_store64(uint8_t *p, uint64_t v) noexcept
    size_t fj_varint_bytes(uint64_t v) noexcept
    uint8_t *fj_put_varint(uint8_t *p, uint64_t v) noexcept
    const uint8_t *fj_get_varint(const uint8_t *p, const uint8_t *end, uint64_t *out) noexcept
    int fj_compare(const uint8_t *a, size_t an, const uint8_t *b, size_t bn) noexcept
    size_t fj_common_prefix(const uint8_t *a, size_t an, const uint8_t *b, size_t bn) noexcept
    uint64_t fj_head64(const uint8_t *p, size_t n) noexcept
    uint64_t fj_head64_within(const uint8_t *p, size_t n, const uint8_t *end) noexcept
    uint32_t fj_head32(const uint8_t *p, size_t n) noexcept
    void fj_copy_spilling(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t *end) noexcept
    enum: FJ_SPILL
    int fj_atomic_load(const int *p) noexcept
    void fj_atomic_store(int *p, int v) noexcept
    int fj_atomic_add(int *p, int v) noexcept
    uint64_t fj_atomic_load64(const uint64_t *p) noexcept
    void fj_atomic_store64(uint64_t *p, uint64_t v) noexcept
    uint64_t fj_atomic_add64(uint64_t *p, uint64_t v) noexcept
    void fj_spin_lock(int *lock) noexcept
    void fj_spin_unlock(int *lock) noexcept
    void fj_prefetch(const void *p) noexcept

cdef enum:
    KIND_TOMBSTONE = 0
    KIND_VALUE = 1
    KIND_WEAK_TOMBSTONE = 2
    KIND_BLOB = 3           # a value in a blob file: the entry holds where
    KIND_MAX = 3
    VALUE_BIT = 1           # set in the kinds that are values
    POINTER_BYTES = 24      # of the value of a KIND_BLOB entry
    MAX_KEY_BYTES = 65535

ctypedef const uint8_t *cbytes
