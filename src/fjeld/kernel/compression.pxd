# LZ4 and Zstandard behind one pair of functions. Codec numbers are part of the format (docs/FORMATS.md).
from libc.stdint cimport uint8_t, uint32_t
from fjeld.kernel.failure cimport ST_OK, ST_CORRUPT, ST_NOMEM

cdef enum:
    CODEC_NONE = 0
    CODEC_LZ4 = 1
    CODEC_ZSTD = 2

cdef extern from "lz4.h" nogil:
    enum:
        LZ4_MAX_INPUT_SIZE
    int LZ4_compressBound(int n) noexcept
    int LZ4_compress_default(const char *src, char *dst, int src_bytes, int dst_capacity) noexcept
    int LZ4_decompress_safe(const char *src, char *dst, int src_bytes, int dst_capacity) noexcept

cdef extern from "zstd.h" nogil:
    ctypedef struct ZSTD_CCtx:
        pass
    ctypedef struct ZSTD_DCtx:
        pass
    ZSTD_CCtx *ZSTD_createCCtx() noexcept
    size_t ZSTD_freeCCtx(ZSTD_CCtx *context) noexcept
    ZSTD_DCtx *ZSTD_createDCtx() noexcept
    size_t ZSTD_freeDCtx(ZSTD_DCtx *context) noexcept
    size_t ZSTD_compressBound(size_t n) noexcept
    size_t ZSTD_compressCCtx(ZSTD_CCtx *context, void *dst, size_t capacity, const void *src, size_t n, int level) noexcept
    size_t ZSTD_decompressDCtx(ZSTD_DCtx *context, void *dst, size_t capacity, const void *src, size_t n) noexcept
    unsigned ZSTD_isError(size_t code) noexcept
    int ZSTD_minCLevel() noexcept
    int ZSTD_maxCLevel() noexcept

cdef extern from *:
    """
    /* Take what is in the slot and leave `value`: a pool of such slots needs no lock, and survives a fork. */
    static inline void *fj_exchange(void **slot, void *value) { return __atomic_exchange_n(slot, value, __ATOMIC_ACQ_REL); }
    """
    void *fj_exchange(void **slot, void *value) noexcept nogil

# One writer's compressor: a codec, its level, and the context and output buffer it uses again and again.
cdef struct Compressor:
    int codec
    int level                   # of Zstandard
    ZSTD_CCtx *context
    uint8_t *buffer
    size_t capacity_bytes

cdef int compressor_init(Compressor *c, int codec, int level) noexcept nogil    # ST_OK or ST_NOMEM
cdef void compressor_free(Compressor *c) noexcept nogil
# Compress src. Sets *out (src itself, or the compressor's buffer until its next use, which has room for a trailer behind) and *out_bytes,
# and returns the codec of what is there: CODEC_NONE where it does not shrink by a sixteenth; or ST_NOMEM. src is only read.
cdef int compress(Compressor *c, uint8_t *src, size_t n, uint8_t **out, size_t *out_bytes) noexcept nogil
# Exactly dst_bytes come out, or ST_CORRUPT (or ST_NOMEM). Never reads or writes out of bounds, whatever src holds. Any thread.
cdef int decompress(int codec, const uint8_t *src, size_t n, uint8_t *dst, size_t dst_bytes) noexcept nogil
# Could n bytes of this codec stand for raw_bytes? Ask before memory is allocated for a claim.
cdef bint raw_size_plausible(int codec, size_t n, size_t raw_bytes) noexcept nogil
