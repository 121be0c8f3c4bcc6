"""The footer of a table file.

    +0   8  offset of the filter block      +8   4  its length with trailer
    +12  8  offset of the index block       +20  4  its length
    +24  8  offset of the properties block  +32  4  its length
    +36  4  data blocks
    +40  4  format = 1
    +44  4  zero
    +48  8  xxh64 of bytes 0..47, seeded with the file's size
    +56  8  magic "FJELDSST"

The seed ties the footer to the size: a file that was cut or grew at its end has no valid footer.
"""

import cython
from cython.cimports.fjeld.kernel.checksum import XXH3_64bits_withSeed
from cython.cimports.fjeld.kernel.coding import cbytes, fj_load32, fj_load64, fj_store32, fj_store64
from cython.cimports.fjeld.kernel.trailer import TRAILER_BYTES
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.libc.string import memcmp, memcpy

from fjeld.errors import CorruptionError, UnsupportedFormatError


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def footer_encode(
    footer: cython.pointer[cython.const[Footer]], file_bytes: uint64_t, out: cython.pointer[uint8_t]
) -> cython.void:
    fj_store64(out, footer.filter_offset)
    fj_store32(out + 8, footer.filter_bytes)
    fj_store64(out + 12, footer.index_offset)
    fj_store32(out + 20, footer.index_bytes)
    fj_store64(out + 24, footer.properties_offset)
    fj_store32(out + 32, footer.properties_bytes)
    fj_store32(out + 36, footer.blocks)
    fj_store32(out + 40, footer.format)
    fj_store32(out + 44, 0)
    fj_store64(out + 48, XXH3_64bits_withSeed(out, 48, file_bytes))
    memcpy(out + 56, cython.cast(cython.p_const_char, "FJELDSST"), 8)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def footer_decode(
    data: cbytes,
    file_bytes: uint64_t,
    footer: cython.pointer[Footer],
    why: cython.pointer[cython.p_const_char],
) -> cython.int:
    if memcmp(data + 56, cython.cast(cython.p_const_char, "FJELDSST"), 8) != 0:
        why[0] = "the footer is not that of a table: the file is cut short, or not a table"
        return FOOTER_DAMAGED
    if fj_load64(data + 48) != XXH3_64bits_withSeed(data, 48, file_bytes):
        why[0] = "the checksum of the footer does not match"
        return FOOTER_DAMAGED
    footer.format = fj_load32(data + 40)
    if footer.format != TABLE_FORMAT:
        return FOOTER_NEWER
    footer.filter_offset = fj_load64(data)
    footer.filter_bytes = fj_load32(data + 8)
    footer.index_offset = fj_load64(data + 12)
    footer.index_bytes = fj_load32(data + 20)
    footer.properties_offset = fj_load64(data + 24)
    footer.properties_bytes = fj_load32(data + 32)
    footer.blocks = fj_load32(data + 36)
    end: uint64_t = file_bytes - FOOTER_BYTES
    if (
        fj_load32(data + 44) != 0
        or footer.blocks == 0
        or footer.filter_offset > end
        or footer.filter_bytes < TRAILER_BYTES
        or footer.index_bytes < TRAILER_BYTES
        or footer.properties_bytes < TRAILER_BYTES
        or footer.index_offset != footer.filter_offset + footer.filter_bytes
        or footer.properties_offset != footer.index_offset + footer.index_bytes
        or end != footer.properties_offset + footer.properties_bytes
    ):
        why[0] = "the footer names blocks that cannot be"
        return FOOTER_DAMAGED
    return FOOTER_SOUND


FOOTER_FIELDS = (
    "filter_offset",
    "filter_bytes",
    "index_offset",
    "index_bytes",
    "properties_offset",
    "properties_bytes",
    "blocks",
    "format",
)


def encode_footer(fields: dict, file_bytes: uint64_t) -> bytes:
    """For tests and tools: the 64 bytes, whatever the fields say."""
    footer: Footer = fields
    out: uint8_t[FOOTER_BYTES]
    footer_encode(cython.address(footer), file_bytes, out)
    return cython.cast(cython.p_char, out)[:FOOTER_BYTES]


def decode_footer(data: bytes, file_bytes: uint64_t) -> dict:
    """For tests and tools: the fields by name. CorruptionError or UnsupportedFormatError."""
    footer: Footer
    why: cython.p_const_char = cython.NULL
    if len(data) != FOOTER_BYTES or file_bytes < FOOTER_BYTES:
        raise CorruptionError("a footer has 64 bytes")
    status: cython.int = footer_decode(data, file_bytes, cython.address(footer), cython.address(why))
    if status == FOOTER_NEWER:
        raise UnsupportedFormatError(f"table format {footer.format}: this Fjeld reads format {TABLE_FORMAT}")
    if status != FOOTER_SOUND:
        raise CorruptionError(cython.cast(bytes, why).decode(), offset=file_bytes - FOOTER_BYTES)
    return footer
