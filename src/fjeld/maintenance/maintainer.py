"""What runs in the background of one keyspace, and what writers have to wait for when it falls behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from fjeld.errors import CancelledError, ClosedError, CorruptionError
from fjeld.journal.rotation import JournalRotation
from fjeld.kernel.commit import Commit
from fjeld.maintenance.backpressure import Decision, Go, Limits, Load, Slow, StallReason, Stop, decide
from fjeld.maintenance.compact import Compactor
from fjeld.maintenance.flush import Flusher
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.open_snapshots import OpenSnapshots
from fjeld.maintenance.workers import Workers
from fjeld.manifest.store import VersionStore
from fjeld.options import KeyspaceOptions

__all__ = ["Maintainer"]

log = logging.getLogger("fjeld")

ATTEND_PRESSURE = 4

Job = Callable[[], None]


class Maintainer:
    """Owns the workers. Jobs, most urgent first: flushes, compactions, deletions; beside them, journals.

    Thread safety: any thread may call any method; `_claimed` and the counters are guarded by `_changed`.
    """

    def __init__(
        self,
        store: VersionStore,
        commit: Commit,
        rotation: JournalRotation,
        snapshots: OpenSnapshots,
        options: KeyspaceOptions,
        partitions: Callable[[], Iterable[LivePartition]],
    ) -> None:
        self._store = store
        self._commit = commit
        self._rotation = rotation
        self._options = options
        self._partitions = partitions
        self.flusher = Flusher(store, commit, rotation, snapshots, partitions)
        self.compactor = Compactor(store, snapshots)
        self._changed = threading.Condition()
        self._claimed: set[tuple[str, int]] = set()
        self._paused = 0
        self._closing = False
        self.failure: Exception | None = None
        """The newest failure of a job, until one of its kind succeeds."""
        self.stall_seconds = 0.0
        """How long writers have waited in all."""
        self._workers = Workers("worker", options.workers, self._next_job, self._note_failure)
        # Journals have a thread of their own: writers must not wait behind a long compaction for the next one.
        self._journal_worker = Workers("journals", 1, self._next_journal_job, self._note_failure)

    def start(self) -> None:
        self._workers.start()
        self._journal_worker.start()
        self.wake()

    def wake(self) -> None:
        """Something may have to be done."""
        self._journal_worker.wake()
        self._workers.wake()

    def stop(self) -> None:
        """Cancel compactions, let running jobs end, stop the threads."""
        self._closing = True
        for partition in self._partitions():
            partition.cancel_compaction()
        with self._changed:
            self._changed.notify_all()
        self._workers.stop()
        self._journal_worker.stop()

    def wait_idle(self) -> None:
        """Until nothing is left to do in the background."""
        self.wake()
        self._journal_worker.wait_idle()
        self._workers.wait_idle()

    # ---- jobs ----

    def _next_journal_job(self) -> Job | None:
        if self._closing:
            return None
        if self._rotation.needs_spare and self._claim("spare", 0):
            return self._claimed_job("spare", 0, self._rotation.prepare_spares)
        if self._rotation.has_unfinished and self._claim("finish", 0):
            return self._claimed_job("finish", 0, self._rotation.finish_sealed)
        return None

    def _next_job(self) -> Job | None:
        if self._closing:
            return None
        for partition in self._partitions():
            if partition.sealed_memtables() and self._claim("flush", partition.id):
                return self._claimed_job("flush", partition.id, self._flush_job(partition))
        for partition in self._partitions():
            if partition.failure is None and not self._paused and self.compactor.wanted(partition):
                if self._claim("compact", partition.id):
                    return self._claimed_job("compact", partition.id, self._compact_job(partition))
        if self._store.reaper.pending_files and self._claim("reap", 0):
            return self._claimed_job("reap", 0, self._reap)
        return None

    def _claim(self, kind: str, partition: int) -> bool:
        with self._changed:
            if (kind, partition) in self._claimed:
                return False
            self._claimed.add((kind, partition))
            return True

    def _claimed_job(self, kind: str, partition: int, work: Job) -> Job:
        def run() -> None:
            try:
                work()
                self.failure = None
            finally:
                with self._changed:
                    self._claimed.discard((kind, partition))
                    self._changed.notify_all()
                self.update_pressure()

        return run

    def _flush_job(self, partition: LivePartition) -> Job:
        return lambda: self._flush(partition)

    def _flush(self, partition: LivePartition) -> None:
        self.flusher.flush(partition)

    def _compact_job(self, partition: LivePartition) -> Job:
        def compact() -> None:
            try:
                self.compactor.compact_once(partition)
            except CancelledError:
                pass
            except CorruptionError as error:
                partition.failure = error  # the same inputs would fail again: what is readable stays readable
                log.error("compaction of partition %r stops: %s", partition.name, error)

        return compact

    def _reap(self) -> None:
        self._store.reaper.reap()

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, ClosedError) and self._closing:
            return
        self.failure = error
        log.error("a background job failed and will be tried again: %s", error)
        with self._changed:
            self._changed.notify_all()

    # ---- pressure ----

    def _decision(self) -> Decision:
        journals_bytes = self._rotation.total_bytes()
        strictest: Go | Slow = Go()
        for partition in self._partitions():
            state = self._store.version.partitions.get(partition.id)
            if state is None:
                continue
            load = Load(
                sealed_memtables=len(partition.sealed_memtables()),
                level0_runs=len(state.levels[0]),
                journals_bytes=journals_bytes,
            )
            decision = decide(load, Limits.of(self._options, partition.options))
            if isinstance(decision, Stop):
                return decision
            if isinstance(decision, Slow) and (
                isinstance(strictest, Go) or decision.delay_seconds > strictest.delay_seconds
            ):
                strictest = decision
        return strictest

    def update_pressure(self) -> None:
        """Tell writers whether they have to come and ask."""
        decision = self._decision()
        if not isinstance(decision, Go) and decision.reason is StallReason.JOURNALS:
            self._flush_straggler()
        self._commit.attend(ATTEND_PRESSURE, not isinstance(decision, Go))

    def _flush_straggler(self) -> None:
        straggler = self.flusher.straggler()
        if straggler is not None:
            self.flusher.seal(straggler)
            self.wake()

    def relieve(self) -> None:
        """Called by a writer while there is pressure: waits as long as the pressure asks for.

        Where a stop cannot end because a job keeps failing (a full disk), its failure is raised: nothing was written.
        """
        started = time.monotonic()
        decision = self._decision()
        if isinstance(decision, Go):
            self._commit.attend(ATTEND_PRESSURE, False)
            return
        if isinstance(decision, Slow):
            time.sleep(decision.delay_seconds)
        else:
            self._wait_for_go()
        self.stall_seconds += time.monotonic() - started

    def _wait_for_go(self) -> None:
        while isinstance(self._decision(), Stop):
            failure = self.failure
            if failure is not None:
                self.wake()
                raise _again(failure)
            if self._closing:
                return
            self.update_pressure()
            with self._changed:
                self._changed.wait(0.05)

    def pause_compaction(self) -> None:
        """For tests and benchmarks: start no compaction until resumed."""
        self._paused += 1

    def resume_compaction(self) -> None:
        self._paused -= 1
        self.wake()


def _again(failure: Exception) -> Exception:
    """The failure of a background job, to be raised in a caller's thread."""
    if isinstance(failure, OSError) and failure.errno is not None:
        return OSError(failure.errno, failure.strerror, failure.filename)
    return failure
