"""Blocks: encoding, decoding and seeking against a plain reference."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel.block import decode_block, seek_in_block
from fjeld.kernel.block_builder import encode_block, predicted_bytes
from tests.kernel.reference import Entry, decode_data, encode_data, order, varint

NEWEST = 2**64 - 1

# Few letters and short keys: equal heads, keys that are prefixes of others, many versions of one key.
letters = st.sampled_from([b"", b"\x00", b"a", b"b", b"\xff", b"aaaa", b"\xff\xff\xff\xff"])
keys = st.builds(lambda start, parts: start + b"".join(parts), letters, st.lists(letters, max_size=5))
tags = st.builds(
    lambda seqno, kind: seqno << 8 | kind, st.sampled_from([0, 1, 2, 3, 200, 2**56 - 1]), st.integers(0, 2)
)
values = st.one_of(st.just(b""), st.binary(max_size=20), st.just(b"v" * 300))


@st.composite
def blocks(draw: st.DrawFn) -> list[Entry]:
    prefix = draw(st.sampled_from([b"", b"p", b"prefix/", b"\x00" * 9]))
    found = draw(st.dictionaries(st.tuples(keys, tags), values, min_size=1, max_size=40))
    return sorted(((prefix + key, tag, value) for (key, tag), value in found.items()), key=order)


@given(blocks())
def test_the_bytes_are_those_of_the_format(entries: list[Entry]) -> None:
    payload = encode_block(entries)
    assert payload == encode_data(entries)
    assert decode_block(payload) == entries == decode_data(payload)
    assert len(payload) <= predicted_bytes(entries) <= len(payload) + 2 * len(entries) + 2


@given(blocks(), st.lists(st.tuples(keys, tags), max_size=8))
def test_seek_finds_what_a_walk_finds(entries: list[Entry], more: list[tuple[bytes, int]]) -> None:
    payload = encode_block(entries)
    wanted = [(key, tag + step) for key, tag, _ in entries for step in (0, 1, 256) if tag + step < 2**64]
    wanted += [(key[:-1], tag) for key, tag, _ in entries if key] + [(k + b"\x00", t) for k, t, _ in entries]
    wanted += more + [(key, NEWEST) for key, _ in more] + [(b"", NEWEST), (b"\xff" * 12, 0)]
    for key, tag in wanted:
        walked = sum(order(entry) < (key, -tag) for entry in entries)
        assert seek_in_block(payload, key, tag) == walked


def test_many_keys_with_one_head() -> None:
    entries = [(b"same head %06d" % i, 1 << 8 | 1, b"") for i in range(0, 3000, 2)]
    entries.append((b"tail", 1 << 8 | 1, b""))
    payload = encode_block(entries)
    for i in (0, 1, 2, 1501, 2998, 2999):
        assert seek_in_block(payload, b"same head %06d" % i, NEWEST) == (i + 1) // 2


def test_the_largest_key_and_large_values() -> None:
    entries = [(b"k" * 65535, 5 << 8 | 1, b"x" * (1 << 20)), (b"k" * 65535, 4 << 8, b"")]
    assert decode_block(encode_block(entries)) == entries
    entries.append((b"l" * 65535, 1 << 8 | 1, b""))
    assert decode_block(encode_block(entries)) == entries


def test_no_entries() -> None:
    with pytest.raises(ValueError, match="one entry"):
        encode_block([])


@given(st.binary(max_size=60))
@example(b"")
@example(b"\x00\x00")
@example(b"\xff" * 20)
@settings(max_examples=300)
def test_arbitrary_bytes_are_refused_or_make_sense(payload: bytes) -> None:
    try:
        entries = decode_block(payload)
    except CorruptionError:
        return
    assert entries
    assert all(len(key) <= 65535 and tag & 0xFF <= 3 for key, tag, _ in entries)
    seek_in_block(payload, entries[0][0], NEWEST)


@given(blocks(), st.data())
def test_damage_never_leaves_the_block(entries: list[Entry], data: st.DataObject) -> None:
    payload = bytearray(encode_block(entries))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] = data.draw(st.integers(0, 255))
    for text in (bytes(payload), bytes(payload[:position])):
        try:
            decode_block(text)
        except CorruptionError:
            continue


ENTRY = varint(1) + varint(0) + varint(1 << 3 | 1) + b"k"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (varint(0) + varint(0), "number of entries"),
        (varint(2**62) + varint(0) + ENTRY, "number of entries"),
        (varint(1) + varint(9) + ENTRY, "prefix"),
        (varint(1) + varint(65536) + b"p" * 65536 + ENTRY, "prefix"),
        (varint(1) + varint(65535) + b"p" * 65535 + ENTRY, "key length"),
        (varint(1) + varint(0) + varint(2**64 - 1) + ENTRY, "key length"),
        (varint(1) + varint(0) + varint(1) + varint(2**64 - 1) + varint(9) + b"k", "within its block"),
        (varint(1) + varint(0) + varint(0) + varint(0) + varint(1 << 3 | 4), "tag"),
        (varint(1) + varint(0) + varint(0) + varint(0) + varint(1 << 3 | 3), "pointer"),
        (varint(1) + varint(0) + varint(0) + varint(0) + varint(1 << 59), "tag"),
        (varint(1) + varint(0) + ENTRY + b"x", "behind the last entry"),
        (varint(2) + varint(0) + varint(1) + varint(0) + varint(9) + b"l" + ENTRY, "out of order"),
    ],
)
def test_each_impossible_length_is_named(payload: bytes, message: str) -> None:
    with pytest.raises(CorruptionError, match=message):
        decode_block(payload)
