"""Compaction: the strategy chooses, this carries out.

A large merge is cut into ranges of keys. The thread that began it does one after the other, and workers that
have nothing else to do help; one edit installs what all of them made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, pairwise

from fjeld.errors import CancelledError
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.view import View
from fjeld.maintenance.blob_output import BlobOutput
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.open_snapshots import OpenSnapshots
from fjeld.maintenance.output import Written, write_tables
from fjeld.maintenance.running_jobs import RunningJob
from fjeld.maintenance.shared_work import SharedWork
from fjeld.maintenance.strategies import Drop, Job, Merge, Move, Nothing, choose, due_ns, major
from fjeld.maintenance.strategies.blobs import collect, wasteful
from fjeld.maintenance.strategies.pieces import piece_keys
from fjeld.manifest.edit import ChangeTables, Edit
from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from fjeld.options import LEVELS
from fjeld.sync_points import sync_point

__all__ = ["Compactor"]

Range = tuple[bytes | None, bytes | None]
"""Keys from the first up to, not including, the second; None: from or to the end."""


class Compactor:
    """Compacts partitions of one keyspace. Safe from any thread.

    max_pieces: ranges that a merge is cut into at most. help_wanted(): called when one was cut, from the
    thread that has begun it; workers then ask for `next_piece`. keep_views(partition): called under the
    install lock before tables go with what is in them; open snapshots keep the view they have.
    """

    def __init__(
        self,
        store: VersionStore,
        snapshots: OpenSnapshots,
        *,
        max_pieces: int,
        now_ns: Callable[[], int],
        help_wanted: Callable[[], None],
        keep_views: Callable[[LivePartition], None],
    ) -> None:
        self._store = store
        self._snapshots = snapshots
        self._max_pieces = max_pieces
        self._now_ns = now_ns
        self._help_wanted = help_wanted
        self._keep_views = keep_views
        self._lock = threading.Lock()
        self._shared: list[SharedWork[Written]] = []
        """Merges in pieces that go on. Guarded by `_lock`."""

    # ---- what to do ----

    def wanted(self, partition: LivePartition) -> bool:
        """Would the strategy do anything if nothing else ran?"""
        state = self._store.version.partitions.get(partition.id)
        return state is not None and not isinstance(choose(state, (), self._now_ns()), Nothing)

    def start(self, partition: LivePartition) -> RunningJob | None:
        """Begin what the strategy chooses beside the jobs that run. Who gets a job must carry it out."""

        def chosen(running: tuple[Job, ...]) -> Job | Nothing:
            state = self._store.version.partitions.get(partition.id)
            return Nothing() if state is None else choose(state, running, self._now_ns())

        return partition.jobs.start(chosen)

    def due_seconds(self, partition: LivePartition) -> float | None:
        """In how many seconds there may be something to do although nothing is written; None: never."""
        state = self._store.version.partitions.get(partition.id)
        due = None if state is None else due_ns(state)
        return None if due is None else max(0, due - self._now_ns()) / 1e9

    def next_piece(self) -> Callable[[], object] | None:
        """A piece of a merge that goes on, for whoever has time."""
        with self._lock:
            return next((work.help for work in self._shared if work.wants_help), None)

    # ---- doing it ----

    def compact_once(self, partition: LivePartition) -> bool:
        """Carry out one choice of the strategy; False where there is nothing to do."""
        started = self.start(partition)
        if started is None:
            return False
        self.carry_out(partition, started)
        return True

    def compact_all(self, partition: LivePartition) -> None:
        """Merge everything into one run. Waits for the compactions that run."""

        def chosen() -> Job | Nothing:
            state = self._store.version.partitions.get(partition.id)
            return Nothing() if state is None else major(state)

        with partition.jobs.alone(cancel=False):
            started = partition.jobs.start_alone(chosen)
            if started is not None:
                self.carry_out(partition, started)
            self._collect_all(partition)

    def _collect_all(self, partition: LivePartition) -> None:
        """What that has made garbage in blob files, and what was: no file keeps any. Requires: alone."""

        def chosen() -> Job | Nothing:
            state = self._store.version.partitions.get(partition.id)
            return Nothing() if state is None else collect(state, (), wasteful(state))

        for _ in range(LEVELS):  # a filter that goes on refusing would make garbage for ever
            started = partition.jobs.start_alone(chosen)
            if started is None:
                return
            self.carry_out(partition, started)

    def carry_out(self, partition: LivePartition, running: RunningJob) -> None:
        """Do a job that was started; it has ended when this returns or raises."""
        try:
            state = self._store.version.partitions.get(partition.id)
            if state is None or partition.core.is_refused:  # dropped, or closed just before it was cancelled
                raise CancelledError("the compaction was cancelled")
            if isinstance(running.job, Merge):
                self._merge(partition, state, running, running.job)
            elif isinstance(running.job, Move):
                self._move(partition, state, running.job)
            else:
                self._drop(partition, running.job)
        finally:
            partition.jobs.end(running)

    def _move(self, partition: LivePartition, state: PartitionState, move: Move) -> None:
        added = tuple((move.output_level, table) for table in _tables(state, move))
        self._install(partition, ChangeTables(partition.id, added=added, removed=move.inputs))

    def _drop(self, partition: LivePartition, drop: Drop) -> None:
        self._install(partition, ChangeTables(partition.id, removed=drop.inputs), keep=True)

    def _merge(
        self, partition: LivePartition, state: PartitionState, running: RunningJob, merge: Merge
    ) -> None:
        started = time.monotonic()
        inputs = self._inputs(state, merge)
        created_ns = max(table.created_ns for table in _tables(state, merge))
        # The inputs are fixed: now ask, once for all pieces, what must stay readable.
        seqnos = self._snapshots.seqnos()

        refused: list[int] = []

        def merge_range(keys: Range) -> Written:
            start, stop = keys
            splits = tuple(
                key
                for key in merge.split_keys
                if (start is None or start < key) and (stop is None or key < stop)
            )
            blobs = BlobOutput(self._store, partition.options, created_ns=created_ns, moved=merge.moved)
            compaction = Compaction(
                inputs,
                seqnos,
                merge.drop_tombstones,
                start=start,
                stop=stop,
                splits=splits,
                filter=partition.filter,
                sink=blobs.sink,
            )
            with running.running(compaction):
                sync_point("compaction:start")
                tables = write_tables(
                    self._store,
                    partition.options,
                    compaction,
                    level=merge.output_level,
                    table_bytes=merge.table_bytes,
                    created_ns=created_ns,
                    blobs=blobs,
                )
            refused.append(compaction.entries_refused)
            return Written(tuple(tables), blobs.metas, blobs.moved_bytes)

        ranges = self._ranges(state, merge)
        written = self._together([partial(merge_range, keys) for keys in ranges], running)
        sync_point("compaction:written")
        change = ChangeTables(
            partition.id,
            added=tuple((merge.output_level, table) for table in written.tables),
            removed=merge.inputs,
            blobs=written.blobs,
        )
        # A snapshot that was opened meanwhile sees what the filter has refused.
        self._install(partition, change, written.paths(self._store), keep=any(refused))
        partition.activity.compacted(
            state,
            merge.inputs,
            merge.output_level,
            written.tables,
            time.monotonic() - started,
            moved_bytes=written.moved_bytes,
            blob_bytes=sum(blob.size_bytes for blob in written.blobs),
        )
        sync_point("compaction:installed")

    def _inputs(self, state: PartitionState, merge: Merge) -> View:
        """A view of the inputs alone: level 0 as separate runs, each deeper level as one."""
        chosen = set(merge.inputs)
        with self._store.install_lock:
            levels = tuple(
                tuple(
                    self._store.live_table(table.number)
                    for table in tables
                    if (level, table.number) in chosen
                )
                for level, tables in enumerate(state.levels)
            )
            needed = {number for table in _tables(state, merge) for number, _, _ in table.blobs}
            blobs = tuple(self._store.live_blob(number) for number in sorted(needed))
        return View((), levels, blobs)

    def _ranges(self, state: PartitionState, merge: Merge) -> list[Range]:
        """The ranges to merge, ascending. A run of level 0 is one table: it cannot be made in pieces."""
        keys: tuple[bytes, ...] = ()
        if merge.output_level > 0:
            keys = piece_keys(_tables(state, merge), merge.table_bytes, self._max_pieces)
        return list(pairwise((None, *keys, None)))

    def _together(self, pieces: list[Callable[[], Written]], running: RunningJob) -> Written:
        """Do all pieces, with whoever helps; a failure of one cancels all and leaves nothing behind."""
        work = SharedWork(pieces, running.cancel)
        with self._lock:
            self._shared.append(work)
        try:
            if len(pieces) > 1:
                self._help_wanted()
            return _all_of(work.finish())
        except BaseException:
            _all_of(work.results).delete(self._store)
            raise
        finally:
            with self._lock:
                self._shared.remove(work)

    def _install(
        self,
        partition: LivePartition,
        change: ChangeTables,
        created: list[str] | None = None,
        *,
        keep: bool = False,
    ) -> None:
        """keep: open snapshots keep the view they have of the partition."""

        def swap(version: Version) -> None:
            if keep:
                self._keep_views(partition)
            partition.swap(self._store, version.partitions[partition.id])

        try:
            self._store.edit(Edit.of(change), seqno=0, created=created or [], install=swap)
        except ValueError as error:  # cleared or dropped meanwhile: the result is not wanted any more
            raise CancelledError("the partition was cleared or dropped during its compaction") from error


def _tables(state: PartitionState, job: Job) -> list[TableMeta]:
    """The inputs of a job."""
    numbers = {number for _, number in job.inputs}
    return [table for table in state.tables() if table.number in numbers]


def _all_of(parts: Iterable[Written]) -> Written:
    """What the pieces of a merge have written, in order."""
    parts = list(parts)
    return Written(
        tuple(chain.from_iterable(part.tables for part in parts)),
        tuple(chain.from_iterable(part.blobs for part in parts)),
        sum(part.moved_bytes for part in parts),
    )
