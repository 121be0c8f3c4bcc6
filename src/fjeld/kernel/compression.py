"""Compression of blocks: none, LZ4 or Zstandard.

What does not shrink by a sixteenth is stored as it is, so that reading it costs no decompression. Compressors
belong to one writer each. Decompression is for any thread: it takes an idle Zstandard context from a small
pool (a context costs about 100 KiB and some microseconds to make) and puts it back.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.fjeld.kernel.coding import cbytes
from cython.cimports.fjeld.kernel.trailer import TRAILER_BYTES
from cython.cimports.libc.stdint import uint8_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcpy

from fjeld.errors import CorruptionError

# Idle decompression contexts: as many as there are threads that read at once, more or less.
IDLE_CONTEXTS = cython.declare(cython.int, 8)
idle = cython.declare(cython.p_void[8])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compressor_init(c: cython.pointer[Compressor], codec: cython.int, level: cython.int) -> cython.int:
    c.codec = codec
    c.level = level
    c.context = cython.NULL
    c.buffer = cython.NULL
    c.capacity_bytes = 0
    if codec == CODEC_ZSTD:
        c.context = ZSTD_createCCtx()
        if c.context == cython.NULL:
            return ST_NOMEM
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compressor_free(c: cython.pointer[Compressor]) -> cython.void:
    ZSTD_freeCCtx(c.context)
    free(c.buffer)
    c.context = cython.NULL
    c.buffer = cython.NULL
    c.capacity_bytes = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compress(
    c: cython.pointer[Compressor],
    src: cython.pointer[uint8_t],
    n: cython.size_t,
    out: cython.pointer[cython.pointer[uint8_t]],
    out_bytes: cython.pointer[cython.size_t],
) -> cython.int:
    out[0] = src
    out_bytes[0] = n
    # Room for what is worth keeping and no more: the codecs stop early where it does not fit.
    worth_bytes: cython.size_t = n - n // 16 - 1 if n > 0 else 0
    if c.codec == CODEC_NONE or worth_bytes == 0:
        return CODEC_NONE
    if c.codec == CODEC_LZ4 and n > LZ4_MAX_INPUT_SIZE:
        return CODEC_NONE
    if c.capacity_bytes < worth_bytes:
        free(c.buffer)
        c.buffer = cython.cast(cython.pointer[uint8_t], malloc(worth_bytes + TRAILER_BYTES))
        c.capacity_bytes = worth_bytes if c.buffer != cython.NULL else 0
        if c.buffer == cython.NULL:
            return ST_NOMEM
    packed_bytes: cython.size_t = 0
    if c.codec == CODEC_LZ4:
        packed_bytes = LZ4_compress_default(
            cython.cast(cython.p_const_char, src), cython.cast(cython.p_char, c.buffer), n, worth_bytes
        )
    else:
        packed_bytes = ZSTD_compressCCtx(c.context, c.buffer, worth_bytes, src, n, c.level)
        if ZSTD_isError(packed_bytes):
            packed_bytes = 0
    if packed_bytes == 0:
        return CODEC_NONE
    out[0] = c.buffer
    out_bytes[0] = packed_bytes
    return c.codec


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def decompress(
    codec: cython.int,
    src: cbytes,
    n: cython.size_t,
    dst: cython.pointer[uint8_t],
    dst_bytes: cython.size_t,
) -> cython.int:
    if not raw_size_plausible(codec, n, dst_bytes):
        return ST_CORRUPT
    if codec == CODEC_NONE:
        memcpy(dst, src, n)
        return ST_OK
    if codec == CODEC_LZ4:
        got: cython.int = LZ4_decompress_safe(
            cython.cast(cython.p_const_char, src), cython.cast(cython.p_char, dst), n, dst_bytes
        )
        return ST_OK if got >= 0 and cython.cast(cython.size_t, got) == dst_bytes else ST_CORRUPT
    context: cython.pointer[ZSTD_DCtx] = take_context()
    if context == cython.NULL:
        return ST_NOMEM
    out: cython.size_t = ZSTD_decompressDCtx(context, dst, dst_bytes, src, n)
    give_context(context)
    return ST_CORRUPT if ZSTD_isError(out) or out != dst_bytes else ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def raw_size_plausible(codec: cython.int, n: cython.size_t, raw_bytes: cython.size_t) -> cython.bint:
    if codec == CODEC_NONE:
        return n == raw_bytes
    if codec == CODEC_LZ4:  # a byte of LZ4 stands for at most 255 bytes
        return n <= LZ4_MAX_INPUT_SIZE and raw_bytes <= LZ4_MAX_INPUT_SIZE and raw_bytes // 255 <= n
    return codec == CODEC_ZSTD


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_context() -> cython.pointer[ZSTD_DCtx]:
    i: cython.int
    context: cython.p_void
    for i in range(IDLE_CONTEXTS):
        context = fj_exchange(cython.address(idle[i]), cython.NULL)
        if context != cython.NULL:
            return cython.cast(cython.pointer[ZSTD_DCtx], context)
    return ZSTD_createDCtx()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def give_context(context: cython.pointer[ZSTD_DCtx]) -> cython.void:
    """Put a context into the pool. What was in its slot moves on to the next; the last one out is freed."""
    i: cython.int
    homeless: cython.p_void = context
    for i in range(IDLE_CONTEXTS):
        homeless = fj_exchange(cython.address(idle[i]), homeless)
        if homeless == cython.NULL:
            return
    ZSTD_freeDCtx(cython.cast(cython.pointer[ZSTD_DCtx], homeless))


def check_codec(codec: cython.int, level: cython.int) -> None:
    """ValueError where there is no such codec, or Zstandard has no such level."""
    if codec < CODEC_NONE or codec > CODEC_ZSTD:
        raise ValueError(f"unknown codec {codec}: 0 is none, 1 is lz4, 2 is zstd")
    if codec == CODEC_ZSTD and not ZSTD_minCLevel() <= level <= ZSTD_maxCLevel():
        raise ValueError(f"zstd has no level {level}: {ZSTD_minCLevel()} to {ZSTD_maxCLevel()}")


def compress_bytes(data: bytes, codec: cython.int, level: cython.int = 3) -> tuple:
    """The codec that was used (0 where compression does not pay) and what is to be stored."""
    check_codec(codec, level)
    c: Compressor
    out: cython.pointer[uint8_t]
    out_bytes: cython.size_t
    try:
        if compressor_init(cython.address(c), codec, level) != ST_OK:
            raise MemoryError()
        used: cython.int = compress(
            cython.address(c),
            cython.cast(cython.pointer[uint8_t], PyBytes_AS_STRING(data)),
            len(data),
            cython.address(out),
            cython.address(out_bytes),
        )
        if used < 0:
            raise MemoryError()
        return used, PyBytes_FromStringAndSize(cython.cast(cython.p_const_char, out), out_bytes)
    finally:
        compressor_free(cython.address(c))


def decompress_bytes(codec: cython.int, data: bytes, raw_bytes: cython.size_t) -> bytes:
    """What was compressed. CorruptionError unless exactly `raw_bytes` come out."""
    if not raw_size_plausible(codec, len(data), raw_bytes):
        raise CorruptionError(f"{len(data)} bytes of codec {codec} cannot hold {raw_bytes}")
    raw: bytes = PyBytes_FromStringAndSize(cython.NULL, raw_bytes)
    status: cython.int = decompress(
        codec, data, len(data), cython.cast(cython.pointer[uint8_t], PyBytes_AS_STRING(raw)), raw_bytes
    )
    if status == ST_NOMEM:
        raise MemoryError()
    if status != ST_OK:
        raise CorruptionError(f"{len(data)} bytes of codec {codec} do not decompress to {raw_bytes}")
    return raw
