from __future__ import annotations

import gc
import threading
import weakref
from functools import partial

import pytest

from fjeld.maintenance.shared_work import SharedWork
from tests.support import Task


def test_one_thread_does_it_all_in_order() -> None:
    done: list[int] = []

    def piece(number: int) -> int:
        done.append(number)
        return number * 10

    work = SharedWork([partial(piece, number) for number in range(5)], pytest.fail)
    assert work.wants_help
    assert work.finish() == [0, 10, 20, 30, 40]
    assert done == list(range(5))
    assert not work.wants_help
    assert not work.help()


def test_helpers_take_what_nobody_has_begun_and_the_order_stays() -> None:
    both = threading.Barrier(2, timeout=30)
    work = SharedWork([lambda n=n: (both.wait(), n)[1] for n in range(6)], pytest.fail)

    def help_on() -> None:
        while work.help():
            pass

    helper = Task(help_on)
    assert work.finish() == list(range(6)), "each piece waits for another that runs beside it"
    helper.result()


def test_the_owner_waits_for_helpers() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert go.wait(30)
        return "slow"

    work = SharedWork([slow, lambda: "quick"], pytest.fail)
    helper = Task(work.help)
    assert begun.wait(30)
    owner = Task(work.finish)
    while work.wants_help:
        pass
    assert owner.running
    go.set()
    assert owner.result() == ["slow", "quick"]
    helper.result()


@pytest.mark.parametrize("error", [OSError("disk"), SystemExit(3), KeyboardInterrupt()])
def test_the_first_failure_ends_it(error: BaseException) -> None:
    told: list[str] = []

    def fail() -> int:
        raise error

    work = SharedWork([lambda: 1, fail, lambda: 3], lambda: told.append("told"))
    with pytest.raises(type(error)) as caught:
        work.finish()
    assert caught.value is error
    assert told == ["told"]
    assert work.results == [1], "what was done is known, for whoever cleans up"


def test_a_failure_of_a_helper_is_the_owners() -> None:
    told: list[str] = []
    begun = threading.Event()

    def wait_for_the_other() -> int:
        assert begun.wait(30)
        return 1

    def fail() -> int:
        begun.set()
        raise OSError("disk")

    work = SharedWork([wait_for_the_other, fail], lambda: told.append("told"))
    owner = Task(work.finish)
    while work._begun == 0:
        pass
    assert work.help() or begun.is_set()
    with pytest.raises(OSError, match="disk"):
        owner.result()
    assert told == ["told"]


def test_an_error_that_was_caught_keeps_nothing_alive() -> None:
    """Else the inputs of a compaction that failed would stay on disk until the next garbage collection."""

    class Files:
        pass

    def attempt() -> weakref.ref[Files]:
        files = Files()

        def fail() -> int:
            assert files
            raise OSError("disk")

        try:
            SharedWork([fail], lambda: None).finish()
        except OSError:
            pass
        return weakref.ref(files)

    gc.disable()
    try:
        assert attempt()() is None
    finally:
        gc.enable()
