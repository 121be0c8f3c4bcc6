"""The frames that an export consists of: a chain, so that none can be lost, changed, repeated or moved unseen.

    file    = preface frame*

    preface +0   8  magic "FJELDEXP"
    (16)    +8   4  format = 1
            +12  4  zero

    frame   +0   8  xxh64 of bytes 8..47, seeded with this field of the frame before (the first: xxh64 of the preface)
    (48)    +8   8  xxh64 of the payload as stored
            +16  8  number of the frame, from 0
            +24  8  bytes of the payload as stored
            +32  8  bytes of the payload before compression
            +40  4  entries in it                    (chunks only, else 0)
            +44  1  kind: 1 header, 2 chunk, 3 end of a partition, 4 end
            +45  1  codec: 0 none, 1 lz4, 2 zstd     (chunks only, else 0)
            +46  2  zero
            +48     payload

Invariants:
  1. A length is believed only after the checksum over it; memory grows with the bytes that have come, not with
     those that a header promises.
  2. The seed carries everything before a frame into its checksum: a frame is valid in one place of one export.
     (Against damage and mistakes. Whoever forges every checksum behind his change is not found out: XXH3 has no key.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.kernel.checksum import xxh64
from fjeld.kernel.export_decoder import MAX_CHUNK_BYTES

__all__ = ["CHUNK", "END", "HEADER", "PARTITION_END", "Frame", "FrameReader", "FrameWriter", "Readable"]

MAGIC = b"FJELDEXP"
FORMAT = 1
PREFACE = struct.Struct("<8sII")
HEAD = struct.Struct("<QQQQQIBBH")
CHECKED = struct.Struct("<QQQQIBBH")  # the head behind its checksum

HEADER, CHUNK, PARTITION_END, END = 1, 2, 3, 4

# Names and options of a hundred thousand partitions.
MAX_DOCUMENT_BYTES = 64 << 20
# What is asked of a source at once: it may be a pipe, or end early.
READ_BYTES = 1 << 20


class Readable(Protocol):
    """Where an export is read from."""

    def read(self, size_bytes: int, /) -> bytes: ...


class Writable(Protocol):
    """Where an export is written to: all of the bytes, or an error."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, its checksums found right. `offset`: in the file."""

    number: int
    offset: int
    kind: int
    payload: bytes
    codec: int = 0
    raw_bytes: int = 0
    entries: int = 0

    def document(self, kind: int) -> bytes:
        """The payload of a frame that must be of this kind; else CorruptionError."""
        if self.kind != kind:
            raise CorruptionError(f"a frame of kind {self.kind} stands where {kind} belongs")
        return self.payload


class FrameWriter:
    """Writes the preface, then frame after frame. For one thread."""

    def __init__(self, sink: Writable) -> None:
        self._sink = sink
        preface = PREFACE.pack(MAGIC, FORMAT, 0)
        self._chain = xxh64(preface)
        self.size_bytes = len(preface)
        self.frames = 0
        sink.write(preface)

    def write(
        self, kind: int, payload: bytes, *, codec: int = 0, raw_bytes: int | None = None, entries: int = 0
    ) -> None:
        raw_bytes = len(payload) if raw_bytes is None else raw_bytes
        checked = CHECKED.pack(xxh64(payload), self.frames, len(payload), raw_bytes, entries, kind, codec, 0)
        self._chain = xxh64(checked, self._chain)
        self._sink.write(self._chain.to_bytes(8, "little") + checked)
        self._sink.write(payload)
        self.size_bytes += HEAD.size + len(payload)
        self.frames += 1


class FrameReader:
    """Reads what a FrameWriter wrote. For one thread.

    Every error names `name` and the offset. `size_bytes`: read so far.
    """

    def __init__(self, source: Readable, name: str | None) -> None:
        self._source = source
        self.name = name
        self.size_bytes = 0
        self._frames = 0
        preface = self._read(PREFACE.size)
        magic, self._format, zero = PREFACE.unpack(preface)
        if magic != MAGIC or (self._format == FORMAT and zero):
            raise CorruptionError("this is no export of a keyspace", path=name, offset=0)
        if self._format != FORMAT:
            raise UnsupportedFormatError(
                f"{name or 'the export'}: it has format {self._format}, this version reads {FORMAT}"
            )
        self._chain = xxh64(preface)

    def read(self) -> Frame:
        """The next frame; a CorruptionError where there is none."""
        frame, intact = self.read_any()
        if not intact:
            raise self.damaged("the payload of a frame is damaged", frame.offset)
        return frame

    def read_any(self) -> tuple[Frame, bool]:
        """The next frame, and whether its payload is what was written. CorruptionError: its head is not."""
        offset = self.size_bytes
        head = self._read(HEAD.size)
        found, payload_sum, number, size, raw_bytes, entries, kind, codec, zero = HEAD.unpack(head)
        self._chain = xxh64(head[8:], self._chain)
        if found != self._chain or number != self._frames or zero:
            raise self.damaged("the head of a frame is damaged, or not in its place", offset)
        limit = MAX_CHUNK_BYTES if kind == CHUNK else MAX_DOCUMENT_BYTES
        if not HEADER <= kind <= END or size > raw_bytes or raw_bytes > limit:
            raise self.damaged("the frame has a head that cannot be", offset)
        if kind != CHUNK and (codec or entries or size != raw_bytes):
            raise self.damaged("the frame has a head that cannot be", offset)
        payload = self._read(size)
        self._frames += 1
        frame = Frame(number, offset, kind, payload, codec, raw_bytes, entries)
        return frame, xxh64(payload) == payload_sum

    def finish(self) -> None:
        """Nothing may follow."""
        offset = self.size_bytes
        if self._some(1):
            raise self.damaged("bytes follow the end of the export", offset)

    def damaged(self, what: str, offset: int) -> CorruptionError:
        """The error for something wrong at `offset`."""
        return CorruptionError(f"{what}; make the export again", path=self.name, offset=offset)

    def _read(self, size_bytes: int) -> bytes:
        pieces: list[bytes] = []
        missing = size_bytes
        while missing:
            piece = self._some(min(missing, READ_BYTES))
            if not piece:
                raise self.damaged("the export is cut short", self.size_bytes)
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _some(self, size_bytes: int) -> bytes:
        """Up to so many bytes; none at the end."""
        piece = self._source.read(size_bytes)
        if piece is None:
            raise BlockingIOError("the source of the import does not block: give one that does")
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise TypeError(
                f"the source of an import gives bytes, not {type(piece).__name__}: open it in binary mode"
            )
        if len(piece) > size_bytes:
            raise ValueError("the source of the import gave more bytes than it was asked for")
        self.size_bytes += len(piece)
        return bytes(piece)
