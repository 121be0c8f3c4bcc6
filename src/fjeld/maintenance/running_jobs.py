"""Which compactions run on one partition, and how somebody gets to be alone with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fjeld.errors import CancelledError
from fjeld.kernel.compaction import Compaction
from fjeld.maintenance.strategies.choice import Choice, Job, Nothing

__all__ = ["RunningJob", "RunningJobs"]


class RunningJob:
    """One job, from the moment it was chosen until its edit is in the version, or it has failed.

    Its compactions may run in several threads. Any thread may cancel it.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._lock = threading.Lock()
        self._compactions: list[Compaction] = []
        """Those that run. Guarded by `_lock`, as the next."""
        self._cancelled = False

    @contextmanager
    def running(self, compaction: Compaction) -> Iterator[None]:
        """Inside, `cancel` reaches the compaction; CancelledError where it came before."""
        with self._lock:
            self.check()
            self._compactions.append(compaction)
        try:
            yield
        finally:
            with self._lock:
                self._compactions.remove(compaction)

    def check(self) -> None:
        """CancelledError where the job was cancelled."""
        if self._cancelled:
            raise CancelledError("the compaction was cancelled")

    def cancel(self) -> None:
        """Make all of it give up soon."""
        with self._lock:
            self._cancelled = True
            for compaction in self._compactions:
                compaction.cancel()


class RunningJobs:
    """The jobs of one partition. Any thread may call any method; all is guarded by `_changed`.

    No lock is taken inside it but those of its jobs.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: list[RunningJob] = []
        self._alone = False
        """Somebody is alone."""
        self._waiting = 0
        """How many wait to be alone: nobody else begins anything meanwhile."""
        self._cancelling = 0
        """How many of those cancel what runs."""

    def start(self, choose: Callable[[tuple[Job, ...]], Choice]) -> RunningJob | None:
        """Begin what choose(the jobs that run) gives; None where that is nothing, or somebody is alone.

        No job ends while it chooses: what the jobs have installed it may see already, or not.
        """
        with self._changed:
            if self._alone or self._waiting:
                return None
            return self._start(choose(tuple(running.job for running in self._jobs)))

    def start_alone(self, choose: Callable[[], Choice]) -> RunningJob | None:
        """Begin what choose() gives; CancelledError where others wait for the end of it all.

        Requires: the caller is alone.
        """
        with self._changed:
            if self._cancelling:
                raise CancelledError("the compaction was cancelled")
            return self._start(choose())

    def _start(self, choice: Choice) -> RunningJob | None:
        """Requires: `_changed`."""
        if isinstance(choice, Nothing):
            return None
        started = RunningJob(choice)
        self._jobs.append(started)
        return started

    def end(self, job: RunningJob) -> None:
        """The job is over: done, or failed."""
        with self._changed:
            self._jobs.remove(job)
            self._changed.notify_all()

    @contextmanager
    def alone(self, *, cancel: bool) -> Iterator[None]:
        """Wait until no job runs; inside, none begins but by `start_alone`.

        cancel: make those that run give up, also one that another caller begins who is alone first.
        """
        self._become_alone(cancel)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def _become_alone(self, cancel: bool) -> None:
        with self._changed:
            self._waiting += 1
            self._cancelling += cancel
            try:
                while self._alone or self._jobs:
                    if cancel:
                        self._cancel()
                    self._changed.wait()
                self._alone = True
            finally:
                self._waiting -= 1
                self._cancelling -= cancel

    def cancel(self) -> None:
        """Make all that run give up soon."""
        with self._changed:
            self._cancel()

    def _cancel(self) -> None:
        for job in self._jobs:
            job.cancel()

    @property
    def count(self) -> int:
        """How many run."""
        with self._changed:
            return len(self._jobs)
