"""Blob files in a version, and what of them is garbage. Immutable values, free to share.

Garbage is derived, never counted by events: each table says how many records, of how many bytes, of which blob files
its entries point to; what a file holds beyond the sum over all tables is garbage. So whatever takes a table away, by
compaction, clear, drop or age, has done the accounting with it, and there is nothing that a crash could lose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fjeld.errors import CorruptionError
from fjeld.manifest.fields import MAX_BYTES, Fields, as_list
from fjeld.manifest.names import MAX_FILE_NUMBER, blob_path

__all__ = [
    "BLOB_FIXED_BYTES",
    "BlobMeta",
    "Reference",
    "live_blobs",
    "problems_of_blobs",
    "references",
    "references_at_a_glance",
    "references_from_json",
]

# Header and footer (FORMATS.md).
BLOB_FIXED_BYTES = 32 + 48

Reference = tuple[int, int, int]
"""(number of a blob file, records in it that are pointed to, their bytes)"""


class Referring(Protocol):
    """A table."""

    @property
    def number(self) -> int: ...
    @property
    def blobs(self) -> tuple[Reference, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobMeta:
    """One blob file."""

    number: int
    size_bytes: int
    xxh128: str
    entries: int
    """Records, live or not."""
    raw_bytes: int
    """Of all values, before compression."""
    stored_bytes: int
    """Of all values in the file."""
    created_ns: int
    """When the newest of its values were flushed, ns since the epoch."""

    @property
    def path(self) -> str:
        """Relative to the keyspace's directory."""
        return blob_path(self.number)

    @property
    def record_bytes(self) -> int:
        """What its records take: all of it but header and footer."""
        return self.size_bytes - BLOB_FIXED_BYTES

    def garbage_bytes(self, live_bytes: int) -> int:
        """What is not needed any more, where the records that are pointed to have `live_bytes`."""
        return self.record_bytes - live_bytes

    def to_json(self) -> dict[str, object]:
        return {
            "number": self.number,
            "size_bytes": self.size_bytes,
            "xxh128": self.xxh128,
            "entries": self.entries,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "created_ns": self.created_ns,
        }

    @classmethod
    def from_json(cls, value: object) -> BlobMeta:
        fields = Fields(value, "a blob file")
        blob = cls(
            number=fields.integer("number", 1, MAX_FILE_NUMBER),
            size_bytes=fields.integer("size_bytes", BLOB_FIXED_BYTES + 1, MAX_BYTES),
            xxh128=fields.checksum("xxh128"),
            entries=fields.integer("entries", 1, MAX_BYTES),
            raw_bytes=fields.integer("raw_bytes", 0, MAX_BYTES),
            stored_bytes=fields.integer("stored_bytes", 0, MAX_BYTES),
            created_ns=fields.integer("created_ns", 0, MAX_BYTES),
        )
        fields.done()
        return blob


def references(tables: Iterable[Referring]) -> dict[int, tuple[int, int]]:
    """By blob file, how many records the tables point to, and their bytes."""
    found: dict[int, tuple[int, int]] = {}
    for table in tables:
        for number, entries, size_bytes in table.blobs:
            before = found.get(number, (0, 0))
            found[number] = (before[0] + entries, before[1] + size_bytes)
    return found


def live_blobs(tables: Iterable[Referring], blobs: Iterable[BlobMeta]) -> tuple[BlobMeta, ...]:
    """Those that a table points into, in order: what a state of these tables has to hold."""
    needed = {number for table in tables for number, _, _ in table.blobs}
    return tuple(sorted((blob for blob in blobs if blob.number in needed), key=lambda blob: blob.number))


def problems_of_blobs(
    partition: int, tables: Iterable[Referring], blobs: tuple[BlobMeta, ...]
) -> Iterator[str]:
    """What is wrong with the blob files of a partition: one line each."""
    found: Mapping[int, tuple[int, int]] = references(tables)
    numbers = [blob.number for blob in blobs]
    if numbers != sorted(set(numbers)):
        yield f"partition {partition}: blob files out of order"
    for number in sorted(found.keys() - set(numbers)):
        yield f"partition {partition}: tables point into blob file {number}, which it does not have"
    for blob in blobs:
        entries, live_bytes = found.get(blob.number, (0, 0))
        if not entries:
            yield f"partition {partition}: no table points into blob file {blob.number}"
        if entries > blob.entries or live_bytes > blob.record_bytes:
            yield f"partition {partition}: tables point to more than blob file {blob.number} holds"


def references_at_a_glance(value: object) -> tuple[Reference, ...] | None:
    """What a table of a manifest points to, or None where something may be wrong with it."""
    if type(value) is not list:
        return None
    found: list[Reference] = []
    last = 0
    for item in value:
        if type(item) is not list or len(item) != 3 or set(map(type, item)) != {int}:
            return None
        number, entries, size_bytes = item
        if not (
            last < number <= MAX_FILE_NUMBER and 0 < entries <= MAX_BYTES and 0 < size_bytes <= MAX_BYTES
        ):
            return None
        last = number
        found.append((number, entries, size_bytes))
    return tuple(found)


def references_from_json(value: object) -> tuple[Reference, ...]:
    """The same, where what is wrong is a CorruptionError."""
    found = references_at_a_glance(as_list(value, "the blobs of a table"))
    if not found:
        raise CorruptionError("a table has blobs that cannot be")
    return found
