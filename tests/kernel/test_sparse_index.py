"""The sparse index: last keys and places of blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel.sparse_index import decode_index, encode_index
from tests.kernel.reference import common_prefix, varint

entries = st.lists(
    st.tuples(st.binary(max_size=6) | st.just(b"k" * 65535), st.integers(17, 2**33)), min_size=1, max_size=12
).map(sorted)


def reference(blocks: list[tuple[bytes, int]]) -> bytes:
    out, previous = varint(len(blocks)), b""
    for key, length in blocks:
        shared = len(common_prefix(previous, key))
        out += varint(shared) + varint(len(key) - shared) + key[shared:] + varint(length)
        previous = key
    return out


@given(entries)
def test_round_trip(blocks: list[tuple[bytes, int]]) -> None:
    payload = encode_index(blocks)
    assert payload == reference(blocks)
    offset, expected = 0, []
    for key, length in blocks:
        expected.append((key, offset))
        offset += length
    assert decode_index(payload, len(blocks), offset) == expected
    for count, data_bytes in (
        (len(blocks) + 1, offset),
        (len(blocks), offset + 1),
        (len(blocks), offset - 1),
    ):
        with pytest.raises(CorruptionError):
            decode_index(payload, count, data_bytes)
    for cut in range(min(len(payload), 50)):
        with pytest.raises(CorruptionError):
            decode_index(payload[:cut], len(blocks), offset)


@given(st.binary(max_size=40), st.integers(1, 5), st.integers(0, 300))
def test_arbitrary_bytes_are_refused_or_make_sense(payload: bytes, blocks: int, data_bytes: int) -> None:
    try:
        found = decode_index(payload, blocks, data_bytes)
    except CorruptionError:
        return
    assert len(found) == blocks
    assert found == sorted(found)


@pytest.mark.parametrize(
    "payload",
    [
        varint(1) + varint(1) + varint(0) + varint(20),  # shares with a key that is not there
        varint(1) + varint(0) + varint(65536) + b"k" * 65536 + varint(20),
        varint(1) + varint(0) + varint(0) + varint(16),  # no room for a payload
        varint(1) + varint(0) + varint(0) + varint(21),
        varint(1) + varint(0) + varint(0) + varint(20) + b"x",
    ],
)
def test_impossible_lengths(payload: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_index(payload, 1, 20)


def test_keys_out_of_order() -> None:
    with pytest.raises(CorruptionError, match="order"):
        decode_index(encode_index([(b"b", 20), (b"a", 20)]), 2, 40)
