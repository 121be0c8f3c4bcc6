"""The crew: two workers for the bytes of a backup, while the caller's thread waits, reports and cancels.

The work is done by calls that need no GIL, so two threads are two cores. Callbacks are called in the caller's
thread alone. A failure of one task, an interrupt and the caller's `cancel` stop all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from fjeld.backup.progress import Meter

__all__ = ["Task", "carry_out"]

# More do not pay: two saturate a disk, and the writers of the source want their cores.
WORKERS = 2
# Below this a thread costs more than it saves, and the tasks are done in order.
TOGETHER_BYTES = 16 << 20
# How soon a cancellation is seen, and how often a long task reports.
TICK_SECONDS = 0.05


class Task(Protocol):
    """Something to be done once. `cancel` and `done_bytes` may be called from any thread."""

    size_bytes: int

    def work(self) -> None: ...
    def cancel(self) -> None: ...
    def done_bytes(self) -> int: ...


def carry_out(tasks: Sequence[Task], meter: Meter) -> None:
    """Do all of them; the first failure is raised when nothing runs any more."""
    if sum(task.size_bytes for task in tasks) < TOGETHER_BYTES:
        for task in tasks:
            meter.check()
            task.work()
            meter.add(1, task.size_bytes)
        return
    meter.check()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="fjeld-backup")
    try:
        _supervise(tasks, [pool.submit(task.work) for task in tasks], meter)
    except BaseException:
        for task in tasks:
            task.cancel()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _supervise(tasks: Sequence[Task], futures: Sequence[Future[None]], meter: Meter) -> None:
    known: dict[Future[None], int] = dict.fromkeys(futures, 0)
    """Bytes reported so far."""
    task_of = dict(zip(futures, tasks, strict=True))
    pending = set(futures)
    while pending:
        done, pending = wait(pending, TICK_SECONDS, FIRST_COMPLETED)
        meter.check()  # a worker that was cancelled fails: say why
        for future in done:
            future.result()
        for future in done:
            meter.add(1, task_of[future].size_bytes - known[future])
        for future in pending:
            grown = task_of[future].done_bytes() - known[future]
            if grown > 0 and future.running():
                known[future] += grown
                meter.add(0, grown)
