"""The envelope of a block in a table file.

    block   = payload trailer
    trailer +0   4  bytes of the payload before compression
    (16)    +4   1  codec: 0 none, 1 lz4, 2 zstd
            +5   1  kind: 0 data, 1 filter, 2 index, 3 properties
            +6   2  zero
            +8   8  xxh64 of payload and trailer bytes 0..7, seeded with the offset of the block in the file

The checksum covers all that is believed of a block, and its place: one that was written elsewhere does not
pass.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.fjeld.kernel.checksum import XXH3_64bits_withSeed
from cython.cimports.fjeld.kernel.coding import cbytes, fj_load32, fj_load64, fj_store32, fj_store64
from cython.cimports.fjeld.kernel.compression import (
    CODEC_ZSTD,
    Compressor,
    compress,
    compressor_free,
    compressor_init,
    decompress,
    raw_size_plausible,
)
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcpy

from fjeld.errors import CorruptionError


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def trailer_write(
    stored: cython.pointer[uint8_t],
    stored_bytes: cython.size_t,
    raw_bytes: uint32_t,
    codec: cython.int,
    kind: cython.int,
    offset: uint64_t,
) -> cython.void:
    trailer: cython.pointer[uint8_t] = stored + stored_bytes
    fj_store32(trailer, raw_bytes)
    trailer[4] = codec
    trailer[5] = kind
    trailer[6] = trailer[7] = 0
    fj_store64(trailer + 8, XXH3_64bits_withSeed(stored, stored_bytes + 8, offset))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def trailer_open(
    block: cbytes,
    n: cython.size_t,
    kind: cython.int,
    offset: uint64_t,
    payload: cython.pointer[cython.pointer[uint8_t]],
    payload_bytes: cython.pointer[uint32_t],
    why: cython.pointer[cython.p_const_char],
) -> cython.int:
    if n < TRAILER_BYTES:
        why[0] = "a block too short for its trailer"
        return ST_CORRUPT
    stored_bytes: cython.size_t = n - TRAILER_BYTES
    trailer: cbytes = block + stored_bytes
    raw_bytes: uint32_t = fj_load32(trailer)
    codec: cython.int = trailer[4]
    status: cython.int
    if fj_load64(trailer + 8) != XXH3_64bits_withSeed(block, stored_bytes + 8, offset):
        why[0] = "the checksum of a block does not match"
        return ST_CORRUPT
    if trailer[5] != kind or trailer[6] != 0 or trailer[7] != 0:
        why[0] = "a block of another kind than expected"
        return ST_CORRUPT
    if codec > CODEC_ZSTD or not raw_size_plausible(codec, stored_bytes, raw_bytes):
        why[0] = "a block with an impossible size or an unknown codec"
        return ST_CORRUPT
    out: cython.pointer[uint8_t] = cython.cast(
        cython.pointer[uint8_t], malloc(raw_bytes if raw_bytes > 0 else 1)
    )
    if out == cython.NULL:
        return ST_NOMEM
    status = decompress(codec, block, stored_bytes, out, raw_bytes)
    if status != ST_OK:
        why[0] = "a block that does not decompress"
        free(out)
        return status
    payload[0] = out
    payload_bytes[0] = raw_bytes
    return ST_OK


def wrap_block(payload: bytes, codec: cython.int, kind: cython.int, offset: uint64_t) -> bytes:
    """A block as it lies in a file at `offset`."""
    c: Compressor
    stored: cython.pointer[uint8_t]
    stored_bytes: cython.size_t
    p: cython.pointer[uint8_t]
    try:
        if compressor_init(cython.address(c), codec, 3) != ST_OK:
            raise MemoryError()
        codec = compress(
            cython.address(c),
            cython.cast(cython.pointer[uint8_t], PyBytes_AS_STRING(payload)),
            len(payload),
            cython.address(stored),
            cython.address(stored_bytes),
        )
        if codec < 0:
            raise MemoryError()
        block: bytes = PyBytes_FromStringAndSize(cython.NULL, stored_bytes + TRAILER_BYTES)
        p = cython.cast(cython.pointer[uint8_t], PyBytes_AS_STRING(block))
        memcpy(p, stored, stored_bytes)
        trailer_write(p, stored_bytes, len(payload), codec, kind, offset)
        return block
    finally:
        compressor_free(cython.address(c))


def unwrap_block(block: bytes, kind: cython.int, offset: uint64_t) -> bytes:
    """The payload of a block that was read at `offset`. CorruptionError where anything is wrong with it."""
    payload: cython.pointer[uint8_t] = cython.NULL
    payload_bytes: uint32_t = 0
    why: cython.p_const_char = cython.NULL
    status: cython.int = trailer_open(
        block,
        len(block),
        kind,
        offset,
        cython.address(payload),
        cython.address(payload_bytes),
        cython.address(why),
    )
    if status == ST_NOMEM:
        raise MemoryError()
    if status != ST_OK:
        raise CorruptionError(cython.cast(bytes, why).decode(), offset=offset)
    try:
        return cython.cast(cython.p_char, payload)[:payload_bytes]
    finally:
        free(payload)
