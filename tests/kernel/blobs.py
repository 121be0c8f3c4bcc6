"""Blob files once more, in plain Python (docs/FORMATS.md, *Blob file*), and what tests make of them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fjeld.kernel.blob import BlobReader
from fjeld.kernel.blob_writer import BlobWriter
from fjeld.kernel.checksum import xxh64
from fjeld.kernel.commit import Commit
from fjeld.kernel.compression import decompress_bytes
from fjeld.kernel.core import TreeCore
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.reader import Reader
from fjeld.kernel.view import View
from tests.kernel.layers import NoControl
from tests.kernel.tables import open_table, write

MAGIC = b"FJELDBLB"
HEADER_BYTES, TRAILER_BYTES, FOOTER_BYTES = 32, 24, 48
BLOB = 3
Pair = tuple[bytes, bytes]


class Pointer(NamedTuple):
    number: int
    offset: int
    stored_bytes: int
    raw_bytes: int

    @classmethod
    def of(cls, data: bytes) -> Pointer:
        return cls(*struct.unpack("<QQII", data))

    def encode(self) -> bytes:
        return struct.pack("<QQII", *self)


def seed(number: int, offset: int) -> int:
    return (number * 0x9E3779B97F4A7C15 + offset) % 2**64


def decode(data: bytes, number: int) -> list[tuple[Pointer, bytes, bytes]]:
    """All (pointer, key, value) of a file, in order; asserts every byte of it."""
    header = MAGIC + struct.pack("<IIQ", 1, 0, number)
    assert data[:HEADER_BYTES] == header + struct.pack("<Q", xxh64(header))
    records, at = [], len(data) - FOOTER_BYTES
    while at > HEADER_BYTES:
        raw, stored, key_bytes, codec, zero, _, total = struct.unpack(
            "<IIIBBHQ", data[at - TRAILER_BYTES : at]
        )
        start = at - TRAILER_BYTES - key_bytes - stored
        assert zero == 0
        assert total == xxh64(data[start : at - 8], seed(number, start))
        value = decompress_bytes(codec, data[start : start + stored], raw)
        pointer = Pointer(number, start, stored, raw)
        records.append((pointer, data[start + stored : start + stored + key_bytes], value))
        at = start
    assert at == HEADER_BYTES
    stored_bytes = sum(pointer.stored_bytes for pointer, _, _ in records)
    footer = struct.pack("<QQQII", len(records), sum(len(v) for _, _, v in records), stored_bytes, 1, 0)
    assert data[-FOOTER_BYTES:] == footer + struct.pack("<Q", xxh64(footer, len(data))) + MAGIC
    return records[::-1]


def write_blob(path: Path, number: int, pairs: Iterable[Pair], codec: int = 1) -> list[bytes]:
    """The pointers."""
    writer = BlobWriter(path, number=number, codec=codec)
    pointers = [writer.add(key, value) for key, value in pairs]
    assert writer.finish() is not None
    return pointers


def open_blob(path: Path, number: int) -> BlobReader:
    return BlobReader(path, DescriptorPool(4), number=number, file_bytes=path.stat().st_size)


def reader_of(folder: Path, pairs: list[Pair], *, number: int = 5, codec: int = 1) -> Reader:
    """A partition of one table whose values are all in one blob file."""
    pointers = write_blob(folder / "blob", number, pairs, codec)
    return pointing(
        folder, [(key, pointer) for (key, _), pointer in zip(pairs, pointers, strict=True)], number
    )


def pointing(folder: Path, entries: list[Pair], number: int = 5) -> Reader:
    """A partition of one table of these pointers, and the blob file that is there."""
    write(folder / "table", [(key, 1, BLOB, pointer) for key, pointer in sorted(entries)])
    return view_reader(
        View((MemtableOwner(),), ((open_table(folder / "table"),),), (open_blob(folder / "blob", number),))
    )


def view_reader(view: View) -> Reader:
    commit = Commit(NoControl())
    commit.start_at(100)
    return Reader(TreeCore(commit, 1, "p", 1 << 20, view))
