"""Edits: what the records of a manifest after the first one say, and how they change a version.

An `Edit` is a tuple of changes that happen together or not at all. In JSON it is a list of objects, each with
the name of its kind in "change":

    {"change": "create_partition", "id": 3, "name": "users", "options": {...}} {"change": "drop_partition",
    "partition": 3} {"change": "clear_partition", "partition": 3, "flushed_seqno": 900} {"change": "tables",
    "partition": 3, "added": [[level, table], ...], "removed": [[level, number], ...],
               "flushed_seqno": 900 or null, "blobs": [blob file, ...] (left out: none)}
    {"change": "seal_journal", "journal": {...}} {"change": "finish_journal", "number": 12, "size_bytes":
    4096, "xxh128": "..."} {"change": "retire_journals", "floor": 13} {"change": "counters", "next_file": 40,
    "next_partition": 4, "seqno": 1000}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from fjeld.manifest.draft import Draft
from fjeld.manifest.fields import (
    MAX_BYTES,
    MAX_PARTITION_ID,
    MAX_SEQNO,
    Fields,
    as_list,
    check_partition_name,
    newer_format,
)
from fjeld.manifest.names import MAX_FILE_NUMBER
from fjeld.manifest.state import (
    BlobMeta,
    JournalMeta,
    PartitionState,
    TableMeta,
    blobs_from_json,
    options_from_json,
)
from fjeld.manifest.version import Version
from fjeld.options import LEVELS, PartitionOptions

__all__ = [
    "Change",
    "ChangeTables",
    "ClearPartition",
    "Counters",
    "CreatePartition",
    "DropPartition",
    "Edit",
    "FinishJournal",
    "RetireJournals",
    "SealJournal",
]


class Change(Protocol):
    """One kind of change. `apply_to` refuses with `ValueError` what does not fit the draft."""

    KIND: ClassVar[str]

    def apply_to(self, draft: Draft) -> None: ...

    def to_json(self) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class CreatePartition:
    """A new partition, empty. Its id must never have been given, nor its name be taken."""

    KIND: ClassVar[str] = "create_partition"

    id: int
    name: str
    options: PartitionOptions

    def __post_init__(self) -> None:
        check_partition_name(self.name)

    def apply_to(self, draft: Draft) -> None:
        draft.create_partition(PartitionState(id=self.id, name=self.name, options=self.options))

    def to_json(self) -> dict[str, object]:
        return {"id": self.id, "name": self.name, "options": self.options.to_json()}

    @classmethod
    def from_json(cls, fields: Fields) -> CreatePartition:
        return cls(
            fields.integer("id", 1, MAX_PARTITION_ID),
            fields.partition_name("name"),
            options_from_json(fields.take("options")),
        )


@dataclass(frozen=True, slots=True)
class DropPartition:
    """A partition goes, with its tables. Its id is never given again."""

    KIND: ClassVar[str] = "drop_partition"

    partition: int

    def apply_to(self, draft: Draft) -> None:
        draft.drop_partition(self.partition)

    def to_json(self) -> dict[str, object]:
        return {"partition": self.partition}

    @classmethod
    def from_json(cls, fields: Fields) -> DropPartition:
        return cls(fields.integer("partition", 1, MAX_PARTITION_ID))


@dataclass(frozen=True, slots=True)
class ClearPartition:
    """All that a partition holds up to `flushed_seqno` goes.

    Its tables go at once; its entries in journals are passed over at replay.
    """

    KIND: ClassVar[str] = "clear_partition"

    partition: int
    flushed_seqno: int

    def apply_to(self, draft: Draft) -> None:
        draft.clear_partition(self.partition, self.flushed_seqno)

    def to_json(self) -> dict[str, object]:
        return {"partition": self.partition, "flushed_seqno": self.flushed_seqno}

    @classmethod
    def from_json(cls, fields: Fields) -> ClearPartition:
        return cls(
            fields.integer("partition", 1, MAX_PARTITION_ID), fields.integer("flushed_seqno", 0, MAX_SEQNO)
        )


@dataclass(frozen=True, slots=True)
class ChangeTables:
    """Tables of one partition come and go: a flush, a compaction, an ingestion.

    A table that moves to another level is in both lists.
    """

    KIND: ClassVar[str] = "tables"

    partition: int
    added: tuple[tuple[int, TableMeta], ...] = ()
    """(level, table)"""
    removed: tuple[tuple[int, int], ...] = ()
    """(level, number)"""
    flushed_seqno: int | None = None
    """All writes of the partition up to this are in its tables now. None: no more than before."""
    blobs: tuple[BlobMeta, ...] = ()
    """Blob files that come. Those that no table points into after this go."""

    def apply_to(self, draft: Draft) -> None:
        draft.change_tables(
            self.partition,
            added=self.added,
            removed=self.removed,
            flushed_seqno=self.flushed_seqno,
            blobs=self.blobs,
        )

    def to_json(self) -> dict[str, object]:
        blobs = {"blobs": [blob.to_json() for blob in self.blobs]} if self.blobs else {}
        return {
            **blobs,
            "partition": self.partition,
            "added": [[level, table.to_json()] for level, table in self.added],
            "removed": [[level, number] for level, number in self.removed],
            "flushed_seqno": self.flushed_seqno,
        }

    @classmethod
    def from_json(cls, fields: Fields) -> ChangeTables:
        added = (_pair(pair, "an added table") for pair in fields.list("added"))
        removed = (_pair(pair, "a removed table") for pair in fields.list("removed"))
        return cls(
            fields.integer("partition", 1, MAX_PARTITION_ID),
            tuple(
                (pair.integer("level", 0, LEVELS - 1), TableMeta.from_json(pair.take("table")))
                for pair in added
            ),
            tuple(
                (pair.integer("level", 0, LEVELS - 1), pair.integer("table", 1, MAX_FILE_NUMBER))
                for pair in removed
            ),
            fields.optional_integer("flushed_seqno", 0, MAX_SEQNO),
            blobs_from_json(fields),
        )


@dataclass(frozen=True, slots=True)
class SealJournal:
    """The active journal is full: it is sealed and listed, newest last."""

    KIND: ClassVar[str] = "seal_journal"

    journal: JournalMeta

    def apply_to(self, draft: Draft) -> None:
        draft.seal_journal(self.journal)

    def to_json(self) -> dict[str, object]:
        return {"journal": self.journal.to_json()}

    @classmethod
    def from_json(cls, fields: Fields) -> SealJournal:
        return cls(JournalMeta.from_json(fields.take("journal")))


@dataclass(frozen=True, slots=True)
class FinishJournal:
    """All bytes of a sealed journal are on disk, and these: from now on anything else is corruption."""

    KIND: ClassVar[str] = "finish_journal"

    number: int
    size_bytes: int
    xxh128: str

    def apply_to(self, draft: Draft) -> None:
        draft.finish_journal(self.number, self.size_bytes, self.xxh128)

    def to_json(self) -> dict[str, object]:
        return {"number": self.number, "size_bytes": self.size_bytes, "xxh128": self.xxh128}

    @classmethod
    def from_json(cls, fields: Fields) -> FinishJournal:
        return cls(
            fields.integer("number", 1, MAX_FILE_NUMBER),
            fields.integer("size_bytes", 1, MAX_BYTES),
            fields.checksum("xxh128"),
        )


@dataclass(frozen=True, slots=True)
class RetireJournals:
    """Journals of smaller numbers than `floor` are not replayed again.

    Everything in them is in tables, or of partitions that were dropped.
    """

    KIND: ClassVar[str] = "retire_journals"

    floor: int

    def apply_to(self, draft: Draft) -> None:
        draft.retire_journals(self.floor)

    def to_json(self) -> dict[str, object]:
        return {"floor": self.floor}

    @classmethod
    def from_json(cls, fields: Fields) -> RetireJournals:
        return cls(fields.integer("floor", 1, MAX_FILE_NUMBER + 1))


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters are at least these. They never sink."""

    KIND: ClassVar[str] = "counters"

    next_file: int
    next_partition: int
    seqno: int

    def apply_to(self, draft: Draft) -> None:
        draft.raise_counters(next_file=self.next_file, next_partition=self.next_partition, seqno=self.seqno)

    def to_json(self) -> dict[str, object]:
        return {"next_file": self.next_file, "next_partition": self.next_partition, "seqno": self.seqno}

    @classmethod
    def from_json(cls, fields: Fields) -> Counters:
        return cls(
            fields.integer("next_file", 1, MAX_FILE_NUMBER + 1),
            fields.integer("next_partition", 1, MAX_PARTITION_ID + 1),
            fields.integer("seqno", 0, MAX_SEQNO),
        )


