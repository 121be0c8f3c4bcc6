"""The bytes of a manifest (FORMATS.md, Manifest).

    file    = header record*
    header  +0   8  magic "FJELDMAN"  +8  4  format = 1  +12  4  zero
    record  +0   4  length of the payload
            +4   4  zero
            +8   8  xxh64 of length and payload, seeded with the offset of the record
            +16     payload: JSON, UTF-8

Every payload says which manifest of which keyspace it belongs to. It is one of these, written without spaces
and with its members in this order:

    {"keyspace": uuid, "manifest": number, "snapshot": version}     the first record, no other
    {"keyspace": uuid, "manifest": number, "edit": [change, ...]}
    {"keyspace": uuid, "manifest": number, "sealed": true}          the last record, if it was closed

So a record is valid in one place of one manifest only: a copy of it further on is not, nor what a block of
the disk still holds of an older manifest behind a torn tail. And the `mark` that they all begin with tells
what was a record of this manifest, however damaged or displaced, from garbage.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.kernel.checksum import xxh64

__all__ = [
    "HEADER",
    "HEADER_BYTES",
    "RECORD_HEADER_BYTES",
    "Record",
    "check_header",
    "encode_json",
    "encode_record",
    "frame",
    "has_whole_payload",
    "mark",
    "record_at",
]

MAGIC = b"FJELDMAN"
FORMAT = 1
HEADER_LAYOUT = struct.Struct("<8sII")
HEADER = HEADER_LAYOUT.pack(MAGIC, FORMAT, 0)
HEADER_BYTES = HEADER_LAYOUT.size

LENGTH_LAYOUT = struct.Struct("<I")
RECORD_LAYOUT = struct.Struct("<IIQ")
RECORD_HEADER_BYTES = RECORD_LAYOUT.size


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose checksum is right: where it is, where the next one starts, and what it says."""

    offset: int
    end: int
    payload: bytes

    def decode(self) -> dict[str, object]:
        """The payload, which is a JSON object."""
        try:
            value = json.loads(self.payload.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise CorruptionError(f"the record is not JSON ({error})") from error
        if not isinstance(value, dict):
            raise CorruptionError("the record is not a JSON object")
        return value


def encode_record(value: dict[str, object], offset: int) -> bytes:
    """The record of a JSON object, for this place in the file."""
    return frame(encode_json(value).encode(), offset)


def frame(payload: bytes, offset: int) -> bytes:
    """The record of a payload that is encoded already, for this place in the file."""
    length = LENGTH_LAYOUT.pack(len(payload))
    return RECORD_LAYOUT.pack(len(payload), 0, xxh64(length + payload, offset)) + payload


def check_header(data: bytes) -> None:
    """The file must start with the header of a format that is known."""
    if len(data) < HEADER_BYTES:
        raise CorruptionError("the manifest ends within its header", offset=len(data))
    magic, number, zero = HEADER_LAYOUT.unpack_from(data)
    if magic != MAGIC or number == 0 or zero != 0:
        raise CorruptionError("the manifest has no header", offset=0)
    if number != FORMAT:
        raise UnsupportedFormatError(
            f"manifest format {number}: written by a newer Fjeld; upgrade to open it"
        )


def record_at(data: bytes, offset: int) -> Record | None:
    """The record at an offset, or None where there is no valid one."""
    if offset + RECORD_HEADER_BYTES > len(data):
        return None
    length, zero, checksum = RECORD_LAYOUT.unpack_from(data, offset)
    start = offset + RECORD_HEADER_BYTES
    end = start + length
    if zero != 0 or length == 0 or end > len(data):
        return None
    payload = data[start:end]
    if xxh64(data[offset : offset + LENGTH_LAYOUT.size] + payload, offset) != checksum:
        return None
    return Record(offset, end, payload)


def mark(keyspace: object, manifest: int) -> bytes:
    """What all payloads of a manifest begin with.

    It is nowhere else: quotes within JSON strings are escaped.
    """
    return b'{"keyspace":%b,"manifest":%d,' % (encode_json(keyspace).encode(), manifest)


def has_whole_payload(data: bytes, offset: int) -> bool:
    """Whether all bytes of a record seem to be at an offset, whatever its header says.

    A write that was cut short by the end of the process or of the power has left out some sectors of it. If
    its first byte is there (which, being part of the length, is rarely zero) and the payload is whole, then
    no sector is missing.
    """
    start = offset + RECORD_HEADER_BYTES
    if start >= len(data) or data[offset] == 0:
        return False
    try:
        json.JSONDecoder().raw_decode(data[start:].decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return False
    return True


def encode_json(value: object) -> str:
    """Without spaces, members in the order in which they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
