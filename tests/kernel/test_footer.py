"""The last 64 bytes of a table."""

import struct

import pytest

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.kernel.checksum import xxh64
from fjeld.kernel.footer import decode_footer, encode_footer

FILE_BYTES = 1000
FIELDS = {
    "filter_offset": 700,
    "filter_bytes": 100,
    "index_offset": 800,
    "index_bytes": 50,
    "properties_offset": 850,
    "properties_bytes": 86,
    "blocks": 3,
    "format": 1,
}


def test_the_bytes_are_those_of_the_format() -> None:
    data = encode_footer(FIELDS, FILE_BYTES)
    assert data[:48] == struct.pack("<QIQIQIIII", *FIELDS.values(), 0)
    assert data[48:] == struct.pack("<Q", xxh64(data[:48], FILE_BYTES)) + b"FJELDSST"
    assert decode_footer(data, FILE_BYTES) == FIELDS


def test_the_size_of_the_file_is_part_of_it() -> None:
    with pytest.raises(CorruptionError, match="checksum") as cut:
        decode_footer(encode_footer(FIELDS, FILE_BYTES), FILE_BYTES - 1)
    assert cut.value.offset == FILE_BYTES - 1 - 64


def test_every_flipped_bit_is_noticed() -> None:
    data = encode_footer(FIELDS, FILE_BYTES)
    for bit in range(8 * 64):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptionError):
            decode_footer(bytes(damaged), FILE_BYTES)


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": 0},
        {"filter_offset": 2**64 - 1},
        {"filter_offset": 701},
        {"filter_bytes": 99},
        {"index_bytes": 15, "properties_offset": 815, "properties_bytes": 121},
        {"properties_offset": 2**64 - 100},
        {"properties_bytes": 87},
    ],
)
def test_impossible_places_under_a_right_checksum(change: dict[str, int]) -> None:
    with pytest.raises(CorruptionError, match="cannot be"):
        decode_footer(encode_footer(FIELDS | change, FILE_BYTES), FILE_BYTES)


def test_a_newer_format() -> None:
    with pytest.raises(UnsupportedFormatError, match="format 2"):
        decode_footer(encode_footer(FIELDS | {"format": 2}, FILE_BYTES), FILE_BYTES)
