/* Inline primitives of the kernel: varints, key heads, comparison, spin locks, atomics.
 * Nothing here allocates, blocks or knows about Python. */
#ifndef FJELD_PRIMITIVES_H
#define FJELD_PRIMITIVES_H

#include <stdint.h>
#include <string.h>
#include <sched.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fjeld's formats are read in place: a little-endian machine is needed"
#endif

/* ---- fixed-width loads and stores (unaligned) ---- */
static inline uint32_t fj_load32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t fj_load64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline void fj_store32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void fj_store64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }

/* ---- varints (LEB128) ---- */
static inline size_t fj_varint_bytes(uint64_t v) {
    size_t n = 1;
    while (v >= 0x80) { v >>= 7; n++; }
    return n;
}
static inline uint8_t *fj_put_varint(uint8_t *p, uint64_t v) {
    while (v >= 0x80) { *p++ = (uint8_t)(v | 0x80); v >>= 7; }
    *p++ = (uint8_t)v;
    return p;
}
/* The position after the varint, or NULL where it does not end before `end` or does not fit 64 bits. */
static inline const uint8_t *fj_get_varint_slow(const uint8_t *p, const uint8_t *end, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p >= end) return NULL;
        uint64_t b = *p++;
        if (shift == 63 && b > 1) return NULL;
        v |= (b & 0x7f) << shift;
        if (b < 0x80) { *out = v; return p; }
    }
    return NULL;
}
/* Up to eight bytes are taken out of one word: the first clear top bit ends it, then pairs of 7, 14 and 28 bits close up. */
static inline const uint8_t *fj_get_varint(const uint8_t *p, const uint8_t *end, uint64_t *out) {
    if (p < end && *p < 0x80) { *out = *p; return p + 1; }
    if (end - p < 8) return fj_get_varint_slow(p, end, out);
    uint64_t v = fj_load64(p), last = ~v & 0x8080808080808080u;
    if (!last) return fj_get_varint_slow(p, end, out);
    v &= (last ^ (last - 1)) & 0x7f7f7f7f7f7f7f7fu;
    v = (v & 0x007f007f007f007fu) | (v & 0x7f007f007f007f00u) >> 1;
    v = (v & 0x00003fff00003fffu) | (v & 0x3fff00003fff0000u) >> 2;
    *out = (v & 0x0fffffffu) | (v & 0x0fffffff00000000u) >> 4;
    return p + (__builtin_ctzll(last) >> 3) + 1;
}

/* ---- keys: unsigned bytes, shorter first ---- */
static inline int fj_compare(const uint8_t *a, size_t an, const uint8_t *b, size_t bn) {
    size_t n = an < bn ? an : bn;
    int c = n ? memcmp(a, b, n) : 0;
    return c ? c : (an > bn) - (an < bn);
}
static inline size_t fj_common_prefix(const uint8_t *a, size_t an, const uint8_t *b, size_t bn) {
    size_t n = an < bn ? an : bn, i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}
/* The first 8 (4) bytes as a big-endian number, padded with zeros: heads order as keys do, and
 * keys with different heads differ; keys with equal heads must be compared in full. */
static inline uint64_t fj_head64(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    if (n >= 8) { memcpy(&v, p, 8); return __builtin_bswap64(v); }
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (56 - 8 * i);
    return v;
}
/* The same of a key within a buffer that ends at `end`: one load, unless less than 8 bytes are left of it. */
static inline uint64_t fj_head64_within(const uint8_t *p, size_t n, const uint8_t *end) {
    if (n == 0 || end - p < 8) return fj_head64(p, n);
    uint64_t v = __builtin_bswap64(fj_load64(p));
    return n >= 8 ? v : v & ~UINT64_C(0) << (64 - 8 * n);
}
static inline uint32_t fj_head32(const uint8_t *p, size_t n) {
    uint32_t v = 0;
    if (n >= 4) { memcpy(&v, p, 4); return __builtin_bswap32(v); }
    for (size_t i = 0; i < n; i++) v |= (uint32_t)p[i] << (24 - 8 * i);
    return v;
}

/* Copies n bytes of a buffer that ends at `end`. Up to FJ_SPILL bytes of dst may be overwritten, whatever n is: a
 * short copy of a length known to the compiler costs a tenth of a call. */
enum { FJ_SPILL = 32 };
static inline void fj_copy_spilling(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t *end) {
    if (n <= FJ_SPILL && end - src >= FJ_SPILL) memcpy(dst, src, FJ_SPILL);
    else if (n > 0) memcpy(dst, src, n);
}

/* ---- atomics and a spin lock for sections of a few hundred nanoseconds ----
 * A holder never blocks, never allocates from Python and never releases the GIL. */
static inline int fj_atomic_load(const int *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void fj_atomic_store(int *p, int v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline int fj_atomic_add(int *p, int v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }
static inline uint64_t fj_atomic_load64(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void fj_atomic_store64(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline uint64_t fj_atomic_add64(uint64_t *p, uint64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }

static inline void fj_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}
static inline void fj_spin_lock(int *lock) {
    for (;;) {
        if (!__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE)) return;
        for (int i = 0; __atomic_load_n(lock, __ATOMIC_RELAXED); i++) {
            if (i < 100) fj_relax();
            else sched_yield();
        }
    }
}
static inline void fj_spin_unlock(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }

static inline void fj_prefetch(const void *p) { __builtin_prefetch(p, 0, 3); }

#endif
