"""Background threads: they take jobs in order of urgency and spend their time in the kernel without the GIL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["RETRY_SECONDS", "Workers"]

# After a failure (a full disk, say) a job is tried again this much later: soon enough to go on when there is
# space, seldom enough to cost nothing.
RETRY_SECONDS = 0.5


class Workers:
    """A fixed number of daemon threads over one function that gives the next job.

    next_job() gives a callable or None; it is asked again after each job and whenever `wake` was called, also
    while it was being asked. What a job raises, whatever it is, is reported to on_failure and does not end
    the thread; next_job is asked again at once, for it may have other jobs, and after RETRY_SECONDS. (It must
    not give the one that failed before that.)

    Thread safety: everything is guarded by `_lock`, which is reentrant: a finalizer that runs inside of a block may
    call `wake`.
    """

    def __init__(
        self,
        name: str,
        count: int,
        next_job: Callable[[], Callable[[], object] | None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._next_job = next_job
        self._on_failure = on_failure
        # Taken by itself, not through the condition: no KeyboardInterrupt comes between lock and block.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._wakes = 0
        self._answered = 0
        """The number of wakes that next_job is known to have seen when it gave None."""
        self._stopping = False
        self._running = 0
        self._ask_at: float | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"fjeld-{name}-{number}", daemon=True)
            for number in range(count)
        ]
        self._idle_threads = list(self._threads)
        """Not started yet."""

    def start(self) -> None:
        """One thread; the others follow as there are jobs, so that an opening does not wait for them."""
        self._start_one()

    def _start_one(self) -> None:
        with self._lock:
            if self._idle_threads and not self._stopping:
                self._idle_threads.pop(0).start()

    def wake(self) -> None:
        """There may be something to do."""
        with self._lock:
            self._wakes += 1
            self._condition.notify_all()

    def wake_within(self, seconds: float) -> None:
        """There will be something to do then. Of several times the earliest counts, and it is asked anew then."""
        with self._lock:
            self._wake_within(seconds)
            self._condition.notify_all()

    def _wake_within(self, seconds: float) -> None:
        """Requires: the condition."""
        ask_at = time.monotonic() + seconds
        if self._ask_at is None or ask_at < self._ask_at:
            self._ask_at = ask_at

    def stop(self) -> None:
        """Let running jobs end and the threads go. Not for a worker to call."""
        with self._lock:
            self._stopping = True
            self._condition.notify_all()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join()

    def wait_idle(self) -> None:
        """Until no job runs and next_job gave none."""
        with self._lock:
            self._condition.wait_for(
                lambda: self._stopping or (not self._running and self._answered == self._wakes)
            )

    def _work(self) -> None:
        while True:
            with self._lock:
                self._wait_for_wake()
                if self._stopping:
                    return
                self._running += 1
                seen = self._wakes
            self._run_one(seen)

    def _wait_for_wake(self) -> None:
        """Requires: the condition."""
        while self._answered == self._wakes and not self._stopping:
            timeout = None if self._ask_at is None else max(0.0, self._ask_at - time.monotonic())
            if not self._condition.wait(timeout) and self._ask_at is not None:
                self._ask_at = None
                self._wakes += 1

    def _run_one(self, seen: int) -> None:
        failed = False
        job = None
        try:
            job = self._next_job()
            if job is not None:
                self._start_one()
                job()
        except BaseException as error:  # also SystemExit, out of a caller's function
            failed = True
            self._on_failure(error)
        with self._lock:
            self._running -= 1
            if failed:
                self._wake_within(RETRY_SECONDS)
            if job is None:
                self._answered = max(self._answered, seen)
            else:
                self._wakes += 1  # there may be more, for another worker too
            self._condition.notify_all()
