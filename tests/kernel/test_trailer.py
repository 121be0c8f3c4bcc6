"""The envelope of a block: everything that is believed of it is under its checksum."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel.checksum import xxh64
from fjeld.kernel.trailer import unwrap_block, wrap_block


@given(st.binary(max_size=300), st.integers(0, 2), st.integers(0, 3), st.integers(0, 2**40))
def test_round_trip(payload: bytes, codec: int, kind: int, offset: int) -> None:
    for data in (payload, payload * 40):
        block = wrap_block(data, codec, kind, offset)
        raw_bytes, used, found, zero, checksum = struct.unpack("<IBBHQ", block[-16:])
        assert (raw_bytes, found, zero) == (len(data), kind, 0)
        assert used in (0, codec)
        assert checksum == xxh64(block[:-8], offset)
        assert unwrap_block(block, kind, offset) == data


def test_place_and_kind_are_part_of_it() -> None:
    block = wrap_block(b"payload", 0, 0, 100)
    with pytest.raises(CorruptionError, match="checksum") as moved:
        unwrap_block(block, 0, 101)
    assert moved.value.offset == 101
    with pytest.raises(CorruptionError, match="another kind"):
        unwrap_block(block, 1, 100)


@pytest.mark.parametrize("codec", [0, 1, 2])
def test_every_flipped_byte_and_every_cut_is_noticed(codec: int) -> None:
    block = wrap_block(b"a text that shrinks " * 20, codec, 0, 7)
    for position in range(len(block)):
        damaged = bytearray(block)
        damaged[position] ^= 0x10
        with pytest.raises(CorruptionError):
            unwrap_block(bytes(damaged), 0, 7)
        with pytest.raises(CorruptionError):
            unwrap_block(block[:position], 0, 7)


@pytest.mark.parametrize(
    ("raw_bytes", "codec", "zero"), [(6, 0, 0), (2**32 - 1, 0, 0), (5, 3, 0), (5, 1, 0), (5, 2, 0), (5, 0, 1)]
)
def test_a_wrong_trailer_under_a_right_checksum(raw_bytes: int, codec: int, zero: int) -> None:
    block = b"\xff\xff\xff\xff\xff" + struct.pack("<IBBH", raw_bytes, codec, 0, zero)
    with pytest.raises(CorruptionError):
        unwrap_block(block + struct.pack("<Q", xxh64(block, 3)), 0, 3)
