"""The engine of one open keyspace: what its public objects share, and what the kernel asks of it.

States: open -> poisoned (a sync failed, or memory ran out in the middle of a write: reads go on, writes are
refused) -> closed. A forked child's copy is closed at once and never touches the files.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, TypeAlias, TypeVar

from fjeld.cut import Cut, SnapshotLike, cut_files, cut_memory
from fjeld.errors import CancelledError, ClosedError, FjeldError, PoisonedError
from fjeld.ingestion import Built, Ingestion, Pairs
from fjeld.journal.rotation import JournalRotation
from fjeld.kernel import files
from fjeld.kernel.commit import DURABLE, REFUSE, Commit
from fjeld.kernel.core import TreeCore
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.view import View
from fjeld.maintenance.activity import Activity
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.maintainer import Maintainer
from fjeld.maintenance.open_snapshots import OpenSnapshots
from fjeld.manifest.edit import ClearPartition, CreatePartition, DropPartition, Edit
from fjeld.manifest.state import PartitionState
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from fjeld.options import KeyspaceOptions, PartitionOptions, PersistMode
from fjeld.shield import shielded
from fjeld.statistics.figures import KeyspaceFigures, to_json
from fjeld.statistics.gather import keyspace_figures, partition_figures
from fjeld.sync_points import sync_point

__all__ = ["Engine"]

log = logging.getLogger("fjeld")

S = TypeVar("S", bound=SnapshotLike)
MakeSnapshot: TypeAlias = Callable[["Engine", int, dict[str, LivePartition]], S]


class Engine:
    """Everything of an open keyspace but its public face. Any thread may call any method.

    `_catalog` guards `partitions` and serialises create, drop, clear and close.
    """

    def __init__(self, path: str, options: KeyspaceOptions, store: VersionStore, lock_fd: int) -> None:
        self.path = path
        self.options = options
        self.store = store
        self.snapshots = OpenSnapshots()
        self.activity = Activity()
        self.commit = Commit(self, options.clock)
        self.rotation = JournalRotation(
            store,
            self.commit,
            journal_bytes=options.journal_bytes,
            mapped=options.mapped_journal,
            wake=self._wake,
            poison=self.poison,
        )
        self.maintainer = Maintainer(
            store, self.commit, self.rotation, self.snapshots, options, self._all_partitions, self._keep_views
        )
        self.partitions: dict[str, LivePartition] = {}
        self.ingestion = Ingestion(store, self.commit, self.rotation, self.maintainer.flusher, self)
        self._lock_fd = lock_fd
        self._pid = os.getpid()
        self._catalog = threading.RLock()
        self._snapshot_objects: weakref.WeakSet[Any] = weakref.WeakSet()
        self._refusal: Callable[[], Exception] | None = None
        self.closed = False
        for state in store.version.partitions.values():
            self._adopt(state)

    def start(self) -> None:
        """Recovery is done: begin background work."""
        if self.options.durability is not PersistMode.BUFFER:
            self.commit.attend(DURABLE, True)
            self.commit.sync_everything(self.options.durability is PersistMode.SYNC_ALL)
        self.maintainer.start()

    def seal_replayed(self, core: TreeCore) -> None:
        """Recovery: a memtable has reached its size."""
        self.partitions[core.name].seal_active(self.store)

    def wake_from_finalizer(self) -> None:
        """A file nobody needs any more waits to be deleted. Called from finalizers."""
        if not self.closed:
            self.maintainer.wake()

    def abandon(self) -> None:
        """Recovery failed: let go of everything but the lock file."""
        self._shut("the keyspace could not be opened")
        self.rotation.close()
        self.store.close()

    def _all_partitions(self) -> Iterable[LivePartition]:
        return list(self.partitions.values())

    def _wake(self) -> None:
        self.maintainer.wake()

    def _adopt(self, state: PartitionState) -> LivePartition:
        view = View((MemtableOwner(),), self.store.levels(state), self.store.blobs(state))
        core = TreeCore(self.commit, state.id, state.name, self.options.memtable_bytes, view)
        live = LivePartition(core, state.options, Activity(total=self.activity))
        live.filter = self.options.compaction_filters.get(state.name)
        self.partitions[state.name] = live
        return live

    # ---- what the kernel asks (kernel.commit.Control) ----

    def refuse(self) -> None:
        """Raise why writes are refused; wait while they are only held."""
        if self._refusal is None:
            self.ingestion.wait()
        if self._refusal is not None:
            raise self._refusal()

    def refuse_partition(self, core: TreeCore) -> None:
        """Raise why a partition is refused."""
        if self.closed:
            self.refuse()
        raise ClosedError(f"the partition {core.name!r} was dropped")

    def relieve(self) -> None:
        self.maintainer.relieve()

    @shielded
    def switch_journal(self, record_bytes: int) -> None:
        self.rotation.make_room(record_bytes)

    def seal_memtable(self, core: TreeCore) -> None:
        live = self.partitions.get(core.name)
        if live is not None and live.core is core and self.maintainer.flusher.seal_if_full(live):
            self.maintainer.update_pressure()
            self._wake()

    def persist_write(self, seqno: int) -> None:
        mode = self.options.durability
        self.persist(PersistMode.SYNC_DATA if mode is PersistMode.BUFFER else mode, seqno)

    def sync_failed(self, error: OSError) -> None:
        raise self.rotation.sync_failed(error) from error

    def poison(self, cause: BaseException) -> None:
        """Refuse writes from here on."""
        if self._refusal is None:
            reason = (
                f"writes are refused since a failure ({cause}); close and open the keyspace again to recover"
            )
            self._refusal = lambda: PoisonedError(reason)
            self.commit.attend(REFUSE, True)
            self.maintainer.halt()

    # ---- durability ----

    def check_open(self) -> None:
        """ClosedError where the keyspace is closed; a poisoned one passes."""
        if self.closed:
            self.refuse()

    def persist(self, mode: PersistMode, seqno: int | None = None) -> None:
        self.check_open()
        self.refuse()
        self.rotation.persist(mode, seqno)

    # ---- partitions ----

    def names(self) -> list[str]:
        self.check_open()
        return sorted(self.partitions)

    def find(self, name: str) -> LivePartition:
        self.check_open()
        live = self.partitions.get(name)
        if live is None:
            raise KeyError(name)
        return live

    def check_partition(self, live: LivePartition) -> None:
        """ClosedError where the partition was dropped, or its keyspace closed."""
        self.check_open()
        if live.core.is_refused:
            self.refuse_partition(live.core)

    def open_partition(self, name: str, options: PartitionOptions | None, create: bool) -> LivePartition:
        self.check_open()
        live = self.partitions.get(name)
        if live is not None:
            return live
        if not create:
            raise KeyError(name)
        return self._create_partition(name, options)

    @shielded
    def _create_partition(self, name: str, options: PartitionOptions | None) -> LivePartition:
        with self._catalog:
            self.refuse()
            live = self.partitions.get(name)
            if live is not None:
                return live
            number = self.store.next_partition()
            edit = Edit.of(CreatePartition(number, name, PartitionOptions() if options is None else options))
            self.store.edit(
                edit,
                seqno=self.commit.persisted_seqno,
                install=lambda version: self._adopt(version.partitions[number]),
            )
            return self.partitions[name]

    @shielded
    def drop_partition(self, name: str) -> None:
        with self._catalog:
            self.refuse()
            live = self.find(name)
            with live.alone():
                self._refuse_writes(live)
                sync_point("drop:refused")
                try:
                    seqno = self.commit.last_seqno
                    # A drop must not outlive what was before it.
                    self.rotation.persist(PersistMode.SYNC_DATA, seqno)
                    self.store.edit(
                        Edit.of(DropPartition(live.id)),
                        seqno=seqno,
                        install=lambda _version: self._forget(live),
                    )
                except BaseException:
                    if self.partitions.get(live.name) is live:
                        live.core.refuse(False)  # it was not dropped: it goes on
                    raise
        self.maintainer.forget(live)
        self._wake()

    def _refuse_writes(self, live: LivePartition) -> None:
        with self.commit:
            live.core.refuse()

    def _forget(self, live: LivePartition) -> None:
        del self.partitions[live.name]
        live.core.replace(View((MemtableOwner(),), ()))

    @shielded
    def clear(self, live: LivePartition) -> None:
        with self._catalog:
            self.check_partition(live)
            self.refuse()
            with live.alone():
                with self.commit:
                    seqno = self.commit.last_seqno
                    live.seal_active(self.store)
                sealed = live.sealed_memtables()
                sync_point("clear:sealed")

                def install(version: Version) -> None:
                    self._keep_views(live)
                    live.swap(self.store, version.partitions[live.id], sealed)

                # A clear must not outlive what was before it.
                self.rotation.persist(PersistMode.SYNC_DATA, seqno)
                self.store.edit(Edit.of(ClearPartition(live.id, seqno)), seqno=seqno, install=install)
                live.failure = None
        self.maintainer.forget(live)
        self._wake()

    def ingest(self, live: LivePartition, pairs: Pairs) -> int:
        self.check_partition(live)
        self.refuse()
        built = self.ingestion.build(live, pairs)
        if built.tables:
            self.add_tables(live, built)
        return built.entries

    @shielded
    def add_tables(self, live: LivePartition, built: Built) -> None:
        try:
            self.ingestion.add(live, built)
        finally:
            self.maintainer.update_pressure()
            self._wake()  # nothing was compacted meanwhile

    @property
    def is_refusing(self) -> bool:
        """Are writes refused for good?"""
        return self._refusal is not None

    # ---- snapshots and cuts ----

    def _keep_views(self, live: LivePartition) -> None:
        """What a partition has is about to go: open snapshots keep it. Requires: install lock."""
        kept = live.core.current_view()
        for snapshot in list(self._snapshot_objects):
            snapshot.keep(live, kept)

    def open_snapshot(self, make: MakeSnapshot[S]) -> S:
        """make(self, seqno, partitions by name) of this moment; close_snapshot lets go of the seqno."""
        with self.store.install_lock:
            self.check_open()
            return self._enter_snapshot(self.snapshots.open(lambda: self.commit.last_seqno), make)

    def _enter_snapshot(self, seqno: int, make: MakeSnapshot[S]) -> S:
        """Requires: install lock, so that no partition is cleared or dropped before the snapshot is known."""
        snapshot = make(self, seqno, dict(self.partitions))
        self._snapshot_objects.add(snapshot)
        return snapshot

    def enter_snapshot_at(self, seqno: int, make: MakeSnapshot[S]) -> S:
        """A snapshot of the moment of a cut. Requires: commit lock and install lock."""
        return self._enter_snapshot(self.snapshots.open(lambda: seqno), make)

    def close_snapshot(self, seqno: int) -> None:
        self.snapshots.close(seqno)

    @shielded
    def cut(self, make: MakeSnapshot[S] | None = None, *, memory: bool = False) -> Cut:
        """Step 2 of a checkpoint: take version and seqno, pin them. Writers wait for microseconds.

        memory: hold the memtables, instead of sealing the journal that has their entries. make: makes a
        snapshot of the same moment too, as open_snapshot does.
        """
        self.check_open()
        self.refuse()
        return cut_memory(self, make) if memory else cut_files(self, make)

    def finish(self, cut: Cut) -> Version:
        """Step 3: the journals of the cut are on disk in their final form. Poisons where a sync fails."""
        return cut.finish(self.rotation)

    def flush_all(self, names: Iterable[str] | None = None) -> None:
        """Of these partitions, or of all."""
        self.flush(self._all_partitions() if names is None else [self.find(name) for name in names])

    def now_ns(self) -> int:
        """The time, ns since the epoch."""
        return self.options.now_ns()

    # ---- maintenance ----

    @shielded
    def flush(self, partitions: Iterable[LivePartition]) -> None:
        self.check_open()
        self.refuse()
        chosen = list(partitions)
        for live in chosen:
            self.maintainer.flusher.seal(live)
        for live in chosen:
            self.maintainer.flusher.flush(live)
            self.maintainer.succeeded(("flush", live.id))
        self.maintainer.flusher.give_back()
        self.maintainer.update_pressure()
        self.store.reaper.reap()  # the caller may look at what the disk holds
        self._wake()

    @shielded
    def compact(self, partitions: Iterable[LivePartition]) -> None:
        chosen = list(partitions)
        self.flush(chosen)
        for live in chosen:
            while not self._compact_all(live):
                self.check_open()
        self.maintainer.update_pressure()
        self.store.reaper.reap()
        self._wake()

    def _compact_all(self, live: LivePartition) -> bool:
        """False where it was cancelled: by a clear or a drop, or by close."""
        try:
            self.maintainer.compactor.compact_all(live)
        except CancelledError:
            return False
        finally:
            self._wake()  # nothing was compacted meanwhile
        live.failure = None
        self.maintainer.succeeded(("compact", live.id))
        return True

    # ---- figures ----

    def state_of(self, live: LivePartition) -> PartitionState:
        self.check_partition(live)
        state = self.store.version.partitions.get(live.id)
        if state is None:  # dropped at this moment
            self.refuse_partition(live.core)
            raise AssertionError("refuse_partition raises")
        return state

    def disk_space(self, live: LivePartition) -> int:
        return self.state_of(live).size_bytes

    def approximate_len(self, live: LivePartition) -> int:
        tables = sum(table.entries - 2 * table.tombstones for table in self.state_of(live).tables())
        memory = sum(memtable.entries for memtable in live.core.current_view().memtables)
        return max(0, tables + memory)

    def partition_stats(self, live: LivePartition) -> dict[str, Any]:
        return to_json(partition_figures(live, self.state_of(live), self.now_ns()))

    def figures(self) -> KeyspaceFigures:
        """What `stats` gives as JSON values."""
        self.check_open()
        return keyspace_figures(
            store=self.store,
            commit=self.commit,
            rotation=self.rotation,
            snapshots=self.snapshots,
            activity=self.activity,
            partitions=self._all_partitions(),
            stalls=self.maintainer.stalls,
            options=self.options,
            poisoned=self._refusal is not None,
            failure=self.maintainer.failure,
        )

    def stats(self) -> dict[str, Any]:
        return to_json(self.figures())

    # ---- the end ----

    def _shut(self, reason: str) -> None:
        """Refuse everything from here on."""
        self.closed = True
        self._refusal = lambda: ClosedError(reason)
        self.commit.attend(REFUSE, True)
        for live in self._all_partitions():
            live.core.refuse()

    @shielded
    def close(self) -> None:
        """Flush what is in memory, stop the workers, let go of the folder. Closing twice is fine."""
        if self._pid != os.getpid():
            return  # it was abandoned, and the holders of its locks are not in this process
        with self._catalog, ExitStack() as stack:
            if self.closed:
                return
            poisoned = self._refusal is not None
            stack.callback(files.unlock_file, self._lock_fd)
            stack.callback(self._let_go)
            with self.commit:
                self._shut("the keyspace was closed: open it again")
            sync_point("close:refused")
            self.maintainer.stop()
            if not poisoned:
                self._flush_at_end()
            sync_point("close:flushed")

    def _flush_at_end(self) -> None:
        """So that opening has nothing to replay. Where it fails, the journals still hold everything."""
        try:
            for live in self._all_partitions():
                self.maintainer.flusher.seal(live)
                self.maintainer.flusher.flush(live)
            self.rotation.retire_all()
        except (OSError, FjeldError) as error:
            log.warning(
                "%s: not flushed at close; the next opening replays the journals: %s", self.path, error
            )

    def _let_go(self) -> None:
        """Nobody writes a file any more when this returns."""
        self.ingestion.close()
        self.rotation.close()
        with ExitStack() as locks:
            # A flush or a compaction that a caller has begun comes to its end.
            for live in self._all_partitions():
                locks.enter_context(live.alone())
            self.store.close()
        self.store.reaper.reap()

    def abandon_after_fork(self) -> None:
        """In a child of fork: everything belongs to the parent. Takes no lock: its holder is not in this
        process.
        """
        if self.closed or self._pid == os.getpid():
            return
        self._shut("the keyspace belongs to the parent process: open one of your own after the fork")
        os.close(self._lock_fd)  # else the child would keep the folder locked when its parent is gone
