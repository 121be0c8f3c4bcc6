"""Bulk loading: sorted pairs become tables, which join a partition in one edit.

    build     reads the caller's pairs and writes tables; takes no lock that anybody waits for
    add       1. no compaction and no flush of the partition runs (both come to their end first)
              2. writers are held
              3. memtables that hold keys of the new tables are flushed
              4. the journal stays the same: no checkpoint begins
              5. a seqno is taken, and its record, with all before it, is brought to disk
              6. one edit puts the tables in their levels; with its version the seqno becomes visible

Why steps 2 to 6 are exclusive: the new entries are newer than all that was written before, so nothing older may lie
above them when they appear. What they cost writers is the sync of a journal and of the manifest, and the
flush of what was written since `build` flushed the same memtables. Nobody does I/O under the commit lock: writers
wait before it, without the GIL, and can be interrupted.

The seqno is not known while the tables are written, so their entries have none (0), and the manifest says which one
they have: `min_seqno` = `max_seqno`. A reader gives it to every entry, as it does for any table of one seqno.

Invariants:
  1. Of each key, what is newer lies above what is older. A table goes to the deepest level that it can be put in
     without meeting, in key range, a table of that level or of one above it; at step 6 everything in tables is
     older than it, and no memtable has a key of it.
  2. Every state has a seqno of its own: before step 6 readers, snapshots and checkpoints see the one before, from then
     on this one. An open snapshot has an older one, which hides the new entries.
  3. Seqnos in journals have no gaps: that of an ingestion is there as a record of no partition.
  4. The manifest states no seqno before it is on disk, and no journal retires with one that it does not state: where
     step 6 fails, the seqno is used up, and the next edit states it.

Considered and left:
  - A seqno taken when the build begins. What is written meanwhile is newer, and compaction may have carried it
    beneath any level that the tables fit in; snapshots opened meanwhile would have to keep what they saw.
  - A seqno taken far ahead. Journals would have gaps, and builds that are overtaken would have to be done again.
  - Holding the commit lock over the edit. Simpler by one mechanism, but writers and checkpoints would wait for
    a disk in a mutex, and could not be interrupted.
"""

from __future__ import annotations

import bisect
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from fjeld.errors import ClosedError
from fjeld.journal.rotation import JournalRotation
from fjeld.kernel import files
from fjeld.kernel.commit import REFUSE, Commit
from fjeld.kernel.ingest import memtable_meets, publish_seqno, reserve_seqno
from fjeld.kernel.sorted_pairs import SortedPairs
from fjeld.kernel.table_writer import TableWriter
from fjeld.maintenance.blob_output import BlobOutput
from fjeld.maintenance.flush import UNLIMITED_BYTES, Flusher
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.output import ZSTD_LEVEL, Written
from fjeld.manifest.edit import ChangeTables, Edit
from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from fjeld.options import CODECS, LEVELS, Leveled, PartitionOptions, PersistMode
from fjeld.sync_points import sync_point

if TYPE_CHECKING:  # it exists for type checkers only
    from fjeld.kernel.core import Buffer

__all__ = ["Ingestion", "Pairs", "place"]

Pairs: TypeAlias = "Iterable[tuple[Buffer, Buffer]]"

# The record of a seqno is 48 bytes.
RECORD_BYTES = 64


class Host(Protocol):
    """What an ingestion needs of the engine."""

    @property
    def is_refusing(self) -> bool: ...

    def check_partition(self, live: LivePartition) -> None: ...

    def now_ns(self) -> int: ...


