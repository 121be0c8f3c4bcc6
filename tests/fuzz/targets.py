"""What is fuzzed: every decoder, each as a function of bytes. A new one is one entry of TARGETS.

Random changes rarely get past a checksum. So where bytes carry one, there are two targets: the bytes as they
are, and the bytes with their checksums made right again, which only the decoder behind the checksum can refuse.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import fjeld
from fjeld.backup.checkpoint_file import decode_document
from fjeld.kernel.block import decode_block, seek_in_block
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import xxh64, xxh128_hex
from fjeld.kernel.compression import decompress_bytes
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.filter import filter_contains
from fjeld.kernel.footer import decode_footer
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.sparse_index import decode_index
from fjeld.kernel.table import TableReader
from fjeld.kernel.trailer import unwrap_block, wrap_block
from fjeld.manifest import framing
from fjeld.manifest.current import read_current
from fjeld.manifest.log import read_manifest
from fjeld.manifest.marker import check_marker
from tests.kernel.blobs import Pointer, decode, open_blob, pointing, seed
from tests.support import leftovers

REFUSALS = (fjeld.CorruptionError, fjeld.UnsupportedFormatError, fjeld.NotAKeyspaceError)

Run = Callable[[bytes], object]
JOURNAL_NUMBER = 7
MANIFEST_NUMBER = 7
FOOTER_BYTES = 64
RECORD_BYTES = 40
TRAILER_BYTES = 16
BLOB_NUMBER = 5
BLOB_HEADER_BYTES, BLOB_TRAILER_BYTES, BLOB_FOOTER_BYTES = 32, 24, 48
POINTER_BYTES = 24
FRAME_BYTES = 48


@cache
def folder() -> Path:
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="fjeld-fuzz-", dir=memory if memory.is_dir() else None))


def file_of(name: str, data: bytes) -> Path:
    path = folder() / name
    path.write_bytes(data)
    return path


# ---- parts of tables ----


def block(data: bytes) -> None:
    entries = decode_block(data)
    for key, _tag, _value in entries[:3]:
        seek_in_block(data, key, 0)
    seek_in_block(data, b"", 0)


def footer(data: bytes) -> None:
    decode_footer(data, 1000)


def repaired_footer(data: bytes) -> None:
    data = data[:48].ljust(48, b"\0")
    decode_footer(data + struct.pack("<Q", xxh64(data, 1000)) + b"FJELDSST", 1000)


def index(data: bytes) -> None:
    count, blocks_bytes = (data[0] if data else 0), int.from_bytes(data[1:3], "little")
    decode_index(data[3:], count, blocks_bytes)


def filter_bits(data: bytes) -> None:
    """Its lines and probes are checked by the reader of tables; here, that no probe leaves the lines."""
    lines = len(data) // 64
    if lines:
        for probes in (1, 7, 30):
            filter_contains(data[: lines * 64], probes, xxh64(data, probes))


def trailer(data: bytes) -> None:
    unwrap_block(data, data[-11] & 3 if len(data) > 10 else 0, 64)  # as the kind that it says it is


def compressed(codec: int) -> Run:
    def run(data: bytes) -> None:
        size = int.from_bytes(data[:2], "little")
        assert len(decompress_bytes(codec, data[2:], size)) == size

    return run


# ---- whole files ----


def table(data: bytes) -> None:
    reader = TableReader(file_of("000000000007.sst", data), BlockCache(1 << 16), DescriptorPool(2))
    list(reader.scan())
    list(reader.scan(reverse=True))
    reader.get(b"key000003")
    reader.check()


def repaired_table(data: bytes) -> None:
    """The footer's checksum, and those of the blocks that it names, and that the index names."""
    made = bytearray(data)
    if len(made) < FOOTER_BYTES:
        return table(data)
    fields = made[-FOOTER_BYTES:-16]
    places = [struct.unpack_from("<QI", fields, at) for at in (0, 12, 24)]
    for kind, (offset, size) in [*enumerate(places, 1), *_data_blocks(made, places)]:
        if offset + size <= len(made) - FOOTER_BYTES and size > TRAILER_BYTES:
            payload = bytes(made[offset : offset + size - TRAILER_BYTES])
            made[offset : offset + size] = wrap_block(payload, 0, kind, offset)[:size].ljust(size, b"\0")
    made[-16:] = struct.pack("<Q", xxh64(bytes(fields), len(made))) + b"FJELDSST"
    return table(bytes(made))


