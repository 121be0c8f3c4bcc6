"""One open partition, as maintenance sees it: its kernel core, and what is going on with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fjeld.errors import CorruptionError
from fjeld.filters import CompactionFilter
from fjeld.kernel.core import TreeCore
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.view import View
from fjeld.maintenance.activity import Activity
from fjeld.maintenance.running_jobs import RunningJobs
from fjeld.maintenance.strategies.blobs import FILES_AT_ONCE, uncollected
from fjeld.manifest.state import PartitionState
from fjeld.manifest.store import VersionStore
from fjeld.options import PartitionOptions

__all__ = ["LivePartition"]


class LivePartition:
    """Owns the core of a partition while its keyspace is open.

    `flush_lock`: one flush at a time, so that memtables become tables in order. `jobs`: the compactions that
    run. Lock order: `flush_lock`, then being alone with the jobs.
    """

    def __init__(self, core: TreeCore, options: PartitionOptions, activity: Activity | None = None) -> None:
        self.core = core
        self.options = options
        self.activity = Activity() if activity is None else activity
        self.flush_lock = threading.Lock()
        self.jobs = RunningJobs()
        self.failure: BaseException | None = None
        """Why its last compaction failed, until one succeeds: shown in stats. After a CorruptionError there
        is no other: the same tables would fail again."""
        self._garbage: tuple[PartitionState, float] | None = None
        """What `waiting_garbage` found last, and of which state."""
        self.filter: CompactionFilter | None = None
        """What every merge asks which entries may go; it may be called in several threads at once."""

    @property
    def id(self) -> int:
        return self.core.id

    @property
    def name(self) -> str:
        return self.core.name

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no flush and no compaction runs; those that do are cancelled, or come to their end."""
        with self.flush_lock, self.jobs.alone(cancel=True):
            yield

    def sealed_memtables(self) -> tuple[MemtableOwner, ...]:
        """Newest first."""
        return self.core.current_view().memtables[1:]

    def waiting_garbage(self, state: PartitionState) -> float:
        """What waits to be collected of the blob files of its newest state, as a share of all that is in them.

        0 where less waits than one collection takes away, and after damage, as nothing is collected then.
        """
        separation = state.options.kv_separation
        if separation is None or not state.blobs or isinstance(self.failure, CorruptionError):
            return 0.0
        known = self._garbage
        if known is None or known[0] is not state:
            waiting_bytes, record_bytes = uncollected(state)
            much = waiting_bytes > FILES_AT_ONCE * separation.file_size_bytes
            self._garbage = known = (state, waiting_bytes / record_bytes if much else 0.0)
        return known[1]

    def oldest_seqno(self, without: tuple[MemtableOwner, ...] = ()) -> int | None:
        """The oldest seqno that is in a memtable and not in `without`; None where there is none."""
        seqnos = [
            memtable.first_seqno
            for memtable in self.core.current_view().memtables
            if memtable.entries and memtable not in without
        ]
        return min(seqnos, default=None)

    def swap(
        self, store: VersionStore, state: PartitionState, without: tuple[MemtableOwner, ...] = ()
    ) -> None:
        """Show a new state of the tables, without some memtables. Requires: install lock."""
        memtables = self.core.current_view().memtables
        kept = tuple(memtable for memtable in memtables if memtable not in without)
        self.core.replace(View(kept, store.levels(state), store.blobs(state)))

    def seal_active(self, store: VersionStore) -> bool:
        """Put a fresh memtable in place of the active one; False where that is empty. Requires: commit lock."""
        with store.install_lock:
            view = self.core.current_view()
            if not view.memtables[0].entries:
                return False
            self.core.replace(View((MemtableOwner(), *view.memtables), view.levels, view.blobs))
            view.memtables[0].seal()  # after: what is written to is never sealed, wherever an interrupt falls
            return True
