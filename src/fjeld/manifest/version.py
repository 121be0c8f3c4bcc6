"""The state of a whole keyspace, as one immutable value.

A version lists every file that makes the keyspace up. Nothing changes it: an edit makes another one, which
shares all that the edit leaves alone. Holding a version, and the live files of its numbers, is what a pin, a
view and a checkpoint do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from fjeld.errors import CorruptionError
from fjeld.manifest.fields import MAX_PARTITION_ID, MAX_SEQNO, Fields
from fjeld.manifest.framing import encode_json
from fjeld.manifest.names import MAX_FILE_NUMBER
from fjeld.manifest.state import BlobMeta, FileRecord, JournalMeta, Parent, PartitionState, TableMeta

if TYPE_CHECKING:
    from fjeld.manifest.edit import Edit

__all__ = ["FileRecord", "JournalMeta", "Parent", "PartitionState", "TableMeta", "Version"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The state of a keyspace. Any thread may hold and read it.

    Invariants (`check`): those of each partition (`fjeld.manifest.state`), and
      5. no number names two files, and all are below `next_file`;
      6. partitions have names of their own, and ids below `next_partition`;
      7. the sealed journals are in order and not below `journal_floor`;
      8. no flushed seqno, table or journal is beyond `seqno`.
    The counters never sink, so that no number, id or seqno is ever given twice.
    """

    id: str
    """The UUID of the keyspace. A checkpoint has one of its own."""
    parent: Parent | None = None
    partitions: Mapping[int, PartitionState] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    journals: tuple[JournalMeta, ...] = ()
    """The sealed ones, in order. The active journal is not listed: recovery finds it by its number."""
    journal_floor: int = 1
    """Journals of smaller numbers are retired: everything in them is in tables."""
    next_file: int = 1
    next_partition: int = 1
    seqno: int = 0
    """No file of the version holds a later one. The journals that recovery replays raise it further."""

    def __post_init__(self) -> None:
        if not isinstance(self.partitions, MappingProxyType):
            object.__setattr__(self, "partitions", MappingProxyType(dict(self.partitions)))

    def apply(self, edit: Edit) -> Version:
        """The version after the edit. Costs what the changed partitions cost; the rest is shared.

        An edit that does not fit this version is a `ValueError`.
        """
        return edit.apply_to(self)

    def with_journal(self, journal: JournalMeta) -> Version:
        """The version with one more sealed journal, the newest: what the edit SealJournal makes, in
        microseconds.
        """
        if self.journals and journal.number <= self.journals[-1].number:
            raise ValueError(f"journal {journal.number} is not newer than {self.journals[-1].number}")
        # Not dataclasses.replace: writers wait for this.
        return Version(
            id=self.id,
            parent=self.parent,
            partitions=self.partitions,
            journals=(*self.journals, journal),
            journal_floor=self.journal_floor,
            next_file=max(self.next_file, journal.number + 1),
            next_partition=self.next_partition,
            seqno=max(self.seqno, journal.last_seqno),
        )

    def partition(self, name: str) -> PartitionState | None:
        """The partition of this name, or None."""
        return next((state for state in self.partitions.values() if state.name == name), None)

    def tables(self) -> Iterator[TableMeta]:
        """The tables of all partitions."""
        return itertools.chain.from_iterable(state.tables() for state in self.partitions.values())

    def blobs(self) -> Iterator[BlobMeta]:
        """The blob files of all partitions."""
        return itertools.chain.from_iterable(state.blobs for state in self.partitions.values())

    def files(self) -> Iterator[FileRecord]:
        """Every file that the version is made of: tables, then blob files, then sealed journals."""
        yield from self.data_files()
        yield from self.journal_files()

    def data_files(self) -> Iterator[FileRecord]:
        """Tables, then blob files: whole and on disk as long as they are part of a version."""
        for table in self.tables():
            yield table.record
        for blob in self.blobs():
            yield FileRecord(blob.path, blob.size_bytes, blob.xxh128)

    def journal_files(self) -> Iterator[FileRecord]:
        """The sealed journals; of those that are not finished, neither size nor checksum is known."""
        for journal in self.journals:
            yield FileRecord(journal.path, journal.size_bytes, journal.xxh128)

    def check(self) -> None:
        """Assert the invariants."""
        for problem in self.problems():
            raise AssertionError(problem)

    def problems(self) -> Iterator[str]:
        """Which invariants do not hold: one line each, nothing for a sound version.

        Reads every table's entry.
        """
        for key, state in self.partitions.items():
            if key != state.id:
                yield f"partition {state.id} is listed as {key}"
            yield from state.problems()
        yield from self._problems_of_numbers()
        yield from self._problems_of_journals()
        yield from self._problems_of_seqnos()

    def _problems_of_numbers(self) -> Iterator[str]:
        seen: set[int] = set()
        tables = (table.number for table in self.tables())
        blobs = (blob.number for blob in self.blobs())
        for number in itertools.chain(tables, blobs, (journal.number for journal in self.journals)):
            if number in seen:
                yield f"number {number} names two files"
            if not 1 <= number < self.next_file:
                yield f"file {number} is not below the next number, {self.next_file}"
            seen.add(number)
        names: set[str] = set()
        for state in self.partitions.values():
            if state.name in names:
                yield f"two partitions have the name {state.name!r}"
            if not 1 <= state.id < self.next_partition:
                yield f"partition {state.id} is not below the next id, {self.next_partition}"
            names.add(state.name)

    def _problems_of_journals(self) -> Iterator[str]:
        for left, right in itertools.pairwise(self.journals):
            if left.number >= right.number or left.last_seqno > right.last_seqno:
                yield f"journals {left.number} and {right.number} are out of order"
        for journal in self.journals:
            if journal.number < self.journal_floor:
                yield f"journal {journal.number} is below the floor, {self.journal_floor}"
            if (journal.size_bytes is None) != (journal.xxh128 is None):
                yield f"journal {journal.number} is half finished"

    def _problems_of_seqnos(self) -> Iterator[str]:
        for state in self.partitions.values():
            if state.flushed_seqno > self.seqno:
                yield f"partition {state.id} is flushed beyond seqno {self.seqno}"
        for table in self.tables():
            if table.max_seqno > self.seqno:
                yield f"table {table.number} is beyond seqno {self.seqno}"
        for journal in self.journals:
            if journal.last_seqno > self.seqno:
                yield f"journal {journal.number} is beyond seqno {self.seqno}"

    def text(self) -> str:
        """The whole version as JSON: the first record of a manifest. About a microsecond a table."""
        head = {"id": self.id, "parent": None if self.parent is None else self.parent.to_json()}
        tail = {
            "journals": [journal.to_json() for journal in self.journals],
            "journal_floor": self.journal_floor,
            "next_file": self.next_file,
            "next_partition": self.next_partition,
            "seqno": self.seqno,
        }
        partitions = ",".join(state.text() for state in self.partitions.values())
        return f'{encode_json(head)[:-1]},"partitions":[{partitions}],{encode_json(tail)[1:]}'

    @classmethod
    def from_json(cls, value: object) -> Version:
        """What `text` wrote, decoded; anything else, and a version that is not sound, is a `CorruptionError`."""
        fields = Fields(value, "the version")
        parent = fields.take("parent")
        states = [PartitionState.from_json(state) for state in fields.list("partitions")]
        partitions = {state.id: state for state in states}
        if len(partitions) != len(states):
            raise CorruptionError("two partitions have one id")
        version = cls(
            id=fields.identity("id"),
            parent=None if parent is None else Parent.from_json(parent),
            partitions=MappingProxyType(partitions),
            journals=tuple(JournalMeta.from_json(journal) for journal in fields.list("journals")),
            journal_floor=fields.integer("journal_floor", 1, MAX_FILE_NUMBER + 1),
            next_file=fields.integer("next_file", 1, MAX_FILE_NUMBER + 1),
            next_partition=fields.integer("next_partition", 1, MAX_PARTITION_ID + 1),
            seqno=fields.integer("seqno", 0, MAX_SEQNO),
        )
        fields.done()
        for problem in version.problems():
            raise CorruptionError(problem)
        return version
