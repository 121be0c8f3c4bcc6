"""What a version is made of: tables, journals, and the state of one partition. Immutable values, free to
share.

Invariants (`problems` names those that do not hold):
  1. A table's smallest key is not above its largest, its smallest seqno not above its largest.
  2. Level 0 holds the newest table first; of two tables that share keys, all seqnos of one are above the
     other's.
  3. A deeper level is sorted by smallest key, and no two tables of it share a key.
  4. No table number occurs twice.
  5. Every blob file that a table points into is listed, and no other; tables point to no more than it holds.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from fjeld.errors import CorruptionError
from fjeld.manifest.blob_meta import (
    BlobMeta,
    Reference,
    problems_of_blobs,
    references_at_a_glance,
    references_from_json,
)
from fjeld.manifest.fields import (
    MAX_BYTES,
    MAX_KEY_BYTES,
    MAX_PARTITION_ID,
    MAX_SEQNO,
    Fields,
    as_list,
)
from fjeld.manifest.framing import encode_json
from fjeld.manifest.names import MAX_FILE_NUMBER, journal_path, table_path
from fjeld.options import LEVELS, PartitionOptions

__all__ = ["BlobMeta", "FileRecord", "JournalMeta", "Parent", "PartitionState", "TableMeta"]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a version: where it is in the keyspace, and what its bytes must be.

    Size and checksum are None while the file is not finished.
    """

    path: str
    size_bytes: int | None
    xxh128: str | None


@dataclass(frozen=True, slots=True)
class Parent:
    """Where a keyspace was copied from: the source, and the seqno up to which the two are the same."""

    id: str
    seqno: int

    def to_json(self) -> dict[str, object]:
        return {"id": self.id, "seqno": self.seqno}

    @classmethod
    def from_json(cls, value: object) -> Parent:
        fields = Fields(value, "the parent")
        parent = cls(fields.identity("id"), fields.integer("seqno", 0, MAX_SEQNO))
        fields.done()
        return parent


