from __future__ import annotations

import threading

import pytest

from fjeld.errors import CancelledError
from fjeld.maintenance.running_jobs import RunningJob, RunningJobs
from fjeld.maintenance.strategies.choice import Choice, Drop, Job, Nothing
from tests.support import Task

JOB = Drop(inputs=((0, 1),))
OTHER = Drop(inputs=((0, 2),))


class Stoppable:
    """What a compaction is to the job it belongs to."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def test_who_chooses_sees_what_runs() -> None:
    jobs = RunningJobs()
    seen = []

    def choosing(choice: Choice) -> RunningJob | None:
        def choose(running: tuple[Job, ...]) -> Choice:
            seen.append(running)
            return choice

        return jobs.start(choose)

    first = choosing(JOB)
    second = choosing(OTHER)
    jobs.end(first)
    assert choosing(Nothing()) is None
    assert seen == [(), (JOB,), (OTHER,)]
    assert jobs.count == 1
    jobs.end(second)
    assert jobs.count == 0


def test_cancelling_reaches_what_runs_and_what_has_not_begun() -> None:
    jobs = RunningJobs()
    job = jobs.start(lambda _: JOB)
    one, two = Stoppable(), Stoppable()
    with job.running(one):
        jobs.cancel()
        assert one.cancelled
        with pytest.raises(CancelledError), job.running(two):
            pytest.fail("it has begun")
    assert not two.cancelled


def test_what_has_ended_is_not_cancelled() -> None:
    jobs = RunningJobs()
    job = jobs.start(lambda _: JOB)
    one = Stoppable()
    with job.running(one):
        pass
    jobs.cancel()
    assert not one.cancelled


def test_whoever_waits_to_be_alone_keeps_others_from_beginning() -> None:
    jobs = RunningJobs()
    job = jobs.start(lambda _: JOB)
    inside, leave = threading.Event(), threading.Event()

    def alone() -> None:
        with jobs.alone(cancel=False):
            inside.set()
            assert leave.wait(30)

    task = Task(alone)
    while not jobs._waiting:
        pass
    assert jobs.start(lambda _: OTHER) is None
    assert not inside.is_set()
    job.check()  # nobody has cancelled it
    jobs.end(job)
    assert inside.wait(30)
    assert jobs.start(lambda _: OTHER) is None
    leave.set()
    task.result()
    assert jobs.start(lambda _: OTHER) is not None


def test_who_cancels_also_stops_what_somebody_alone_begins() -> None:
    jobs = RunningJobs()
    with jobs.alone(cancel=False):
        first = jobs.start_alone(lambda: JOB)
        task = Task(lambda: jobs.alone(cancel=True).__enter__())
        while not jobs._cancelling:
            pass
        with pytest.raises(CancelledError):
            jobs.start_alone(lambda: JOB)
        with pytest.raises(CancelledError):
            while True:
                first.check()
        jobs.end(first)
    task.result()


def test_there_may_be_nothing_to_begin_alone() -> None:
    jobs = RunningJobs()
    with jobs.alone(cancel=True):
        assert jobs.start_alone(Nothing) is None