class Ingestion:
    """Bulk loading of one keyspace. Any thread may call any method; several builds may run side by side.

    `_turn`: one ingestion at a time holds the writers. Lock order: compaction and flush lock of the partition,
    `_turn`, then those of the journals.
    """

    def __init__(
        self,
        store: VersionStore,
        commit: Commit,
        rotation: JournalRotation,
        flusher: Flusher,
        host: Host,
    ) -> None:
        self._store = store
        self._commit = commit
        self._rotation = rotation
        self._flusher = flusher
        self._host = host
        self._turn = threading.Lock()
        self._go = threading.Event()
        """Not set: writers wait."""
        self._go.set()
        self._builds_lock = threading.Lock()
        self._builds: set[_Build] = set()
        self._closed = False

    def wait(self) -> None:
        """Called by a writer that was refused: until writers are not held any more."""
        self._go.wait()

    def close(self) -> None:
        """No file is written from here on. Builds that are under way end with a ClosedError."""
        with self._builds_lock:
            self._closed = True
            builds = list(self._builds)
        for build in builds:
            with build.writing:
                build.closed = True

    # ---- build ----

    def build(self, live: LivePartition, pairs: Pairs) -> Built:
        """Tables of the pairs, and blob files, on disk, in no version yet. On any failure nothing is left behind."""
        build = _Build(self._store, live.options, self._host.now_ns())
        with self._builds_lock:
            build.closed = self._closed
            self._builds.add(build)
        try:
            built = build.run(pairs)
            # Most of what `add` would have to flush with writers waiting is flushed before.
            if built.tables and self._must_flush(live, built.tables):
                self._flusher.seal(live)
                self._flusher.flush(live)
            return built
        except BaseException:
            build.undo()
            raise
        finally:
            with self._builds_lock:
                self._builds.discard(build)

    def discard(self, built: Built) -> None:
        """Files that were built and are not wanted any more."""
        _delete(built.paths(self._store))

    # ---- add ----

    def add(self, live: LivePartition, built: Built) -> None:
        """Put the files into the partition. They belong to this call: where it fails they are deleted."""
        sync_point("ingestion:built")
        with ExitStack() as undo:
            undo.callback(_delete, built.paths(self._store))
            with live.jobs.alone(cancel=False):
                pass  # Compactions come to their end. One that begins before the next line is cancelled: it loses little.
            with live.alone():
                self._host.check_partition(live)
                with self._writers_held():
                    sync_point("ingestion:held")
                    if self._must_flush(live, built.tables):
                        self._flusher.seal(live)
                        self._flusher.flush_sealed(live)
                    self._rotation.make_room(RECORD_BYTES)
                    with self._rotation.still():
                        self._install(live, built, undo)

    @contextmanager
    def _writers_held(self) -> Iterator[None]:
        """No write comes between any two steps inside. Those who try wait in `wait`, before the commit lock."""
        with self._turn:
            self._go.clear()
            try:
                with self._commit:  # who has it is done; who comes later sees the refusal
                    self._commit.attend(REFUSE, True)
                yield
            finally:
                if not self._host.is_refusing:
                    self._commit.attend(REFUSE, False)
                if self._host.is_refusing:  # since this very moment
                    self._commit.attend(REFUSE, True)
                self._go.set()

    def _must_flush(self, live: LivePartition, tables: Sequence[TableMeta]) -> bool:
        """Do memtables hold what must not lie above the tables?"""
        memtables = [memtable for memtable in live.core.current_view().memtables if memtable.entries]
        if not memtables:
            return False
        state = self._state(live)
        # In level 0 tables follow each other by age: no memtable may be both older and newer than a table there.
        return any(
            place(table, state) == 0
            or any(memtable_meets(memtable, table.smallest, table.largest) for memtable in memtables)
            for table in tables
        )

    def _state(self, live: LivePartition) -> PartitionState:
        try:
            return self._store.version.partitions[live.id]
        except KeyError:
            raise ClosedError(f"the partition {live.name!r} was dropped") from None

    def _install(self, live: LivePartition, built: Built, undo: ExitStack) -> None:
        """Steps 5 and 6. Requires: as the module says."""
        seqno = reserve_seqno(self._commit)
        assert seqno, "room was made for its record, and nobody else writes"

        def install(version: Version) -> None:
            live.swap(self._store, version.partitions[live.id])
            publish_seqno(self._commit, seqno)

        try:
            sync_point("ingestion:reserved")
            self._rotation.persist(PersistMode.SYNC_DATA, seqno)
            self._store.note_durable(seqno)
            state = self._state(live)
            added = [
                (place(table, state), replace(table, min_seqno=seqno, max_seqno=seqno))
                for table in built.tables
            ]
            undo.pop_all()  # from here on the files belong to the store
            self._store.edit(
                Edit.of(ChangeTables(live.id, added=tuple(added), blobs=built.blobs)),
                seqno=seqno,
                created=built.paths(self._store),
                install=install,
            )
        finally:
            publish_seqno(self._commit, seqno)  # used up in any case: what is written next comes behind it
        sync_point("ingestion:installed")


