"""Extraction: what a cut with memory holds of a partition, written as tables into another folder.

Three kinds of portions, each drained by one thread without the GIL:

    memory      the memtables alone: a table of level 0, as a flush would write it
    crossing    one table that reaches beyond a range of keys: what is inside, to the level it is on
    merged      everything, memory and tables, as one run without tombstones (in pieces, where that is large)

Invariants:
  1. Nothing beyond the seqno of the cut is written: the active memtable takes writes all the while.
  2. The source does not notice: nothing is sealed, flushed or compacted for it, and no filter is asked.
  3. The state that `assembled` makes holds the manifest's invariants: level 0 newest first, deeper levels in order.

Large values (`kv_separation`): of tables that are moved as they are, the blob files are moved too, whole, and what of them
no moved table points to is garbage in the copy. Where tables are written anew, the values that stay are copied: a
backup of a range has none from outside in what it wrote, a merged one has no garbage.

Alternative: to seal the memtables at the cut and have them written by a flush. It makes small tables in the
source, which are compacted later: a backup would set off work in the keyspace that it only wanted to read.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable

from fjeld.kernel.compaction import Compaction
from fjeld.kernel.view import View
from fjeld.maintenance.blob_output import BlobOutput
from fjeld.maintenance.output import write_tables
from fjeld.maintenance.strategies import Merge, major
from fjeld.maintenance.strategies.pieces import piece_keys
from fjeld.manifest import names
from fjeld.manifest.blob_meta import BlobMeta, live_blobs
from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.options import LEVELS, Fifo, Leveled

__all__ = ["KeyRange", "Portion", "StagedFolder", "assembled", "crossing", "in_memory", "merged"]

KeyRange = tuple[bytes | None, bytes | None]
"""Keys from the first up to, not including, the second; None: from or to the end."""

UNLIMITED_BYTES = 1 << 62
MAX_PIECES = 16
"""Two workers end at about the same time with that many; each ends with a table that is not full."""


class StagedFolder:
    """Gives numbers and paths to the files of a keyspace that is being made. Any thread."""

    def __init__(self, path: str, keyspace_id: str, next_file: int) -> None:
        self.keyspace_id = keyspace_id
        self.tables_directory = os.path.join(path, names.TABLES_DIRECTORY)
        self.blobs_directory = os.path.join(path, names.BLOBS_DIRECTORY)
        self._path = path
        self._lock = threading.Lock()
        self._next_file = next_file

    def next_file(self) -> int:
        """A number that nobody has had."""
        with self._lock:
            number = self._next_file
            self._next_file += 1
            return number

    def table_path(self, number: int) -> str:
        return os.path.join(self._path, names.table_path(number))

    def blob_path(self, number: int) -> str:
        return os.path.join(self._path, names.blob_path(number))


class Portion:
    """Tables to be written. `work` once, by one thread; `cancel` and `done_bytes` from any."""

    def __init__(
        self,
        folder: StagedFolder,
        state: PartitionState,
        inputs: View,
        *,
        seqno: int,
        keys: KeyRange,
        level: int,
        table_bytes: int,
        drop_tombstones: bool,
        created_ns: int,
        size_bytes: int,
        entries: int,
        moved: Iterable[int] = (),
    ) -> None:
        """size_bytes, entries: about as much is read. moved: blob files whose values are copied, not linked."""
        self.partition = state.id
        self.level = level
        self.size_bytes = size_bytes
        self.tables: list[TableMeta] = []
        """What was written, once `work` has returned."""
        self._folder = folder
        self._options = state.options
        self._table_bytes = table_bytes
        self._created_ns = created_ns
        self._entries = max(1, entries)
        self._blobs = BlobOutput(folder, state.options, created_ns=created_ns, moved=tuple(moved))
        start, stop = keys
        self._compaction: Compaction | None = Compaction(
            inputs, [], drop_tombstones, start=start, stop=stop, max_seqno=seqno, sink=self._blobs.sink
        )

    def work(self) -> None:
        """Write them; on any failure none is left. CancelledError where it was cancelled."""
        compaction = self._compaction
        assert compaction is not None, "a portion is written once"
        self.tables = write_tables(
            self._folder,
            self._options,
            compaction,
            level=self.level,
            table_bytes=self._table_bytes,
            created_ns=self._created_ns,
            blobs=self._blobs,
        )
        self._compaction = None  # files and memtables are let go

    @property
    def blobs(self) -> tuple[BlobMeta, ...]:
        """The blob files that were written with them."""
        return self._blobs.metas

    @property
    def written_bytes(self) -> int:
        """Of all files that were written."""
        tables = sum(table.size_bytes for table in self.tables)
        return tables + sum(blob.size_bytes for blob in self.blobs)

    def cancel(self) -> None:
        compaction = self._compaction
        if compaction is not None:
            compaction.cancel()

    def done_bytes(self) -> int:
        """About as many of `size_bytes` are read."""
        compaction = self._compaction
        if compaction is None:
            return self.size_bytes
        return min(self.size_bytes, self.size_bytes * compaction.entries_read // self._entries)


def in_memory(
    folder: StagedFolder, state: PartitionState, view: View, *, seqno: int, keys: KeyRange, created_ns: int
) -> list[Portion]:
    """The memtables of a partition, for level 0; nothing where they are empty. state: what goes beneath."""
    memtables = tuple(found for found in view.memtables if found.entries and found.first_seqno <= seqno)
    if not memtables:
        return []
    return [
        Portion(
            folder,
            state,
            View(memtables, ()),
            seqno=seqno,
            keys=keys,
            level=0,
            table_bytes=UNLIMITED_BYTES,
            drop_tombstones=not any(state.levels),
            created_ns=created_ns,
            size_bytes=sum(memtable.memory_bytes + memtable.lent_bytes for memtable in memtables),
            entries=sum(memtable.entries for memtable in memtables),
        )
    ]


def crossing(
    folder: StagedFolder,
    state: PartitionState,
    view: View,
    tables: Iterable[tuple[int, TableMeta]],
    *,
    seqno: int,
    keys: KeyRange,
) -> list[Portion]:
    """Each of the tables (with its level) by itself. Tombstones stay: what they hide may lie beneath. Of values in blob
    files those inside the range are copied.
    """
    live = {found.meta.number: found for level in view.levels for found in level}  # type: ignore[attr-defined]
    return [
        Portion(
            folder,
            state,
            View((), ((live[table.number],),), view.blobs),
            seqno=seqno,
            keys=keys,
            level=level,
            table_bytes=UNLIMITED_BYTES,
            drop_tombstones=False,
            created_ns=table.created_ns,
            size_bytes=table.held_bytes,
            entries=table.entries,
            moved=(number for number, _, _ in table.blobs),
        )
        for level, table in tables
    ]


def can_merge(state: PartitionState) -> bool:
    """First-in-first-out partitions drop whole tables by their age: merged, all would go at once."""
    return not isinstance(state.options.compaction, Fifo)


def merged(
    folder: StagedFolder, state: PartitionState, view: View, *, seqno: int, keys: KeyRange, created_ns: int
) -> list[Portion]:
    """Everything that the partition holds, as one run. Requires: `can_merge`."""
    tables = list(state.tables())
    memtables = [found for found in view.memtables if found.entries and found.first_seqno <= seqno]
    if not tables and not memtables:
        return []
    choice = major(state)
    level, table_bytes = 0, UNLIMITED_BYTES
    if isinstance(choice, Merge):
        level, table_bytes = choice.output_level, choice.table_bytes
    elif isinstance(state.options.compaction, Leveled):
        level, table_bytes = 1, state.options.compaction.table_bytes
    ranges = _pieces(tables, table_bytes, keys) if level > 0 else [keys]
    return [
        Portion(
            folder,
            state,
            view,
            seqno=seqno,
            keys=piece,
            level=level,
            table_bytes=table_bytes,
            drop_tombstones=True,
            created_ns=created_ns if memtables else max(table.created_ns for table in tables),
            size_bytes=(
                sum(table.held_bytes for table in tables)
                + sum(found.memory_bytes + found.lent_bytes for found in memtables)
            )
            // len(ranges),
            entries=(sum(table.entries for table in tables) + sum(found.entries for found in memtables))
            // len(ranges),
            moved=(blob.number for blob in state.blobs),
        )
        for piece in ranges
    ]


def _pieces(tables: list[TableMeta], table_bytes: int, keys: KeyRange) -> list[KeyRange]:
    """The range, cut where tables begin into pieces of a table or more."""
    start, stop = keys
    inside = [
        table
        for table in tables
        if (stop is None or table.smallest < stop) and (start is None or table.largest >= start)
    ]
    cuts = [
        key
        for key in piece_keys(inside, max(1, table_bytes // 4), MAX_PIECES)
        if (start is None or start < key) and (stop is None or key < stop)
    ]
    return list(itertools.pairwise((start, *cuts, stop)))


def assembled(
    state: PartitionState,
    added: Iterable[tuple[int, TableMeta]],
    blobs: Iterable[BlobMeta] = (),
    *,
    seqno: int,
) -> PartitionState:
    """The partition with these tables (each with its level) besides those it has; all up to `seqno` is in them.

    Those added to level 0 are put where their seqnos belong.
    """
    levels = [list(tables) for tables in state.levels]
    assert len(levels) == LEVELS
    for level, table in added:
        levels[level].insert(0, table)
    levels[0].sort(key=lambda table: -table.max_seqno)
    for tables in levels[1:]:
        tables.sort(key=lambda table: table.smallest)
    return PartitionState(
        id=state.id,
        name=state.name,
        options=state.options,
        flushed_seqno=seqno,
        levels=tuple(map(tuple, levels)),
        blobs=live_blobs(itertools.chain.from_iterable(levels), (*state.blobs, *blobs)),
    )
