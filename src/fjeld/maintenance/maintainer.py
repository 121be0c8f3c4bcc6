"""What runs in the background of one keyspace, and what writers have to wait for when it falls behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from fjeld.errors import CancelledError, ClosedError, CorruptionError
from fjeld.journal.rotation import JournalRotation
from fjeld.kernel.commit import PRESSURE, Commit
from fjeld.maintenance.backpressure import Decision, Go, Limits, Load, Slow, StallReason, Stop, decide
from fjeld.maintenance.compact import Compactor
from fjeld.maintenance.flush import Flusher
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.open_snapshots import OpenSnapshots
from fjeld.maintenance.workers import RETRY_SECONDS, Workers
from fjeld.manifest.store import VersionStore
from fjeld.options import KeyspaceOptions

__all__ = ["Maintainer"]

log = logging.getLogger("fjeld")

# How often a halted writer looks again, in case that nobody has told it.
LOOK_AGAIN_SECONDS = 0.05

Job = Callable[[], object]

Claim = tuple[str, int]
"""The kind of a job and, where it is for a partition, that one's id."""

SPARE: Claim = ("spare", 0)
FINISH: Claim = ("finish", 0)
RETIRE: Claim = ("retire", 0)
REAP: Claim = ("reap", 0)


@dataclass(frozen=True, slots=True)
class Failure:
    """A job has failed; it is not tried again before `retry_at` (monotonic seconds)."""

    error: Exception
    retry_at: float


