"""The short lock excludes like any other, and who waits for it for long does get it."""

from __future__ import annotations

import threading

import pytest

from fjeld.kernel.short_lock import ShortLock
from tests.support import Task


def test_one_at_a_time() -> None:
    lock, inside, most = ShortLock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(2000):
            with lock:
                inside += 1
                most = max(most, inside)
                inside -= 1

    tasks = [Task(work) for _ in range(4)]
    for task in tasks:
        task.result()
    assert most == 1
    assert not lock.locked()


def test_who_waits_for_long_gets_it_and_a_failure_gives_it_back() -> None:
    lock, order = ShortLock(), []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        with lock:
            order.append("second")

    with pytest.raises(RuntimeError), lock:
        assert lock.locked()
        task = Task(wait)
        assert waiting.wait(10)
        threading.Event().wait(0.05)  # longer than it tries before it queues; the order holds without it
        order.append("first")
        raise RuntimeError
    task.result()
    assert order == ["first", "second"]
    assert not lock.locked()
