"""The framing of manifests, against a plain reading of the format page."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.kernel.checksum import xxh64
from fjeld.manifest import framing


def test_the_bytes_are_those_of_the_format_page():
    header = framing.HEADER
    assert header == b"FJELDMAN" + bytes([1, 0, 0, 0]) + bytes(4)
    payload = b'{"a":"\xc3\xa6"}'
    length = struct.pack("<I", len(payload))
    expected = length + bytes(4) + struct.pack("<Q", xxh64(length + payload, 77)) + payload
    assert framing.encode_record({"a": "æ"}, 77) == expected


@given(st.dictionaries(st.text(), st.integers()), st.integers(0, 100))
def test_round_trip_at_any_offset(value, offset):
    data = b"\xff" * offset + framing.encode_record(value, offset)
    record = framing.record_at(data, offset)
    assert record.decode() == value
    assert record.end == len(data)
    assert framing.record_at(data[:-1], offset) is None


def test_a_record_is_valid_in_its_place_only():
    record = framing.encode_record({"a": 1}, 16)
    assert framing.record_at(bytes(16) + record, 16) is not None
    assert framing.record_at(bytes(17) + record, 17) is None


@given(st.binary(max_size=200), st.integers(0, 60))
def test_arbitrary_bytes_hold_no_record(data, offset):
    assert framing.record_at(data, offset) is None


def test_all_records_of_a_manifest_begin_with_its_mark():
    record = framing.encode_record({"keyspace": "x", "manifest": 7, "edit": []}, 0)
    assert record.startswith(framing.mark("x", 7), framing.RECORD_HEADER_BYTES)
    assert not record.startswith(framing.mark("x", 70), framing.RECORD_HEADER_BYTES)


@given(st.text())
def test_no_text_within_a_payload_looks_like_the_mark(text):
    mark = framing.mark("x", 7)
    record = framing.encode_record({"name": text + mark.decode()}, 0)
    assert mark not in record


def test_whether_a_payload_is_whole():
    record = framing.encode_record({"keyspace": "x", "manifest": 7, "edit": []}, 0)
    assert framing.has_whole_payload(record, 0)
    assert framing.has_whole_payload(record + bytes(100), 0)
    assert framing.has_whole_payload(record[:1] + bytes(15) + record[16:], 0)
    assert not framing.has_whole_payload(bytes(16) + record[16:], 0), "the sector of its header is missing"
    for end in range(len(record)):
        assert not framing.has_whole_payload(record[:end], 0)
        assert not framing.has_whole_payload(record[:end] + bytes(len(record) - end), 0)


@pytest.mark.parametrize("size", range(16))
def test_a_short_header(size):
    with pytest.raises(CorruptionError, match="ends within its header"):
        framing.check_header(framing.HEADER[:size])


def test_every_bit_of_the_header_counts():
    for bit in range(8 * framing.HEADER_BYTES):
        header = bytearray(framing.HEADER)
        header[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CorruptionError, UnsupportedFormatError)):
            framing.check_header(bytes(header))
    with pytest.raises(CorruptionError) as caught:
        framing.check_header(bytes(16))
    assert caught.value.offset == 0


@pytest.mark.parametrize("payload", [b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b"9" * 10_000])
def test_a_payload_that_is_no_object(payload):
    with pytest.raises(CorruptionError):
        framing.Record(0, 0, payload).decode()


def test_not_a_number_is_not_written():
    with pytest.raises(ValueError):
        framing.encode_record({"a": float("nan")}, 0)
    assert json.loads(framing.encode_record({"a": 1.5}, 0)[16:]) == {"a": 1.5}
