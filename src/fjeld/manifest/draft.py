"""The working copy of a version while one edit is applied to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from fjeld.manifest.blob_meta import BlobMeta, live_blobs
from fjeld.manifest.state import NO_TABLES, JournalMeta, Levels, PartitionState, TableMeta
from fjeld.manifest.version import Version
from fjeld.options import LEVELS

__all__ = ["Draft"]

T = TypeVar("T")


class Draft:
    """Owns what it is about to become; lives inside one call.

    Its methods refuse with `ValueError` what does not fit. Counters only rise, whatever an edit says: that is
    what keeps numbers, ids and seqnos from being given twice.
    """

    __slots__ = ("_base", "_journals", "_partitions", "journal_floor", "next_file", "next_partition", "seqno")

    def __init__(self, version: Version) -> None:
        self._base = version
        # Copied when first changed: what an edit leaves alone is the same object in the version after it.
        self._partitions: dict[int, PartitionState] | None = None
        self._journals: tuple[JournalMeta, ...] = version.journals
        self.journal_floor = version.journal_floor
        self.next_file = version.next_file
        self.next_partition = version.next_partition
        self.seqno = version.seqno

    def freeze(self) -> Version:
        """The version that the draft has become."""
        partitions = self._base.partitions if self._partitions is None else MappingProxyType(self._partitions)
        return dataclasses.replace(
            self._base,
            partitions=partitions,
            journals=self._journals,
            journal_floor=self.journal_floor,
            next_file=self.next_file,
            next_partition=self.next_partition,
            seqno=self.seqno,
        )

    def _writable(self) -> dict[int, PartitionState]:
        if self._partitions is None:
            self._partitions = dict(self._base.partitions)
        return self._partitions

    @property
    def _readable(self) -> Mapping[int, PartitionState]:
        return self._base.partitions if self._partitions is None else self._partitions

    def raise_counters(self, *, next_file: int = 1, next_partition: int = 1, seqno: int = 0) -> None:
        """Lift the counters to at least these."""
        self.next_file = max(self.next_file, next_file)
        self.next_partition = max(self.next_partition, next_partition)
        self.seqno = max(self.seqno, seqno)

    def partition(self, partition: int) -> PartitionState:
        """The partition of this id."""
        try:
            return self._readable[partition]
        except KeyError:
            raise ValueError(f"there is no partition {partition}") from None

    def create_partition(self, state: PartitionState) -> None:
        """Add a partition; its id must be new for ever, its name new among the living."""
        if state.id < self.next_partition:
            raise ValueError(f"partition id {state.id} was given before")
        if any(other.name == state.name for other in self._readable.values()):
            raise ValueError(f"partition {state.name!r} is there already")
        self._writable()[state.id] = state
        self.raise_counters(next_partition=state.id + 1)

    def drop_partition(self, partition: int) -> None:
        """Forget a partition and its tables."""
        del self._writable()[self.partition(partition).id]

    def change_tables(
        self,
        partition: int,
        *,
        added: Iterable[tuple[int, TableMeta]],
        removed: Iterable[tuple[int, int]],
        flushed_seqno: int | None,
        blobs: tuple[BlobMeta, ...] = (),
    ) -> None:
        """Take tables, (level, number), away from a partition and give it others, (level, table).

        `blobs`: blob files that come with them. Those that were there and that no table points into any more go.

        `flushed_seqno`: the seqno up to which the partition's writes are in tables now; None: as before.
        """
        state = self.partition(partition)
        levels = dict(enumerate(state.levels))
        for level, numbers in _by_level(removed).items():
            levels[level] = _without(levels[level], set(numbers), level)
        arrivals = _by_level(added)
        present = {table.number for tables in levels.values() for table in tables}
        for level, tables in arrivals.items():
            for table in tables:
                if table.number in present:
                    raise ValueError(f"table {table.number} is in partition {partition} already")
                present.add(table.number)
                self.raise_counters(next_file=table.number + 1, seqno=table.max_seqno)
            levels[level] = _sorted_level((*levels[level], *tables), level)
        there = {blob.number for blob in state.blobs}
        for blob in blobs:
            if blob.number in there:
                raise ValueError(f"blob file {blob.number} is in partition {partition} already")
            self.raise_counters(next_file=blob.number + 1)
        kept = live_blobs((table for tables in levels.values() for table in tables), state.blobs)
        every = tuple(sorted((*kept, *blobs), key=lambda blob: blob.number))
        self._replace(state, tuple(levels.values()), every, flushed_seqno)

    def clear_partition(self, partition: int, flushed_seqno: int) -> None:
        """Take all files from a partition; writes up to `flushed_seqno` are gone, also from its journals."""
        self._replace(self.partition(partition), NO_TABLES, (), flushed_seqno)

    def _replace(
        self, state: PartitionState, levels: Levels, blobs: tuple[BlobMeta, ...], flushed_seqno: int | None
    ) -> None:
        if flushed_seqno is None:
            flushed_seqno = state.flushed_seqno
        elif flushed_seqno < state.flushed_seqno:
            raise ValueError(
                f"partition {state.id} is flushed up to {state.flushed_seqno}, not {flushed_seqno}"
            )
        changed = dataclasses.replace(state, levels=levels, blobs=blobs, flushed_seqno=flushed_seqno)
        for problem in changed.problems():
            raise ValueError(problem)
        self._writable()[state.id] = changed
        self.raise_counters(seqno=flushed_seqno)

    def seal_journal(self, journal: JournalMeta) -> None:
        """List a journal; it must be the newest."""
        newest = self._journals[-1].number if self._journals else self.journal_floor - 1
        if journal.number <= newest:
            raise ValueError(f"journal {journal.number} is not newer than {newest}")
        self._journals = (*self._journals, journal)
        self.raise_counters(next_file=journal.number + 1, seqno=journal.last_seqno)

    def finish_journal(self, number: int, size_bytes: int, xxh128: str) -> None:
        """Give a listed journal its size and checksum, once."""
        journal = next((journal for journal in self._journals if journal.number == number), None)
        if journal is None:
            raise ValueError(f"journal {number} is not sealed")
        finished = dataclasses.replace(journal, size_bytes=size_bytes, xxh128=xxh128)
        if journal.finished and journal != finished:
            raise ValueError(f"journal {number} is finished, with other bytes")
        self._journals = tuple(finished if other is journal else other for other in self._journals)

    def retire_journals(self, floor: int) -> None:
        """Forget the journals below `floor`. The floor never sinks: of two flushes the later may have looked
        first.
        """
        self.journal_floor = floor = max(self.journal_floor, floor)
        if self._journals and self._journals[0].number < floor:
            self._journals = tuple(journal for journal in self._journals if journal.number >= floor)
        self.raise_counters(next_file=floor)


def _by_level(pairs: Iterable[tuple[int, T]]) -> dict[int, list[T]]:
    """The second halves, by level."""
    levels: dict[int, list[T]] = {}
    for level, item in pairs:
        if not 0 <= level < LEVELS:
            raise ValueError(f"there is no level {level}")
        levels.setdefault(level, []).append(item)
    return levels


def _without(tables: tuple[TableMeta, ...], numbers: set[int], level: int) -> tuple[TableMeta, ...]:
    """The tables of a level but those of these numbers, which must all be there."""
    missing = numbers - {table.number for table in tables}
    if missing:
        raise ValueError(f"table {min(missing)} is not in level {level}")
    return tuple(table for table in tables if table.number not in numbers)


def _sorted_level(tables: tuple[TableMeta, ...], level: int) -> tuple[TableMeta, ...]:
    """Level 0 newest first, the others by smallest key."""
    if level == 0:
        return tuple(sorted(tables, key=lambda table: (table.max_seqno, table.number), reverse=True))
    return tuple(sorted(tables, key=lambda table: table.smallest))