@dataclass(frozen=True, slots=True)
class Built(Written):
    """What `build` has made, for `add`."""

    @property
    def entries(self) -> int:
        return sum(table.entries for table in self.tables)


class _Build:
    """Tables being written from one iterable. For one thread, but for `closed`, which `writing` guards.

    `writing` is held while files are touched, and never while the caller's code runs.
    """

    def __init__(self, store: VersionStore, options: PartitionOptions, created_ns: int) -> None:
        self.writing = threading.Lock()
        self.closed = False
        self._store = store
        self._options = options
        self._created_ns = created_ns
        self._level = LEVELS - 1 if isinstance(options.compaction, Leveled) else 0
        self._table_bytes = _table_bytes(options)
        self._tables: list[TableMeta] = []
        self._blobs = BlobOutput(store, options, created_ns=created_ns)
        self._writer: TableWriter | None = None
        self._number = 0
        """Of the writer's table."""
        self._paths: list[str] = []
        """Of all files that were begun."""
        self._pid = os.getpid()

    def run(self, pairs: Pairs) -> Built:
        chunk = SortedPairs(pairs)
        while chunk.fill():
            with self.writing:
                self._check_open()
                self._write(chunk)
            sync_point("ingestion:chunk")
        with self.writing:
            self._check_open()
            self._finish_table()
            if self._tables:
                files.sync_directory(self._store.tables_directory)
            self._blobs.finish()
        return Built(tuple(self._tables), self._blobs.metas)

    def undo(self) -> None:
        """Delete what was written."""
        if os.getpid() != self._pid:
            return  # forked by the caller's code: the files are the parent's
        if self._writer is not None:
            with suppress(OSError):
                self._writer.abandon()
        _delete(self._paths)
        self._blobs.undo()

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError("the keyspace was closed: open it again")

    def _write(self, chunk: SortedPairs) -> None:
        while True:
            writer = self._writer or self._begin_table()
            if not chunk.write(writer, self._table_bytes, self._blobs.sink):
                return
            self._finish_table()

    def _begin_table(self) -> TableWriter:
        self._number = self._store.next_file()
        path = self._store.table_path(self._number)
        self._paths.append(path)
        self._writer = TableWriter(
            path,
            keyspace_id=self._store.version.id,
            number=self._number,
            block_bytes=self._options.block_bytes,
            filter_bits=self._options.filter_bits,
            codec=CODECS.index(self._options.codec(self._level)),
            level=ZSTD_LEVEL,
        )
        return self._writer

    def _finish_table(self) -> None:
        if self._writer is not None:
            facts = self._writer.finish()
            self._writer = None
            self._tables.append(TableMeta(number=self._number, created_ns=self._created_ns, **facts))


def place(table: TableMeta, state: PartitionState) -> int:
    """The deepest level that a table newer than all others can be put in: it meets none there, nor above."""
    level = 0
    if isinstance(state.options.compaction, Leveled) and not _meets(table, state.levels[0]):
        while level + 1 < LEVELS and not _meets_run(table, state.levels[level + 1]):
            level += 1
    return level


def _meets(table: TableMeta, others: Sequence[TableMeta]) -> bool:
    return any(other.overlaps(table.smallest, table.largest) for other in others)


def _meets_run(table: TableMeta, run: Sequence[TableMeta]) -> bool:
    """As _meets, of tables that are sorted and disjoint."""
    first = bisect.bisect_left(run, table.smallest, key=lambda other: other.largest)
    return first < len(run) and run[first].smallest <= table.largest


def _table_bytes(options: PartitionOptions) -> int:
    """The size of one table. Strategies without levels have tables that are whole runs."""
    return int(getattr(options.compaction, "table_bytes", UNLIMITED_BYTES))


def _delete(paths: Sequence[str]) -> None:
    for path in paths:
        with suppress(OSError):  # what stays is deleted by the next recovery
            files.unlink(path)