def _data_blocks(made: bytearray, places: list[tuple[int, int]]) -> list[tuple[int, tuple[int, int]]]:
    (end, _), (offset, size), _ = places
    with suppress(fjeld.CorruptionError, OverflowError):
        payload = bytes(made[offset : offset + size - TRAILER_BYTES])
        found = decode_index(payload, int.from_bytes(made[-28:-24], "little"), end)
        starts = [start for _, start in found] + [end]
        return [(0, (start, following - start)) for start, following in pairwise(starts)]
    return []


@cache
def sound_blob() -> bytes:
    return (Path(__file__).parent / "corpus" / "blob" / "0").read_bytes()


def read_blob(pointers: list[tuple[bytes, bytes]], data: bytes) -> None:
    """By each way, what the pointers of a table say is in the file."""
    for name in ("table", "blob"):
        (folder() / name).unlink(missing_ok=True)
    file_of("blob", data)
    reader = pointing(folder(), pointers, BLOB_NUMBER)
    for key, _ in pointers:
        with suppress(*REFUSALS):
            reader.get(key)
    for reverse in (False, True):
        with suppress(*REFUSALS):
            list(reader.scan_items(reverse))
    reader.get_many([key for key, _ in pointers])


def blob(data: bytes) -> None:
    sound = decode(sound_blob(), BLOB_NUMBER)
    with suppress(*REFUSALS):
        read_blob([(key, pointer.encode()) for pointer, key, _ in sound], data)
    open_blob(folder() / "blob", BLOB_NUMBER).check()


def repaired_blob(data: bytes) -> None:
    """The header, each record that the footer leads to, and the footer."""
    made = bytearray(data)
    if len(made) < BLOB_HEADER_BYTES + BLOB_FOOTER_BYTES:
        return blob(data)
    header = b"FJELDBLB" + struct.pack("<IIQ", 1, 0, BLOB_NUMBER)
    made[:BLOB_HEADER_BYTES] = header + struct.pack("<Q", xxh64(header))
    at = len(made) - BLOB_FOOTER_BYTES
    made[-16:] = struct.pack("<Q", xxh64(bytes(made[at:-16]), len(made))) + b"FJELDBLB"
    while at >= BLOB_HEADER_BYTES + BLOB_TRAILER_BYTES:
        stored, key = struct.unpack_from("<II", made, at - BLOB_TRAILER_BYTES + 4)
        start = at - BLOB_TRAILER_BYTES - stored - key
        if start < BLOB_HEADER_BYTES:
            break
        made[at - 8 : at] = struct.pack("<Q", xxh64(bytes(made[start : at - 8]), seed(BLOB_NUMBER, start)))
        at = start
    return blob(bytes(made))


def pointers(data: bytes) -> None:
    """Of a table whose own checksums are right. Lengths that they claim are believed until the record is read, so the
    largest are left out: sanitizers take long to hand out gigabytes.
    """
    keys = [key for _, key, _ in decode(sound_blob(), BLOB_NUMBER)]
    chosen = []
    for at in range(0, len(data), POINTER_BYTES):
        claimed = Pointer.of(data[at : at + POINTER_BYTES].ljust(POINTER_BYTES, b"\0"))
        chosen.append(
            claimed._replace(
                stored_bytes=claimed.stored_bytes & 0xFFFF, raw_bytes=claimed.raw_bytes & 0xFFFF
            ).encode()
        )
    read_blob(list(zip(keys, chosen, strict=False)), sound_blob())


def journal(data: bytes) -> None:
    path = str(file_of("000000000007.jnl", data))
    for may_be_torn in (False, True):
        with suppress(*REFUSALS):
            list(JournalReader(path, JOURNAL_NUMBER, allow_torn=may_be_torn))
    list(JournalReader(path, JOURNAL_NUMBER, allow_torn=True))


