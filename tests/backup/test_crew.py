"""The crew: order, failures, cancellation and reports of the tasks of a backup."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fjeld import CancelledError
from fjeld.backup.crew import TOGETHER_BYTES, carry_out
from fjeld.backup.progress import Meter
from tests.support import TIMEOUT_SECONDS

LARGE = TOGETHER_BYTES


class Fake:
    """A task that does what it is told."""

    def __init__(self, size_bytes: int, work: Callable[[Fake], object] = lambda _task: None) -> None:
        self.size_bytes = size_bytes
        self.reached = 0
        self.cancelled = threading.Event()
        self.thread: threading.Thread | None = None
        self._work = work

    def work(self) -> None:
        self.thread = threading.current_thread()
        self._work(self)

    def cancel(self) -> None:
        self.cancelled.set()

    def done_bytes(self) -> int:
        return self.reached


def until_cancelled(task: Fake) -> None:
    assert task.cancelled.wait(TIMEOUT_SECONDS)
    raise CancelledError("the task")


def meter(tasks: list[Fake], calls: list[tuple[int, ...]], cancel: threading.Event | None = None) -> Meter:
    total = sum(task.size_bytes for task in tasks)
    return Meter(len(tasks), total, lambda *call: calls.append(call), cancel)


@pytest.mark.parametrize("size_bytes", [1, LARGE])
def test_all_of_them(size_bytes):
    calls = []
    tasks = [Fake(size_bytes) for _ in range(5)]
    carry_out(tasks, meter(tasks, calls))
    assert calls[-1] == (5, 5, 5 * size_bytes, 5 * size_bytes)
    here = threading.current_thread()
    assert all((task.thread is here) == (size_bytes == 1) for task in tasks)
    carry_out([], meter([], calls))


def test_a_failure_stops_the_others():
    def fail(task):
        raise OSError("the first")

    tasks = [Fake(LARGE, until_cancelled), Fake(LARGE, fail), *(Fake(LARGE, until_cancelled) for _ in "abc")]
    with pytest.raises(OSError, match="the first"):
        carry_out(tasks, meter(tasks, []))
    assert tasks[0].cancelled.is_set()
    assert sum(task.thread is not None for task in tasks) <= 3, "what was not begun is not begun"


def test_the_callers_cancel_stops_them():
    cancel = threading.Event()
    tasks = [Fake(LARGE, until_cancelled), Fake(LARGE, lambda _task: cancel.set())]
    with pytest.raises(CancelledError, match="the backup"):
        carry_out(tasks, meter(tasks, [], cancel))
    assert tasks[0].cancelled.is_set()


def test_a_callback_that_raises_stops_them():
    class Refusal(Exception):
        pass

    def refuse(*_):
        raise Refusal

    tasks = [Fake(LARGE, until_cancelled), Fake(LARGE)]
    with pytest.raises(Refusal):
        carry_out(tasks, Meter(2, 2 * LARGE, refuse, None))
    assert tasks[0].cancelled.is_set()


def test_a_long_task_reports():
    seen = threading.Event()
    calls = []

    def note(*call):
        calls.append(call)
        seen.set()

    def work(task):
        task.reached = 10
        assert seen.wait(TIMEOUT_SECONDS)

    task = Fake(LARGE, work)
    carry_out([task], Meter(1, LARGE, note, None))
    assert calls[0] == (0, 1, 10, LARGE)
    assert calls[-1] == (1, 1, LARGE, LARGE)