TABLE_NUMBERS = itemgetter(
    "number",
    "size_bytes",
    "entries",
    "blocks",
    "tombstones",
    "weak_tombstones",
    "min_seqno",
    "max_seqno",
    "raw_bytes",
)
TABLE_TEXTS = itemgetter("xxh128", "smallest", "largest")
TABLE_MEMBERS = 13
XXH128_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMeta:
    """One sorted table: what can be known of it without opening it."""

    number: int
    size_bytes: int
    xxh128: str
    entries: int
    tombstones: int
    weak_tombstones: int
    min_seqno: int
    max_seqno: int
    smallest: bytes
    largest: bytes
    raw_bytes: int
    blocks: int
    created_ns: int
    """When its newest entries were flushed, ns since the epoch: a merge hands on the newest of its inputs."""
    blobs: tuple[Reference, ...] = ()
    """What its entries point to, by blob file, ascending."""
    _record: FileRecord | None = field(default=None, init=False, repr=False, compare=False)
    _text: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def path(self) -> str:
        """Relative to the keyspace's directory."""
        return table_path(self.number)

    @property
    def record(self) -> FileRecord:
        """The table as a file. Made once: every checkpoint asks all tables, and a hundred thousand new objects are
        reason enough for the garbage collector to look at everything, while nobody else has the interpreter.
        """
        record = self._record
        if record is None:
            record = FileRecord(self.path, self.size_bytes, self.xxh128)
            object.__setattr__(self, "_record", record)
        return record

    @property
    def held_bytes(self) -> int:
        """Of the table and of what it points to."""
        return self.size_bytes + sum(size_bytes for _, _, size_bytes in self.blobs)

    def overlaps(self, smallest: bytes, largest: bytes) -> bool:
        """Whether the table may hold keys from `smallest` to `largest`, both included."""
        return self.smallest <= largest and smallest <= self.largest

    def problems(self) -> Iterator[str]:
        if self.smallest > self.largest:
            yield f"table {self.number}: its smallest key is above its largest"
        if self.min_seqno > self.max_seqno:
            yield f"table {self.number}: its smallest seqno is above its largest"
        if self.tombstones + self.weak_tombstones > self.entries:
            yield f"table {self.number}: more tombstones than entries"

    def text(self) -> str:
        """As JSON. Made once, as every checkpoint writes all tables; by hand: 1 us, where the library takes 5."""
        text = self._text
        if text is None:
            text = self._made_text()
            object.__setattr__(self, "_text", text)
        return text

    def _made_text(self) -> str:
        return (
            f'{{"number":{self.number},"size_bytes":{self.size_bytes},"xxh128":"{self.xxh128}",'
            f'"entries":{self.entries},"tombstones":{self.tombstones},"weak_tombstones":{self.weak_tombstones},'
            f'"min_seqno":{self.min_seqno},"max_seqno":{self.max_seqno},'
            f'"smallest":"{self.smallest.hex()}","largest":"{self.largest.hex()}",'
            f'"raw_bytes":{self.raw_bytes},"blocks":{self.blocks},"created_ns":{self.created_ns}'
            f"{self._blobs_text()}}}"
        )

    def _blobs_text(self) -> str:
        """Most tables of most keyspaces point to none: left out, it costs them nothing."""
        if not self.blobs:
            return ""
        return f',"blobs":[{",".join([f"[{n},{entries},{size}]" for n, entries, size in self.blobs])}]'

    def to_json(self) -> object:
        return json.loads(self.text())

    @classmethod
    def from_json(cls, value: object) -> TableMeta:
        """Whatever looks wrong at a glance is looked at again, member by member, for the right error."""
        table = cls._at_a_glance(value)
        return cls._with_care(value) if table is None else table

    @classmethod
    def _at_a_glance(cls, value: object) -> TableMeta | None:
        """A sound table, or None. Opening reads all tables: this takes a quarter of the time."""
        if type(value) is not dict:
            return None
        blobs: tuple[Reference, ...] | None = ()
        if len(value) != TABLE_MEMBERS:
            blobs = references_at_a_glance(value.get("blobs"))
            if not blobs or len(value) != TABLE_MEMBERS + 1:
                return None
        try:
            numbers = TABLE_NUMBERS(value)
            created_ns = value["created_ns"]
            texts = TABLE_TEXTS(value)
            xxh128, smallest, largest = map(bytes.fromhex, texts)
        except (KeyError, TypeError, ValueError):
            return None
        if (xxh128.hex(), smallest.hex(), largest.hex()) != texts or len(xxh128) != XXH128_BYTES:
            return None
        if set(map(type, numbers)) != {int} or min(numbers) < 0 or max(numbers) > MAX_SEQNO:
            return None
        if type(created_ns) is not int or not 0 <= created_ns <= MAX_BYTES:
            return None
        number, size_bytes, entries, blocks, *_ = numbers
        if not (0 < number <= MAX_FILE_NUMBER and size_bytes and entries and blocks):
            return None
        if max(len(smallest), len(largest)) > MAX_KEY_BYTES:
            return None
        return cls(**{**value, "smallest": smallest, "largest": largest, "blobs": blobs})

    @classmethod
    def _with_care(cls, value: object) -> TableMeta:
        fields = Fields(value, "a table")
        table = cls(
            number=fields.integer("number", 1, MAX_FILE_NUMBER),
            size_bytes=fields.integer("size_bytes", 1, MAX_BYTES),
            xxh128=fields.checksum("xxh128"),
            entries=fields.integer("entries", 1, MAX_BYTES),
            tombstones=fields.integer("tombstones", 0, MAX_BYTES),
            weak_tombstones=fields.integer("weak_tombstones", 0, MAX_BYTES),
            min_seqno=fields.integer("min_seqno", 0, MAX_SEQNO),
            max_seqno=fields.integer("max_seqno", 0, MAX_SEQNO),
            smallest=fields.key("smallest"),
            largest=fields.key("largest"),
            raw_bytes=fields.integer("raw_bytes", 0, MAX_BYTES),
            blocks=fields.integer("blocks", 1, MAX_BYTES),
            created_ns=fields.integer("created_ns", 0, MAX_BYTES),
            blobs=references_from_json(fields.take("blobs")) if fields.has("blobs") else (),
        )
        fields.done()
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalMeta:
    """One journal that takes no more records. Size and checksum are None until it is finished: synced and
    summed.

    One that recovery found without a seal is kept as it is: its records end at `end_bytes`, and what follows
    counts for nothing. None: they end with the file, in a seal.
    """

    number: int
    last_seqno: int
    size_bytes: int | None = None
    xxh128: str | None = None
    end_bytes: int | None = None

    @property
    def path(self) -> str:
        """Relative to the keyspace's directory."""
        return journal_path(self.number)

    @property
    def finished(self) -> bool:
        """Whether all its bytes are known to be on disk."""
        return self.xxh128 is not None

    def to_json(self) -> dict[str, object]:
        return {
            "number": self.number,
            "last_seqno": self.last_seqno,
            "size_bytes": self.size_bytes,
            "xxh128": self.xxh128,
            "end_bytes": self.end_bytes,
        }

    @classmethod
    def from_json(cls, value: object) -> JournalMeta:
        fields = Fields(value, "a journal")
        journal = cls(
            number=fields.integer("number", 1, MAX_FILE_NUMBER),
            last_seqno=fields.integer("last_seqno", 0, MAX_SEQNO),
            size_bytes=fields.optional_integer("size_bytes", 1, MAX_BYTES),
            xxh128=fields.optional_checksum("xxh128"),
            end_bytes=fields.optional_integer("end_bytes", 1, MAX_BYTES),
        )
        fields.done()
        if journal.end_bytes is not None and journal.end_bytes > (journal.size_bytes or 0):
            raise CorruptionError("a journal's records end behind its file")
        if (journal.size_bytes is None) != (journal.xxh128 is None):
            raise CorruptionError("a journal has one of size and checksum, not both")
        return journal