# The kinds, by name: each takes what it needs from the fields.
KINDS: dict[str, Callable[[Fields], Change]] = {
    CreatePartition.KIND: CreatePartition.from_json,
    DropPartition.KIND: DropPartition.from_json,
    ClearPartition.KIND: ClearPartition.from_json,
    ChangeTables.KIND: ChangeTables.from_json,
    SealJournal.KIND: SealJournal.from_json,
    FinishJournal.KIND: FinishJournal.from_json,
    RetireJournals.KIND: RetireJournals.from_json,
    Counters.KIND: Counters.from_json,
}


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes that become visible together: one record of the manifest."""

    changes: tuple[Change, ...]

    @classmethod
    def of(cls, *changes: Change) -> Edit:
        """The edit of these changes, applied in this order."""
        return cls(changes)

    def apply_to(self, version: Version) -> Version:
        """The version after all changes.

        `ValueError` if one of them does not fit, and then none has happened.
        """
        draft = Draft(version)
        for change in self.changes:
            change.apply_to(draft)
        return draft.freeze()

    def to_json(self) -> list[object]:
        return [{"change": change.KIND, **change.to_json()} for change in self.changes]

    @classmethod
    def from_json(cls, value: object) -> Edit:
        """What `to_json` wrote; anything else is a `CorruptionError`."""
        return cls(tuple(_change_from_json(change) for change in as_list(value, "an edit")))


def _change_from_json(value: object) -> Change:
    fields = Fields(value, "a change")
    kind = fields.text("change")
    if kind not in KINDS:
        raise newer_format(f"a change of kind {kind!r}")
    change = KINDS[kind](fields)
    fields.done()
    return change


def _pair(value: object, what: str) -> Fields:
    """A [level, table] pair as fields of these names."""
    level, table = as_list(value, what, 2)
    return Fields({"level": level, "table": table}, what)