class Maintainer:
    """Owns the workers. Jobs, most urgent first: flushes, compactions, deletions; beside them, journals.

    Thread safety: any thread may call any method; what is private is guarded by `_changed`.
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
        self._pressing = threading.Lock()
        self._claimed: set[Claim] = set()
        self._failures: dict[Claim, Failure] = {}
        self._paused = 0
        self._halted = False
        self._closing = False
        self.stall_seconds = 0.0
        """How long writers have waited in all."""
        self._workers = Workers("worker", options.workers, self._next_job, self._note_failure)
        # Journals have a thread of their own: writers must not wait behind a long compaction for the next
        # one.
        self._journal_worker = Workers("journals", 1, self._next_journal_job, self._note_failure)

    def start(self) -> None:
        self._workers.start()
        self._journal_worker.start()
        self.wake()

    def wake(self) -> None:
        """Something may have to be done."""
        self._journal_worker.wake()
        self._workers.wake()

    def halt(self) -> None:
        """The keyspace is poisoned: begin no more jobs but deletions, keep no writer waiting."""
        self._halted = True
        self._notify()

    def stop(self) -> None:
        """Cancel compactions, let running jobs end, stop the threads. Stopping twice is fine."""
        self._closing = True
        for partition in self._partitions():
            partition.cancel_compaction()
        self._notify()
        self._workers.stop()
        self._journal_worker.stop()

    def wait_idle(self) -> None:
        """Until nothing is left to do in the background."""
        self.wake()
        self._journal_worker.wait_idle()
        self._workers.wait_idle()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # ---- jobs ----

    def _next_journal_job(self) -> Job | None:
        if self._closing or self._halted:
            return None
        if self._rotation.needs_spare and self._claim(SPARE):
            return self._claimed_job(SPARE, self._rotation.prepare_spares)
        if self._rotation.has_unfinished and self._claim(FINISH):
            return self._claimed_job(FINISH, self._rotation.finish_sealed)
        return None

    def _next_job(self) -> Job | None:
        if self._closing:
            return None
        job = None if self._halted else self._next_of_partition()
        if job is None and self._store.reaper.pending_files and self._claim(REAP):
            return self._claimed_job(REAP, self._reap)
        return job

    def _next_of_partition(self) -> Job | None:
        for partition in self._partitions():
            flush = ("flush", partition.id)
            if partition.sealed_memtables() and self._claim(flush):
                return self._claimed_job(flush, partial(self.flusher.flush, partition))
        if self.flusher.can_retire() and self._claim(RETIRE):
            return self._claimed_job(RETIRE, self.flusher.retire)
        for partition in self._partitions():
            compact = ("compact", partition.id)
            if partition.failure is None and not self._paused and self.compactor.wanted(partition):
                if self._claim(compact):
                    return self._claimed_job(compact, partial(self._compact, partition))
        return None

    def _claim(self, claim: Claim) -> bool:
        """Take a job, unless somebody has it or it has just failed."""
        with self._changed:
            failure = self._failures.get(claim)
            if claim in self._claimed or (failure and time.monotonic() < failure.retry_at):
                return False
            self._claimed.add(claim)
            return True

    def _claimed_job(self, claim: Claim, work: Job) -> Job:
        def run() -> None:
            try:
                work()
                self.succeeded(claim)
            except Exception as error:
                self._failed(claim, error)
                raise
            finally:
                with self._changed:
                    self._claimed.discard(claim)
                self.update_pressure()
                self._notify()

        return run

    def _compact(self, partition: LivePartition) -> None:
        try:
            self.compactor.compact_once(partition)
        except CancelledError:
            pass
        except CorruptionError as error:
            partition.failure = error  # the same inputs would fail again: what is readable stays readable
            log.error("compaction of partition %r stops: %s", partition.name, error)

    def _reap(self) -> None:
        reaper = self._store.reaper
        failed = reaper.failed_deletions
        reaper.reap()
        if reaper.failed_deletions != failed and reaper.last_error is not None:
            raise reaper.last_error  # tried again later: at once would be for ever

    # ---- failures ----

    @property
    def failure(self) -> Exception | None:
        """The newest failure of a job that has not succeeded since."""
        return self._newest_failure()

    def _newest_failure(self, but: Claim | None = None) -> Exception | None:
        with self._changed:
            failures = [failure.error for claim, failure in self._failures.items() if claim != but]
        return failures[-1] if failures else None

    def succeeded(self, claim: Claim) -> None:
        """A job was done, in the background or by a caller: it does not fail any more."""
        with self._changed:
            self._failures.pop(claim, None)

    def forget(self, partition: LivePartition) -> None:
        """The partition was dropped: what failed there is of no interest."""
        for kind in ("flush", "compact"):
            self.succeeded((kind, partition.id))

    def _failed(self, claim: Claim, error: Exception) -> None:
        with self._changed:
            self._failures.pop(claim, None)
            self._failures[claim] = Failure(error, time.monotonic() + RETRY_SECONDS)

    def _note_failure(self, error: Exception) -> None:
        if not (isinstance(error, ClosedError) and self._closing):
            log.error("a background job failed and will be tried again: %s", error)

    def _retry_now(self) -> None:
        """Somebody waits: do not wait for the time of the next attempt."""
        with self._changed:
            self._failures = {claim: Failure(failure.error, 0.0) for claim, failure in self._failures.items()}
        self.wake()

    # ---- pressure ----

    def _decision(self) -> tuple[Decision, LivePartition | None]:
        """The strictest decision, and the partition that it is for."""
        journals_bytes = self._rotation.sealed_bytes()
        strictest: Go | Slow = Go()
        found: LivePartition | None = None
        for partition in self._partitions():
            state = self._store.version.partitions.get(partition.id)
            if state is None:
                continue
            load = Load(
                sealed_memtables=len(partition.sealed_memtables()),
                level0_runs=0 if self._paused else len(state.levels[0]),
                journals_bytes=journals_bytes,
            )
            decision = decide(load, Limits.of(self._options, partition.options))
            if isinstance(decision, Stop):
                return decision, partition
            if isinstance(decision, Slow) and (
                isinstance(strictest, Go) or decision.delay_seconds > strictest.delay_seconds
            ):
                strictest, found = decision, partition
        return strictest, found

    def update_pressure(self) -> None:
        """Tell writers whether they have to come and ask."""
        with self._pressing:
            decision, _ = self._decision()
            if not isinstance(decision, Go) and decision.reason is StallReason.JOURNALS:
                self._flush_straggler()
            self._commit.attend(PRESSURE, not isinstance(decision, Go))

    def _flush_straggler(self) -> None:
        straggler = self.flusher.straggler()
        if straggler is not None and not straggler.sealed_memtables():
            self.flusher.seal(straggler)
        self.wake()

    def relieve(self) -> None:
        """Called by a writer while there is pressure: waits as long as the pressure asks for.

        Where a stop cannot end because a job keeps failing (a full disk), its failure is raised: nothing was
        written.
        """
        started = time.monotonic()
        decision, _ = self._decision()
        if isinstance(decision, Go):
            self.update_pressure()
            return
        if isinstance(decision, Slow):
            time.sleep(decision.delay_seconds)
        else:
            self._wait_for_go()
        self.stall_seconds += time.monotonic() - started

    def _wait_for_go(self) -> None:
        decision, partition = self._decision()
        known = self._obstacle(decision, partition)
        self._retry_now()
        while isinstance(decision, Stop) and not (self._closing or self._halted):
            obstacle = self._obstacle(decision, partition)
            # What failed before this writer came is tried again, for it, before it is told.
            if obstacle is not None and (obstacle is not known or isinstance(obstacle, CorruptionError)):
                raise _again(obstacle)
            self.update_pressure()
            with self._changed:
                self._changed.wait(LOOK_AGAIN_SECONDS)
            decision, partition = self._decision()

    def _obstacle(self, decision: Decision, partition: LivePartition | None) -> Exception | None:
        """Why the work that a stop waits for does not get done, if it does not."""
        if not isinstance(decision, Stop) or partition is None:
            return None
        if decision.reason is StallReason.LEVEL0 and partition.failure is not None:
            return partition.failure
        if decision.reason is StallReason.JOURNALS:
            return self._newest_failure(but=REAP)
        claim = ("flush" if decision.reason is StallReason.MEMTABLES else "compact", partition.id)
        with self._changed:
            failure = self._failures.get(claim)
        return None if failure is None else failure.error

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
