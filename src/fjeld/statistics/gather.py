"""Gathering the figures of an open keyspace.

Nothing is stopped for it: versions and views are values, counters are read one after the other. So figures
of one call may differ by what happened in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fjeld.journal.rotation import JournalRotation
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.commit import Commit
from fjeld.maintenance.activity import Activity
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.open_snapshots import OpenSnapshots
from fjeld.manifest.state import PartitionState
from fjeld.manifest.store import VersionStore
from fjeld.options import KeyspaceOptions
from fjeld.statistics.blobs import blob_figures
from fjeld.statistics.figures import CacheFigures, KeyspaceFigures, PartitionFigures, StallFigures, ratio
from fjeld.statistics.levels import level_figures, oldest_run_bytes, sorted_runs, strategy_name

__all__ = ["keyspace_figures", "partition_figures"]


def partition_figures(live: LivePartition, state: PartitionState, now_ns: int) -> PartitionFigures:
    """The figures of one partition, of which `state` is the current state."""
    view = live.core.current_view()
    activity = live.activity
    levels = level_figures(state, live.core.reads.levels_read(), activity, now_ns)
    size_bytes = sum(level.bytes for level in levels)
    user_bytes = live.core.written_bytes + activity.ingestions.written_bytes
    return PartitionFigures(
        id=live.id,
        name=live.name,
        strategy=strategy_name(state),
        levels=levels,
        tables=sum(level.tables for level in levels),
        bytes=size_bytes,
        blobs=blob_figures(state, activity),
        memtables=len(view.memtables),
        memtable_bytes=sum(memtable.memory_bytes for memtable in view.memtables),
        memtable_entries=sum(memtable.entries for memtable in view.memtables),
        flushed_seqno=state.flushed_seqno,
        user_bytes=user_bytes,
        debt_bytes=sum(level.debt_bytes for level in levels),
        write_amplification=_write_amplification(activity, user_bytes),
        read_amplification=sorted_runs(state),
        space_amplification=ratio(state.size_bytes, oldest_run_bytes(state) or 0),
        flushes=activity.flushes,
        compactions=activity.compactions,
        ingestions=activity.ingestions,
        running_compactions=live.jobs.count,
        failure=_text(live.failure),
    )


def _write_amplification(activity: Activity, user_bytes: int) -> float | None:
    """Bytes written to tables and blob files for each byte that users wrote."""
    jobs = activity.flushes + activity.compactions + activity.ingestions
    return ratio(jobs.written_bytes, user_bytes)


def _space_amplification(states: Iterable[PartitionState]) -> float | None:
    """Of all partitions of which it is known together."""
    known = [(state, oldest) for state in states if (oldest := oldest_run_bytes(state)) is not None]
    used_bytes = sum(state.size_bytes for state, _ in known)
    return ratio(used_bytes, sum(oldest for _, oldest in known))


def keyspace_figures(
    *,
    store: VersionStore,
    commit: Commit,
    rotation: JournalRotation,
    snapshots: OpenSnapshots,
    activity: Activity,
    partitions: Iterable[LivePartition],
    stalls: Mapping[str, tuple[int, float]],
    options: KeyspaceOptions,
    poisoned: bool,
    failure: BaseException | None,
) -> KeyspaceFigures:
    """The figures of the keyspace. `activity`: of all partitions, those dropped since included."""
    version = store.version
    now_ns = options.now_ns()
    found = [(live, version.partitions.get(live.id)) for live in partitions]
    there = [(live, state) for live, state in found if state is not None]  # else dropped at this moment
    figures = {live.name: partition_figures(live, state, now_ns) for live, state in there}
    user_bytes = commit.written_bytes + activity.ingestions.written_bytes
    oldest = snapshots.oldest()
    return KeyspaceFigures(
        seqno=commit.last_seqno,
        persisted_seqno=commit.persisted_seqno,
        poisoned=poisoned,
        partitions=figures,
        user_bytes=user_bytes,
        write_amplification=_write_amplification(activity, user_bytes),
        read_amplification=max((sorted_runs(state) for _, state in there), default=0),
        space_amplification=_space_amplification([state for _, state in there]),
        flushes=activity.flushes,
        compactions=activity.compactions,
        ingestions=activity.ingestions,
        stalls={reason: StallFigures(count=n, seconds=seconds) for reason, (n, seconds) in stalls.items()},
        stall_seconds=sum(seconds for _, seconds in stalls.values()),
        journals=len(version.journals) + 1,
        journal_bytes=rotation.total_bytes(),
        manifest_bytes=store.manifest_bytes,
        cache=_cache_figures(store.cache),
        open_files=store.descriptors.open_count,
        max_open_files=store.descriptors.limit,
        open_snapshots=len(snapshots.seqnos()),
        oldest_snapshot_seqno=None if oldest is None else oldest.seqno,
        oldest_snapshot_seconds=None if oldest is None else oldest.age_seconds,
        pending_deletions=store.reaper.pending_files,
        failure=_text(failure),
    )


def _cache_figures(cache: BlockCache) -> CacheFigures:
    counted = cache.stats()
    return CacheFigures(**counted, hit_ratio=ratio(counted["hits"], counted["hits"] + counted["misses"]))


def _text(error: BaseException | None) -> str | None:
    return None if error is None else str(error)