Levels = tuple[tuple[TableMeta, ...], ...]
NO_TABLES: Levels = ((),) * LEVELS


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionState:
    """One partition: its tables by level, and the seqno up to which all its writes are in them."""

    id: int
    name: str
    options: PartitionOptions
    flushed_seqno: int = 0
    levels: Levels = NO_TABLES
    blobs: tuple[BlobMeta, ...] = ()
    """The blob files that its tables point into, by number."""

    def tables(self) -> Iterator[TableMeta]:
        """All tables, level 0 first."""
        return itertools.chain.from_iterable(self.levels)

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        tables = sum(table.size_bytes for table in self.tables())
        return tables + sum(blob.size_bytes for blob in self.blobs)

    def problems(self) -> Iterator[str]:
        """What is wrong with it: one line each, nothing for a sound one."""
        if len(self.levels) != LEVELS:
            yield f"partition {self.id}: {len(self.levels)} levels, not {LEVELS}"
        for table in self.tables():
            yield from table.problems()
        yield from problems_of_blobs(self.id, self.tables(), self.blobs)
        yield from self._problems_of_level0()
        for level, tables in enumerate(self.levels[1:], start=1):
            for left, right in itertools.pairwise(tables):
                if left.largest >= right.smallest:
                    yield (
                        f"partition {self.id}: tables {left.number} and {right.number} of level {level} "
                        "overlap or are out of order"
                    )

    def _problems_of_level0(self) -> Iterator[str]:
        """Tables that are in the wrong order, and pairs that overlap but are not one newer than the other."""
        for newer, older in itertools.pairwise(self.levels[0]):
            if newer.max_seqno < older.max_seqno:
                yield f"partition {self.id}: table {newer.number} is before {older.number}, which is newer"
        reaching: list[TableMeta] = []  # those that begin before the table and may end within or behind it
        for table in sorted(self.levels[0], key=lambda table: table.smallest):
            reaching = [other for other in reaching if other.largest >= table.smallest]
            for other in reaching:
                if table.min_seqno <= other.max_seqno and other.min_seqno <= table.max_seqno:
                    yield f"partition {self.id}: tables {table.number}, {other.number} share keys and seqnos"
            reaching.append(table)

    def text(self) -> str:
        """As JSON."""
        head = {
            "id": self.id,
            "name": self.name,
            "options": self.options.to_json(),
            "flushed_seqno": self.flushed_seqno,
        }
        if self.blobs:
            head["blobs"] = [blob.to_json() for blob in self.blobs]
        levels = ",".join(f"[{','.join([table.text() for table in tables])}]" for tables in self.levels)
        return f'{encode_json(head)[:-1]},"levels":[{levels}]}}'

    @classmethod
    def from_json(cls, value: object) -> PartitionState:
        fields = Fields(value, "a partition")
        state = cls(
            id=fields.integer("id", 1, MAX_PARTITION_ID),
            name=fields.partition_name("name"),
            options=options_from_json(fields.take("options")),
            flushed_seqno=fields.integer("flushed_seqno", 0, MAX_SEQNO),
            levels=tuple(
                tuple(TableMeta.from_json(table) for table in as_list(tables, "a level"))
                for tables in as_list(fields.take("levels"), "levels", LEVELS)
            ),
            blobs=blobs_from_json(fields),
        )
        fields.done()
        return state


def blobs_from_json(fields: Fields) -> tuple[BlobMeta, ...]:
    """The blob files of a partition or an edit; none where the member is left out."""
    return tuple(map(BlobMeta.from_json, fields.list("blobs"))) if fields.has("blobs") else ()


def options_from_json(value: object) -> PartitionOptions:
    """The options of a partition; values that make no sense are damage."""
    try:
        return PartitionOptions.from_json(value)
    except (TypeError, ValueError) as error:
        raise CorruptionError(f"the options of a partition: {error}") from error
