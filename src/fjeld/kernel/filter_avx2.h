/* Many keys against a filter (filter.py has the format), with the vector instructions of AVX2: all probes of a key at
 * once, in a fifth of the instructions. A line is two vectors of 8 words; of the top bits of a probe, one chooses
 * the vector, three the word, and five the bit. */
#ifndef FJELD_FILTER_AVX2_H
#define FJELD_FILTER_AVX2_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

static inline int fj_has_avx2(void) { return __builtin_cpu_supports("avx2") != 0; }

/* Requires: fj_has_avx2(), lines > 0, bits on a boundary of 64 bytes or not, it does not matter. */
__attribute__((target("avx2")))
static int fj_filter_holds_avx2(const uint8_t *bits, uint32_t lines, uint32_t probes, uint32_t golden,
                                const uint64_t *hashes, size_t n) {
    uint32_t powers[16], wanted[16];
    for (uint32_t k = 0, power = golden; k < 16; k++, power *= golden) {
        powers[k] = power;
        wanted[k] = k < probes;
    }
    __m256i missed = _mm256_setzero_si256();
    for (uint32_t k = 0; k < probes && k < 16; k += 8) {
        const __m256i power = _mm256_loadu_si256((const __m256i *)(powers + k));
        const __m256i want = _mm256_loadu_si256((const __m256i *)(wanted + k));
        for (size_t i = 0; i < n; i++) {
            const __m256i *line = (const __m256i *)(bits + ((hashes[i] >> 32) * lines >> 32) * 64);
            const __m256i mix = _mm256_mullo_epi32(_mm256_set1_epi32((int)(uint32_t)hashes[i]), power);
            const __m256i word = _mm256_srli_epi32(mix, 28);
            const __m256i low = _mm256_permutevar8x32_epi32(_mm256_loadu_si256(line), word);
            const __m256i high = _mm256_permutevar8x32_epi32(_mm256_loadu_si256(line + 1), word);
            const __m256i both = _mm256_castps_si256(_mm256_blendv_ps(
                _mm256_castsi256_ps(low), _mm256_castsi256_ps(high), _mm256_castsi256_ps(mix)));
            const __m256i bit = _mm256_and_si256(_mm256_srli_epi32(mix, 23), _mm256_set1_epi32(31));
            missed = _mm256_or_si256(missed, _mm256_andnot_si256(_mm256_srlv_epi32(both, bit), want));
        }
    }
    return _mm256_testz_si256(missed, missed);
}
#else
static inline int fj_has_avx2(void) { return 0; }
static inline int fj_filter_holds_avx2(const uint8_t *bits, uint32_t lines, uint32_t probes, uint32_t golden,
                                       const uint64_t *hashes, size_t n) {
    (void)bits; (void)lines; (void)probes; (void)golden; (void)hashes; (void)n;
    return 0;
}
#endif

#endif
