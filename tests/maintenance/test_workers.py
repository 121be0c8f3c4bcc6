"""Threads that take jobs. What they do is observed through events, never through time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from fjeld.maintenance import workers as workers_module
from fjeld.maintenance.workers import Workers
from tests.support import TIMEOUT_SECONDS, Task

Job = Callable[[], None]


class Office:
    """Workers with a queue of jobs."""

    def __init__(self, count: int = 1) -> None:
        self.jobs: deque[Job] = deque()
        self.failures: list[Exception] = []
        self.workers = Workers("test", count, self.next_job, self.failures.append)

    def next_job(self) -> Job | None:
        try:
            return self.jobs.popleft()
        except IndexError:
            return None

    def give(self, *jobs: Job) -> None:
        self.jobs.extend(jobs)
        self.workers.wake()


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    made.workers.start()
    yield made
    made.workers.stop()


def wait(event: threading.Event) -> None:
    assert event.wait(TIMEOUT_SECONDS)


def test_jobs_are_done_in_order(office: Office) -> None:
    done: list[int] = []
    office.give(*(lambda number=number: done.append(number) for number in range(100)))
    office.workers.wait_idle()
    assert done == list(range(100))


def test_a_job_may_make_more(office: Office) -> None:
    done: list[str] = []
    office.give(lambda: office.jobs.append(lambda: done.append("second")))
    office.workers.wait_idle()
    assert done == ["second"]


def test_workers_work_side_by_side() -> None:
    office = Office(2)
    office.workers.start()
    barrier = threading.Barrier(2, timeout=TIMEOUT_SECONDS)
    office.give(lambda: barrier.wait() and None, lambda: barrier.wait() and None)
    office.workers.wait_idle()
    office.workers.stop()
    assert office.failures == []


def test_a_wake_while_it_is_asked_is_not_lost() -> None:
    """next_job finds nothing; before that is known, there is something."""
    asked, go, done = threading.Event(), threading.Event(), threading.Event()
    jobs: deque[Job] = deque()

    def next_job() -> Job | None:
        job = jobs.popleft() if jobs else None
        if job is None and not asked.is_set():
            asked.set()
            wait(go)
        return job

    workers = Workers("test", 1, next_job, lambda error: None)
    workers.start()
    workers.wake()
    wait(asked)
    jobs.append(done.set)
    workers.wake()
    go.set()
    wait(done)
    workers.stop()


def test_idle_means_that_no_job_runs(office: Office) -> None:
    started, go = threading.Event(), threading.Event()

    def job() -> None:
        started.set()
        wait(go)

    office.give(job)
    wait(started)
    idle = Task(office.workers.wait_idle)
    assert idle.running
    go.set()
    idle.result()


def test_a_failure_is_reported_and_the_others_are_done(office: Office) -> None:
    done: list[str] = []

    def fails() -> None:
        raise OSError("disk full")

    office.give(fails, lambda: done.append("after it"))
    office.workers.wait_idle()
    assert done == ["after it"]
    assert [str(error) for error in office.failures] == ["disk full"]


def test_after_a_failure_it_is_asked_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "RETRY_SECONDS", 0.001)
    done = threading.Event()
    failed = threading.Event()
    state = {"retry": False}

    def next_job() -> Job | None:
        if not failed.is_set():
            return fails
        if state["retry"]:
            return None if done.is_set() else done.set
        state["retry"] = True  # asked at once after the failure: not yet
        return None

    def fails() -> None:
        failed.set()
        raise OSError("fails")

    workers = Workers("test", 1, next_job, lambda error: None)
    workers.start()
    workers.wake()
    wait(done)  # nobody has called wake
    workers.stop()


def test_stop_lets_the_running_job_end_and_begins_no_other() -> None:
    office = Office()
    office.workers.start()
    started, go = threading.Event(), threading.Event()
    done: list[str] = []

    def job() -> None:
        started.set()
        wait(go)
        done.append("first")

    office.give(job, lambda: done.append("second"))
    wait(started)
    stopping = Task(office.workers.stop)
    while not office.workers._stopping:
        pass
    assert stopping.running
    go.set()
    stopping.result()
    assert done == ["first"]
    office.workers.stop()
    office.workers.wait_idle()


def test_stop_before_start() -> None:
    Office().workers.stop()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), MemoryError()])
def test_nothing_that_a_job_raises_ends_its_thread(office: Office, error: BaseException) -> None:
    done: list[str] = []

    def fail() -> None:
        raise error

    office.give(fail, lambda: done.append("after"))
    office.workers.wait_idle()
    assert office.failures == [error]
    assert done == ["after"]


def test_it_is_asked_when_something_is_due() -> None:
    """Nobody wakes it; of two times the earlier counts."""
    asked = threading.Semaphore(0)
    times = iter([3600.0, 0.01])

    def next_job() -> Job | None:
        seconds = next(times, None)
        if seconds is not None:
            workers.wake_within(seconds)
        asked.release()
        return None

    workers = Workers("test", 1, next_job, pytest.fail)
    workers.start()
    workers.wake()
    assert asked.acquire(timeout=TIMEOUT_SECONDS)
    workers.wake()
    assert asked.acquire(timeout=TIMEOUT_SECONDS)
    assert asked.acquire(timeout=TIMEOUT_SECONDS), "by itself"
    workers.stop()


def test_a_finalizer_may_wake_while_its_thread_has_the_lock() -> None:
    """The collector runs finalizers anywhere, also inside of a block under the lock."""
    workers = Workers("finalizers", 0, lambda: None, lambda _error: None)

    def collected_inside() -> None:
        with workers._lock:
            workers.wake()

    Task(collected_inside).result()
