"""What runs in the background of one keyspace, and what writers have to wait for when it falls behind."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from fjeld.errors import CancelledError, ClosedError, CorruptionError
from fjeld.journal.rotation import JournalRotation
from fjeld.kernel.commit import Commit
from fjeld.maintenance.backpressure import StallReason
from fjeld.maintenance.compact import Compactor
from fjeld.maintenance.failures import Claim, Failures
from fjeld.maintenance.flush import Flusher
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.open_snapshots import OpenSnapshots
from fjeld.maintenance.running_jobs import RunningJob
from fjeld.maintenance.throttle import Throttle
from fjeld.maintenance.workers import Workers
from fjeld.manifest.store import VersionStore
from fjeld.options import KeyspaceOptions

__all__ = ["Maintainer"]

log = logging.getLogger("fjeld")

# A merge is cut into about so many pieces for each thread that may take some: pieces are never quite equal.
PIECES_PER_THREAD = 2

# What is due although nothing happens is looked for no more often than this, when something keeps it back.
LOOK_AGAIN_SECONDS = 0.05

Job = Callable[[], object]

SPARE: Claim = ("spare", 0)
FINISH: Claim = ("finish", 0)
RETIRE: Claim = ("retire", 0)
REAP: Claim = ("reap", 0)
HELP: Claim = ("help", 0)

# Kinds of jobs that may take minutes.
COMPACTING = {"compact", "help"}


class Maintainer:
    """Owns the workers. Jobs, most urgent first: flushes, compactions, deletions; beside them, journals.

    There is one worker more than may compact at once: a flush never waits behind a compaction.

    Thread safety: any thread may call any method; `_claimed` is guarded by `_lock`.
    """

    def __init__(
        self,
        store: VersionStore,
        commit: Commit,
        rotation: JournalRotation,
        snapshots: OpenSnapshots,
        options: KeyspaceOptions,
        partitions: Callable[[], Iterable[LivePartition]],
        keep_views: Callable[[LivePartition], None],
    ) -> None:
        self._store = store
        self._rotation = rotation
        self._partitions = partitions
        self._max_compacting = options.workers
        self.flusher = Flusher(store, commit, rotation, snapshots, partitions, options.now_ns)
        self.compactor = Compactor(
            store,
            snapshots,
            max_pieces=PIECES_PER_THREAD * (options.workers + 1),  # a caller's thread, and all workers
            now_ns=options.now_ns,
            help_wanted=self.wake,
            keep_views=keep_views,
        )
        self.throttle = Throttle(
            store, commit, rotation, options, partitions, flush_straggler=self._flush_straggler
        )
        self._lock = threading.Lock()
        self._claimed: Counter[Claim] = Counter()
        """The jobs that were given out and are not done. Of compactions there may be several."""
        self._failures = Failures()
        self._paused = 0
        self._halted = False
        self._closing = False
        self._workers = Workers("worker", options.workers + 1, self._next_job, self._note_failure)
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
        self.throttle.release()

    def stop(self) -> None:
        """Cancel compactions, let running jobs end, stop the threads. Stopping twice is fine."""
        self._closing = True
        for partition in self._partitions():
            partition.jobs.cancel()
        self.throttle.release()
        self._workers.stop()
        self._journal_worker.stop()

    def wait_idle(self) -> None:
        """Until nothing is left to do in the background, now or later."""
        self._rotation.hurry()
        self.wake()
        self._journal_worker.wait_idle()
        self._workers.wait_idle()

    # ---- jobs ----

    def _next_journal_job(self) -> Job | None:
        if self._closing or self._halted:
            return None
        if self._rotation.needs_spare and self._claim(SPARE):
            return self._claimed_job(SPARE, self._rotation.prepare_spares)
        due_seconds = self._rotation.finish_due_seconds()
        if due_seconds is not None and due_seconds > 0:
            self._journal_worker.wake_within(due_seconds)
        elif due_seconds is not None and self._claim(FINISH):
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
        return self._next_compaction()

    def _next_compaction(self) -> Job | None:
        """Help with a merge that has begun; else the partition on which the fewest run has its turn."""
        if not self._claim(HELP):
            return None
        piece = self.compactor.next_piece()
        if piece is not None:
            return self._claimed_job(HELP, piece)
        self._give_back(HELP)
        if self._paused:
            return None
        for partition in sorted(self._partitions(), key=lambda partition: partition.jobs.count):
            compact = ("compact", partition.id)
            if isinstance(partition.failure, CorruptionError) or not self._claim(compact):
                continue
            started = self.compactor.start(partition)
            if started is not None:
                return self._claimed_job(compact, partial(self._compact, partition, started))
            self._give_back(compact)
            due_seconds = self.compactor.due_seconds(partition)
            if due_seconds is not None:
                self._workers.wake_within(max(due_seconds, LOOK_AGAIN_SECONDS))
        return None

    def _claim(self, claim: Claim) -> bool:
        """Take a job, unless it has just failed, or is with somebody, or too many like it are."""
        if not self._failures.may_try(claim):
            return False
        with self._lock:
            if claim[0] in COMPACTING:
                compacting = sum(count for (kind, _), count in self._claimed.items() if kind in COMPACTING)
                if compacting >= self._max_compacting:
                    return False
            elif claim in self._claimed:
                return False
            self._claimed[claim] += 1
            return True

    def _give_back(self, claim: Claim) -> None:
        with self._lock:
            self._claimed[claim] -= 1
            if not self._claimed[claim]:
                del self._claimed[claim]

    def _claimed_job(self, claim: Claim, work: Job) -> Job:
        def run() -> None:
            try:
                work()
                self._failures.succeeded(claim)
            except BaseException as error:
                self._failures.failed(claim, error)
                raise
            finally:
                self._give_back(claim)
                self.update_pressure()
                self.throttle.notify()

        return run

    def _compact(self, partition: LivePartition, started: RunningJob) -> None:
        try:
            self.compactor.carry_out(partition, started)
        except CancelledError:
            pass
        except CorruptionError as error:
            # The same inputs would fail again: what is readable stays readable.
            partition.failure = error.with_traceback(None)
            log.error("compaction of partition %r stops: %s", partition.name, error)
        except BaseException as error:
            partition.failure = error
            raise
        else:
            if not isinstance(partition.failure, CorruptionError):
                partition.failure = None

    def _reap(self) -> None:
        reaper = self._store.reaper
        failed = reaper.failed_deletions
        reaper.reap()
        if reaper.failed_deletions != failed and reaper.last_error is not None:
            raise reaper.last_error  # tried again later: at once would be for ever

    # ---- failures ----

    @property
    def failure(self) -> BaseException | None:
        """The newest failure of a job that has not succeeded since."""
        return self._failures.newest()

    def succeeded(self, claim: Claim) -> None:
        """A caller has done a job itself: it does not fail any more."""
        self._failures.succeeded(claim)

    def forget(self, partition: LivePartition) -> None:
        """The partition was dropped: what failed there is of no interest."""
        for kind in ("flush", "compact"):
            self._failures.succeeded((kind, partition.id))

    def _note_failure(self, error: BaseException) -> None:
        if not (isinstance(error, ClosedError) and self._closing):
            log.error("a background job failed and will be tried again: %s", error)

    def _retry_now(self) -> None:
        """Somebody waits: do not wait for the time of the next attempt."""
        self._failures.retry_now()
        self.wake()

    # ---- pressure ----

    @property
    def stalls(self) -> dict[str, tuple[int, float]]:
        """By reason, how often writers have waited and for how many seconds in all."""
        return self.throttle.stalls

    @property
    def stall_seconds(self) -> float:
        """How long writers have waited in all."""
        return sum(seconds for _, seconds in self.stalls.values())

    def update_pressure(self) -> None:
        """Tell writers whether they have to come and ask."""
        self.throttle.update()

    def relieve(self) -> None:
        """Called by a writer while there is pressure: waits as long as the pressure asks for.

        Where a stop cannot end because a job keeps failing (a full disk), its failure is raised: nothing was
        written.
        """
        self.throttle.relieve(self._obstacle, self._retry_now)

    def _flush_straggler(self) -> None:
        straggler = self.flusher.straggler()
        if straggler is not None and not straggler.sealed_memtables():
            self.flusher.seal(straggler)
        self.wake()

    def _obstacle(self, reason: StallReason, partition: LivePartition) -> BaseException | None:
        """Why the work that a stop waits for does not get done, if it does not."""
        if reason is StallReason.JOURNALS:
            return self._failures.newest(but=REAP)
        if reason is StallReason.MEMTABLES:
            return self._failures.of(("flush", partition.id))
        if isinstance(partition.failure, CorruptionError):
            return partition.failure
        return self._failures.of(("compact", partition.id))

    def pause_compaction(self) -> None:
        """For tests and benchmarks: start no compaction until resumed."""
        self._paused += 1
        self.throttle.compacts = False

    def resume_compaction(self) -> None:
        self._paused -= 1
        self.throttle.compacts = not self._paused
        self.wake()
