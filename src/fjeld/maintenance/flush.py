"""Flush: sealed memtables become one table of level 0, and journals that nobody needs any more are retired."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from fjeld.journal.rotation import JournalRotation
from fjeld.kernel.commit import Commit
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.journal import FIRST_BYTES
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.view import View
from fjeld.maintenance.blob_output import BlobOutput
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.open_snapshots import OpenSnapshots
from fjeld.maintenance.output import Written, write_tables
from fjeld.manifest.edit import ChangeTables, Edit, RetireJournals
from fjeld.manifest.store import VersionStore
from fjeld.options import PersistMode
from fjeld.sync_points import sync_point

__all__ = ["Flusher"]

UNLIMITED_BYTES = 1 << 62


class Flusher:
    """Flushes partitions of one keyspace. Safe from any thread; flushes of one partition take turns."""

    def __init__(
        self,
        store: VersionStore,
        commit: Commit,
        rotation: JournalRotation,
        snapshots: OpenSnapshots,
        partitions: Callable[[], Iterable[LivePartition]],
        now_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._commit = commit
        self._rotation = rotation
        self._snapshots = snapshots
        self._partitions = partitions
        self._now_ns = now_ns

    def seal(self, partition: LivePartition) -> bool:
        """Seal the active memtable, whatever its size; False where it is empty."""
        with self._commit:
            return partition.seal_active(self._store)

    def seal_if_full(self, partition: LivePartition) -> bool:
        """Seal the active memtable if it (still) is full."""
        with self._commit:
            return partition.core.full() and partition.seal_active(self._store)

    def flush(self, partition: LivePartition) -> bool:
        """Write all sealed memtables to one table; False where there were none."""
        with partition.flush_lock:
            return self.flush_sealed(partition)

    def flush_sealed(self, partition: LivePartition) -> bool:
        """As `flush`. Requires: the partition's flush lock."""
        memtables = partition.sealed_memtables()
        state = self._store.version.partitions.get(partition.id)
        if not memtables or state is None:
            return False
        started = time.monotonic()
        sync_point("flush:start")
        nothing_beneath = not any(state.levels)
        # The inputs are fixed: now ask what must stay readable.
        created_ns = self._now_ns()
        blobs = BlobOutput(self._store, partition.options, created_ns=created_ns)
        view, seqnos = View(memtables, ()), self._snapshots.seqnos()
        compaction = Compaction(view, seqnos, nothing_beneath, sink=blobs.sink)
        tables = write_tables(
            self._store,
            partition.options,
            compaction,
            level=0,
            table_bytes=UNLIMITED_BYTES,
            created_ns=created_ns,
            blobs=blobs,
        )
        sync_point("flush:written")
        last = max(memtable.last_seqno for memtable in memtables)
        created = Written(tuple(tables), blobs.metas).paths(self._store)
        floor = self._prepare_floor(partition, memtables, last, created)
        edit = Edit.of(
            ChangeTables(
                partition.id,
                added=tuple((0, table) for table in tables),
                flushed_seqno=last,
                blobs=blobs.metas,
            ),
            RetireJournals(floor),
        )
        self._store.edit(
            edit,
            seqno=last,
            created=created,
            install=lambda version: partition.swap(self._store, version.partitions[partition.id], memtables),
        )
        partition.activity.flushed((*tables, *blobs.metas), time.monotonic() - started)
        sync_point("flush:installed")
        return True

    def _prepare_floor(
        self, partition: LivePartition, memtables: tuple[MemtableOwner, ...], last: int, created: list[str]
    ) -> int:
        """The journal floor once these memtables, which reach to seqno `last`, are in tables.

        What other partitions have from before `last` is brought to disk first: a power cut may take the
        newest writes, but never older ones than it leaves, and of a batch all or nothing. So also what they have
        right behind `last`: it may be of the same batch.
        """
        try:
            floor = self._floor(partition, memtables)[0]
            others = self._oldest(other for other in self._partitions() if other is not partition)
            if others is not None and others <= last + 1:
                self._rotation.persist(PersistMode.SYNC_DATA, last)
            return floor
        except BaseException:
            self._store.discard(created)
            raise

    def _floor(
        self, flushed: LivePartition | None = None, memtables: tuple[MemtableOwner, ...] = ()
    ) -> tuple[int, int | None]:
        """The journal floor once these memtables are in tables, and the oldest seqno that is in none then."""
        moment = self._rotation.moment()  # first: what is written while we look is in the journals that stay
        oldest = self._oldest(self._partitions(), flushed, memtables)
        return max(moment.floor(oldest), self._store.version.journal_floor), oldest

    def _oldest(
        self,
        partitions: Iterable[LivePartition],
        flushed: LivePartition | None = None,
        memtables: tuple[MemtableOwner, ...] = (),
    ) -> int | None:
        """The oldest seqno that the memtables of these partitions hold, but for `memtables` of `flushed`."""
        found = (live.oldest_seqno(memtables if live is flushed else ()) for live in partitions)
        return min((seqno for seqno in found if seqno is not None), default=None)

    def can_retire(self) -> bool:
        """Are there journals that nothing needs any more? A clear or a drop leaves such behind."""
        journals = self._store.version.journals
        return bool(journals) and journals[0].number < self._floor()[0]

    def retire(self) -> None:
        """Retire the journals that nothing needs any more."""
        self._store.edit(Edit.of(RetireJournals(self._floor()[0])), seqno=0)

    def give_back(self) -> None:
        """After a flush of everything: the space that journals take for what is in tables now."""
        if self._floor()[1] is None and self._rotation.total_bytes() > FIRST_BYTES:
            self._rotation.cut(lambda: None)
            if self.can_retire():
                self.retire()

    def straggler(self) -> LivePartition | None:
        """The partition whose oldest entry keeps the oldest journal alive."""
        found = [(partition.oldest_seqno(), partition) for partition in self._partitions()]
        known = [(seqno, partition.id, partition) for seqno, partition in found if seqno is not None]
        return min(known)[2] if known else None
