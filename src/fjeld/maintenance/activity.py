"""What background work has done since the keyspace was opened: jobs, bytes, seconds. For the statistics."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.options import LEVELS

__all__ = ["Activity", "Work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all jobs of one kind have done: of tables, in bytes of files."""

    jobs: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            jobs=self.jobs + other.jobs,
            read_bytes=self.read_bytes + other.read_bytes,
            written_bytes=self.written_bytes + other.written_bytes,
            seconds=self.seconds + other.seconds,
        )


class Sized(Protocol):
    """A file."""

    @property
    def size_bytes(self) -> int: ...


class Activity:
    """Sums over the jobs of one partition, and through `total` over those of the whole keyspace: that one
    keeps what partitions have done that were dropped since.

    A job is recorded when its tables are part of the version; one that failed or was cancelled is not.
    Thread safety: any thread may call any method; `_lock` guards the sums, and is a leaf.
    """

    def __init__(self, total: Activity | None = None) -> None:
        self._total = total
        self._lock = threading.Lock()
        self._flushes = self._compactions = self._ingestions = Work()
        self._read_bytes = [0] * LEVELS
        self._written_bytes = [0] * LEVELS
        self._moved_bytes = 0

    def flushed(self, tables: Iterable[Sized], seconds: float) -> None:
        """A flush made these files of memtables."""
        self._add_flush(Work(jobs=1, written_bytes=_bytes(tables), seconds=seconds))

    def ingested(self, tables: Iterable[Sized], seconds: float) -> None:
        """Users handed in sorted entries, which became these files."""
        self._add_ingestion(Work(jobs=1, written_bytes=_bytes(tables), seconds=seconds))

    def compacted(
        self,
        state: PartitionState,
        inputs: Collection[tuple[int, int]],
        output_level: int,
        tables: Iterable[TableMeta],
        seconds: float,
        *,
        moved_bytes: int = 0,
        blob_bytes: int = 0,
    ) -> None:
        """A merge of `inputs`, (level, number) of tables of the state, made these tables, and blob files.

        moved_bytes: what it copied from other blob files.
        """
        chosen = set(inputs)
        read = {
            level: _bytes(table for table in found if (level, table.number) in chosen)
            for level, found in enumerate(state.levels)
        }
        self._add_compaction(read, output_level, _bytes(tables), seconds, moved_bytes, blob_bytes)

    def _add_flush(self, work: Work) -> None:
        with self._lock:
            self._flushes += work
        if self._total is not None:
            self._total._add_flush(work)

    def _add_ingestion(self, work: Work) -> None:
        with self._lock:
            self._ingestions += work
        if self._total is not None:
            self._total._add_ingestion(work)

    def _add_compaction(
        self,
        read: Mapping[int, int],
        output_level: int,
        written_bytes: int,
        seconds: float,
        moved_bytes: int,
        blob_bytes: int,
    ) -> None:
        work = Work(
            jobs=1,
            read_bytes=sum(read.values()) + moved_bytes,
            written_bytes=written_bytes + blob_bytes,
            seconds=seconds,
        )
        with self._lock:
            self._compactions += work
            for level, read_bytes in read.items():
                self._read_bytes[level] += read_bytes
            self._written_bytes[output_level] += written_bytes
            self._moved_bytes += moved_bytes
        if self._total is not None:
            self._total._add_compaction(read, output_level, written_bytes, seconds, moved_bytes, blob_bytes)

    # ---- the sums ----

    @property
    def flushes(self) -> Work:
        """Tables made of memtables. They read no file."""
        return self._flushes

    @property
    def compactions(self) -> Work:
        """Merges of tables. A table that only went down a level was neither read nor written."""
        return self._compactions

    @property
    def ingestions(self) -> Work:
        """Tables made of what users handed in sorted."""
        return self._ingestions

    def compaction_bytes(self, level: int) -> tuple[int, int]:
        """What compaction has read from the level, and written to it."""
        return self._read_bytes[level], self._written_bytes[level]

    @property
    def moved_bytes(self) -> int:
        """Of the values that were copied from one blob file to another."""
        return self._moved_bytes


def _bytes(tables: Iterable[Sized]) -> int:
    return sum(table.size_bytes for table in tables)