def repaired_journal(data: bytes) -> None:
    header = b"FJELDJNL" + struct.pack("<IIQ", 1, 0, JOURNAL_NUMBER)
    made = bytearray(header + struct.pack("<Q", xxh64(header, 0)) + data[32:])
    at = 32
    while at + RECORD_BYTES <= len(made):
        length = int.from_bytes(made[at + 8 : at + 12], "little")
        if not RECORD_BYTES <= length <= len(made) - at:
            break
        made[at : at + 8] = struct.pack(
            "<Q", xxh64(bytes(made[at + 8 : at + length]), JOURNAL_NUMBER << 32 ^ at)
        )
        at += (length + 7) & ~7
    journal(bytes(made))


def manifest(data: bytes) -> None:
    read_manifest(file_of("MANIFEST-000007", data))


def repaired_manifest(data: bytes) -> None:
    """Each line is the payload of a record."""
    made = bytearray(framing.HEADER)
    for payload in data.split(b"\n"):
        if payload:
            made += framing.frame(payload, len(made))
    manifest(bytes(made))


def current(data: bytes) -> None:
    file_of("CURRENT", data)
    read_current(folder())


def marker(data: bytes) -> None:
    file_of("FJELD", data)
    check_marker(folder())


# ---- what a checkpoint and an export say ----


def checkpoint_json(data: bytes) -> None:
    decode_document(data)


def repaired_checkpoint_json(data: bytes) -> None:
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError):
        return checkpoint_json(data)
    if not isinstance(document, dict):
        return checkpoint_json(data)
    document.pop("xxh128", None)
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return checkpoint_json(json.dumps({**document, "xxh128": xxh128_hex(canonical.encode())}).encode())


def export(data: bytes) -> None:
    """Into tables; what is whole becomes a keyspace. Verifying says the same of it, without one."""
    target = folder() / "imported"
    taken = False
    try:
        fjeld.import_from(io.BytesIO(data), target)
        taken = True
    finally:
        shutil.rmtree(target, ignore_errors=True)
        assert _verified(data) == taken
    assert not leftovers(folder())


def _verified(data: bytes) -> bool:
    try:
        return fjeld.verify(file_of("export", data)).ok
    except REFUSALS:
        return False


def repaired_export(data: bytes) -> None:
    """The chain of the frames, their numbers, and the sums of their payloads."""
    made = bytearray(b"FJELDEXP" + struct.pack("<II", 1, 0) + data[16:])
    chain, at, number = xxh64(bytes(made[:16])), 16, 0
    while at + FRAME_BYTES <= len(made):
        size = int.from_bytes(made[at + 24 : at + 32], "little")
        payload = bytes(made[at + FRAME_BYTES : at + FRAME_BYTES + size])
        if len(payload) < size:
            break
        made[at + 8 : at + 24] = struct.pack("<QQ", xxh64(payload), number)
        chain = xxh64(bytes(made[at + 8 : at + FRAME_BYTES]), chain)
        made[at : at + 8] = struct.pack("<Q", chain)
        at, number = at + FRAME_BYTES + size, number + 1
    export(bytes(made))


@dataclass(frozen=True)
class Target:
    run: Run
    corpus: str
    """The folder of its seeds."""


TARGETS: dict[str, Target] = {
    "block": Target(block, "block"),
    "footer": Target(footer, "footer"),
    "footer, repaired": Target(repaired_footer, "footer"),
    "index": Target(index, "index"),
    "filter": Target(filter_bits, "filter"),
    "trailer": Target(trailer, "trailer"),
    "lz4": Target(compressed(1), "lz4"),
    "zstd": Target(compressed(2), "zstd"),
    "table": Target(table, "table"),
    "table, repaired": Target(repaired_table, "table"),
    "blob": Target(blob, "blob"),
    "blob, repaired": Target(repaired_blob, "blob"),
    "pointers": Target(pointers, "pointers"),
    "journal": Target(journal, "journal"),
    "journal, repaired": Target(repaired_journal, "journal"),
    "manifest": Target(manifest, "manifest"),
    "manifest, repaired": Target(repaired_manifest, "manifest payloads"),
    "CURRENT": Target(current, "CURRENT"),
    "marker": Target(marker, "marker"),
    "checkpoint.json": Target(checkpoint_json, "checkpoint.json"),
    "checkpoint.json, repaired": Target(repaired_checkpoint_json, "checkpoint.json"),
    "export": Target(export, "export"),
    "export, repaired": Target(repaired_export, "export"),
}
