"""Background threads: they take jobs in order of urgency and spend their time in the kernel without the GIL."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["Workers"]

log = logging.getLogger("fjeld")

# After a failure (a full disk, say) a job is tried again this much later: soon enough to go on when there is space,
# seldom enough to cost nothing.
RETRY_SECONDS = 0.5


class Workers:
    """A fixed number of daemon threads over one function that gives the next job.

    next_job() gives a callable or None; it is asked again whenever `wake` was called. A job that raises an Exception is
    reported to on_failure, and after RETRY_SECONDS next_job is asked again.
    """

    def __init__(
        self,
        name: str,
        count: int,
        next_job: Callable[[], Callable[[], None] | None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._next_job = next_job
        self._on_failure = on_failure
        self._condition = threading.Condition()
        self._wanted = False
        self._stopping = False
        self._running = 0
        self._retry_at: float | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"fjeld-{name}-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        with self._condition:
            self._wanted = True
            self._condition.notify()

    def stop(self) -> None:
        """Let running jobs end and the threads go. Not for a worker to call."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def wait_idle(self) -> None:
        """Until no job runs and next_job gave none."""
        with self._condition:
            self._condition.wait_for(lambda: not self._running and not self._wanted)

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._wanted and not self._stopping:
                    timeout = None if self._retry_at is None else max(0.0, self._retry_at - time.monotonic())
                    if not self._condition.wait(timeout) and self._retry_at is not None:
                        self._retry_at = None
                        self._wanted = True
                if self._stopping:
                    return
                self._running += 1
            self._run_one()

    def _run_one(self) -> None:
        failed = False
        job = None
        try:
            job = self._next_job()
            if job is not None:
                job()
        except Exception as error:  # noqa: BLE001: reported, and tried again
            failed = True
            self._on_failure(error)
        with self._condition:
            self._running -= 1
            if failed:
                self._wanted = False
                self._retry_at = time.monotonic() + RETRY_SECONDS
            elif job is None:
                self._wanted = False
            else:
                self._condition.notify()  # there may be more, for another worker too
            self._condition.notify_all()
