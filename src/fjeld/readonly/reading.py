"""What a read-only keyspace and its partitions share: the moment that is shown, and how it moves on.

Invariants:

  1. Nothing is written, locked or made in the folder.
  2. What is shown is one moment (`recovery.moment`); its views never change. A refresh puts others in their place,
     and only then: if it fails, the old moment stays.
  3. Every table of the moment is open: its owner may delete it.

Thread safety: any thread may call any method. `_lock` guards the state and serialises refresh and close.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from fjeld.errors import ClosedError
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.commit import Commit
from fjeld.kernel.core import TreeCore
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.view import View
from fjeld.maintenance.activity import Activity, Work
from fjeld.maintenance.live_partition import LivePartition
from fjeld.manifest.marker import check_marker
from fjeld.manifest.state import PartitionState
from fjeld.manifest.version import Version
from fjeld.options import KeyspaceOptions
from fjeld.recovery.contents import MEMTABLE_BYTES, Contents, read_contents
from fjeld.recovery.moment import Moment, read_moment
from fjeld.shield import shielded
from fjeld.snapshot import Snapshot
from fjeld.statistics.figures import CacheFigures, KeyspaceFigures, PartitionFigures, ratio, to_json
from fjeld.statistics.gather import partition_figures
from fjeld.statistics.levels import sorted_runs

__all__ = ["Reading"]

UNLIMITED_FILES = 1 << 30


class _Refusal:
    """What the kernel asks (kernel.commit.ReadControl), and why. Apart from the reading, which would be part of a cycle
    else, and keep its files until the garbage collector comes.
    """

    def __init__(self) -> None:
        self.closed_because: str | None = None

    def check(self) -> None:
        if self.closed_because is not None:
            raise ClosedError(self.closed_because)

    def refuse_partition(self, core: TreeCore) -> None:
        self.check()
        raise ClosedError(f"the partition {core.name!r} was dropped")


class Reading:
    """The state of an open read-only keyspace, and what its partitions and snapshots ask."""

    def __init__(self, path: str, cache_bytes: int) -> None:
        self.path = path
        self._refusal = _Refusal()
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._cache = BlockCache(cache_bytes)
        self._descriptors = DescriptorPool(UNLIMITED_FILES)
        self._commit = Commit(self._refusal)
        self._lives: dict[str, LivePartition] = {}
        self._now_ns = KeyspaceOptions().now_ns
        self._moment: Moment
        self._contents: Contents
        self._show(*self._read(None))

    # ---- the moment ----

    def _read(self, reuse: Moment | None) -> tuple[Moment, Contents]:
        check_marker(self.path)
        moment = read_moment(self.path, cache=self._cache, descriptors=self._descriptors, reuse=reuse)
        try:
            if reuse is not None and reuse.mark == moment.mark:
                return moment, self._contents
            return moment, read_contents(moment, self._commit)
        finally:
            moment.release()

    def _show(self, moment: Moment, contents: Contents) -> None:
        """Put a moment in the place of the one before. Requires: lock, or nobody else there yet."""
        version = moment.version
        same = self._lives and version.id == self.version.id
        before = {live.id: live for live in self._lives.values()} if same else {}
        gone = set(self._lives.values())
        lives: dict[str, LivePartition] = {}
        for state in version.partitions.values():
            live = before.get(state.id)
            view = contents.views[state.id]
            if live is None:
                core = TreeCore(self._commit, state.id, state.name, MEMTABLE_BYTES, view)
                live = LivePartition(core, state.options, Activity())
            else:
                gone.discard(live)
                if live.core.current_view() is not view:
                    live.core.replace(view)
            lives[state.name] = live
        self._moment, self._contents, self._lives = moment, contents, lives
        for live in gone:
            live.core.refuse()
            _empty(live)

    @shielded
    def refresh(self) -> None:
        with self._lock:
            self.check_open()
            self._show(*self._read(self._moment))

    @property
    def version(self) -> Version:
        return self._moment.version

    @property
    def seqno(self) -> int:
        return self._contents.seqno

    # ---- what partitions and snapshots ask ----

    def check_open(self) -> None:
        self._refusal.check()

    @property
    def closed(self) -> bool:
        return self._refusal.closed_because is not None

    def names(self) -> list[str]:
        self.check_open()
        return sorted(self._lives)

    def find(self, name: str) -> LivePartition:
        self.check_open()
        return self._lives[name]

    def check_partition(self, live: LivePartition) -> None:
        self.check_open()
        if live.core.is_refused:
            self._refusal.refuse_partition(live.core)

    def state_of(self, live: LivePartition) -> PartitionState:
        with self._lock:
            self.check_partition(live)
            return self.version.partitions[live.id]

    def open_snapshot(self) -> Snapshot:
        """What is shown now, also after a refresh."""
        with self._lock:
            self.check_open()
            snapshot = Snapshot(self, self.seqno, dict(self._lives))
            for live in self._lives.values():
                snapshot.keep(live, live.core.current_view())
            return snapshot

    def close_snapshot(self, seqno: int) -> None:
        """Nothing is kept for it but what it holds."""

    # ---- figures ----

    def partition_stats(self, live: LivePartition) -> dict[str, Any]:
        return to_json(self._partition_figures(live))

    def _partition_figures(self, live: LivePartition) -> PartitionFigures:
        return partition_figures(live, self.state_of(live), self._now_ns())

    def figures(self) -> KeyspaceFigures:
        """As of an engine that does nothing."""
        with self._lock:
            self.check_open()
            version = self.version
            counted = self._cache.stats()
            return KeyspaceFigures(
                seqno=self.seqno,
                persisted_seqno=version.seqno,
                poisoned=False,
                partitions={name: self._partition_figures(live) for name, live in self._lives.items()},
                user_bytes=0,
                write_amplification=None,
                read_amplification=max(map(sorted_runs, version.partitions.values()), default=0),
                space_amplification=None,
                flushes=Work(),
                compactions=Work(),
                ingestions=Work(),
                stalls={},
                stall_seconds=0.0,
                journals=len(self._contents.replay.journals),
                journal_bytes=sum(journal.end_bytes for journal in self._contents.replay.journals),
                manifest_bytes=self._moment.manifest.size_bytes,
                cache=CacheFigures(
                    **counted, hit_ratio=ratio(counted["hits"], counted["hits"] + counted["misses"])
                ),
                open_files=self._descriptors.open_count,
                max_open_files=self._descriptors.limit,
                open_snapshots=0,
                oldest_snapshot_seqno=None,
                oldest_snapshot_seconds=None,
                pending_deletions=0,
                failure=None,
            )

    # ---- the end ----

    @shielded
    def close(self) -> None:
        """Let go of the files; iterators that are under way keep theirs. Closing twice is fine."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if self.closed:
                return
            self._shut("the keyspace was closed: open it again")
            for live in self._lives.values():
                _empty(live)
            self._moment.tables.clear()
            self._moment.blobs.clear()
            self._contents.views.clear()

    def _shut(self, reason: str) -> None:
        self._refusal.closed_because = reason
        for live in self._lives.values():
            live.core.refuse()

    def abandon_after_fork(self) -> None:
        """In a child of fork: as a keyspace. Takes no lock: its holder is not in this process."""
        if not self.closed and self._pid != os.getpid():
            self._shut("the keyspace belongs to the parent process: open one of your own after the fork")


def _empty(live: LivePartition) -> None:
    """Let go of the files that a partition showed."""
    live.core.replace(View((MemtableOwner(),), ()))
