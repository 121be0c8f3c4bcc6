"""The pieces of a blob file: pointers, records, header and footer.

    file    = header record* footer
    record  = value key trailer

(docs/FORMATS.md, *Blob file*.) The value comes first: one that is not compressed is read straight into the
object that the user gets, which is then cut where the key begins. A record's checksum is seeded with the file's
number and its own offset, so it is valid in one place of one file only; it is looked at before anything else.
"""

import cython
from cython.cimports.fjeld.kernel.checksum import XXH3_64bits, XXH3_64bits_withSeed
from cython.cimports.fjeld.kernel.coding import cbytes, fj_load32, fj_load64, fj_store32, fj_store64
from cython.cimports.fjeld.kernel.compression import CODEC_NONE, CODEC_ZSTD, raw_size_plausible
from cython.cimports.fjeld.kernel.failure import ST_CORRUPT, ST_OK
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcmp, memcpy, memset

MAGIC = cython.declare(cython.p_const_char, b"FJELDBLB")
# Odd, and far from small numbers: no two files have a seed in common at offsets that a file can have.
SEED_STEP = cython.declare(uint64_t, 0x9E3779B97F4A7C15)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pointer_encode(p: cython.pointer[cython.const[BlobPointer]], out: cython.pointer[uint8_t]) -> cython.void:
    fj_store64(out, p.number)
    fj_store64(out + 8, p.offset)
    fj_store32(out + 16, p.stored_bytes)
    fj_store32(out + 20, p.raw_bytes)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pointer_decode(data: cbytes, p: cython.pointer[BlobPointer]) -> cython.void:
    p.number = fj_load64(data)
    p.offset = fj_load64(data + 8)
    p.stored_bytes = fj_load32(data + 16)
    p.raw_bytes = fj_load32(data + 20)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pointer_raw_bytes(data: cbytes) -> uint32_t:
    return fj_load32(data + 20)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def record_bytes(p: cython.pointer[cython.const[BlobPointer]], key_bytes: cython.size_t) -> cython.size_t:
    return cython.cast(cython.size_t, p.stored_bytes) + key_bytes + BLOB_TRAILER_BYTES


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def seed_of(p: cython.pointer[cython.const[BlobPointer]]) -> uint64_t:
    return p.number * SEED_STEP + p.offset


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def record_seal(
    record: cython.pointer[uint8_t],
    p: cython.pointer[cython.const[BlobPointer]],
    key_bytes: cython.size_t,
    codec: cython.int,
) -> cython.void:
    size: cython.size_t = cython.cast(cython.size_t, p.stored_bytes) + key_bytes
    trailer: cython.pointer[uint8_t] = record + size
    memset(trailer, 0, BLOB_TRAILER_BYTES)
    fj_store32(trailer, p.raw_bytes)
    fj_store32(trailer + 4, p.stored_bytes)
    fj_store32(trailer + 8, cython.cast(uint32_t, key_bytes))
    trailer[12] = codec
    fj_store64(trailer + 16, XXH3_64bits_withSeed(record, size + 16, seed_of(p)))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def record_check(
    record: cbytes,
    p: cython.pointer[cython.const[BlobPointer]],
    key: cbytes,
    key_bytes: cython.size_t,
    codec: cython.p_int,
    why: cython.pointer[cython.p_const_char],
) -> cython.int:
    size: cython.size_t = cython.cast(cython.size_t, p.stored_bytes) + key_bytes
    trailer: cbytes = record + size
    if fj_load64(trailer + 16) != XXH3_64bits_withSeed(record, size + 16, seed_of(p)):
        why[0] = "the checksum of a value does not match"
        return ST_CORRUPT
    codec[0] = trailer[12]
    if (
        fj_load32(trailer) != p.raw_bytes
        or fj_load32(trailer + 4) != p.stored_bytes
        or fj_load32(trailer + 8) != key_bytes
        or trailer[13] != 0
        or trailer[14] != 0
        or trailer[15] != 0
    ):
        why[0] = "a value of other lengths than its entry says"
        return ST_CORRUPT
    if (
        codec[0] > CODEC_ZSTD
        or (codec[0] == CODEC_NONE) != (p.stored_bytes == p.raw_bytes)
        or not raw_size_plausible(codec[0], p.stored_bytes, p.raw_bytes)
    ):
        why[0] = "a value with an impossible size or an unknown codec"
        return ST_CORRUPT
    if key != cython.NULL and memcmp(record + p.stored_bytes, key, key_bytes) != 0:
        why[0] = "the value of another key"
        return ST_CORRUPT
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_header_encode(number: uint64_t, out: cython.pointer[uint8_t]) -> cython.void:
    memcpy(out, MAGIC, 8)
    fj_store32(out + 8, BLOB_FORMAT)
    fj_store32(out + 12, 0)
    fj_store64(out + 16, number)
    fj_store64(out + 24, XXH3_64bits(out, 24))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_header_check(data: cbytes, number: uint64_t) -> cython.p_const_char:
    if memcmp(data, MAGIC, 8) != 0 or fj_load64(data + 24) != XXH3_64bits(data, 24):
        return "the header of a blob file is damaged"
    if fj_load32(data + 8) != BLOB_FORMAT or fj_load32(data + 12) != 0:
        return "a blob file of a format that is not known"
    if fj_load64(data + 16) != number:
        return "the blob file of another number"
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_footer_encode(
    footer: cython.pointer[cython.const[BlobFooter]], file_bytes: uint64_t, out: cython.pointer[uint8_t]
) -> cython.void:
    fj_store64(out, footer.records)
    fj_store64(out + 8, footer.raw_bytes)
    fj_store64(out + 16, footer.stored_bytes)
    fj_store32(out + 24, BLOB_FORMAT)
    fj_store32(out + 28, 0)
    fj_store64(out + 32, XXH3_64bits_withSeed(out, 32, file_bytes))
    memcpy(out + 40, MAGIC, 8)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_footer_decode(
    data: cbytes, file_bytes: uint64_t, footer: cython.pointer[BlobFooter]
) -> cython.p_const_char:
    if memcmp(data + 40, MAGIC, 8) != 0 or fj_load64(data + 32) != XXH3_64bits_withSeed(data, 32, file_bytes):
        return "the footer of a blob file is damaged"
    if fj_load32(data + 24) != BLOB_FORMAT or fj_load32(data + 28) != 0:
        return "a blob file of a format that is not known"
    footer.records = fj_load64(data)
    footer.raw_bytes = fj_load64(data + 8)
    footer.stored_bytes = fj_load64(data + 16)
    return cython.NULL
