"""Work that no KeyboardInterrupt may cut in two.

Python runs signal handlers in the main thread, between any two of its steps. So what changes shared state in
several steps (switching a journal, installing a version) is done by another thread while the main one waits.
An interrupt ends the waiting; the work comes to its end, and whoever needs its locks waits for it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar, cast

__all__ = ["shielded"]

P = ParamSpec("P")
T = TypeVar("T")


class _Errand(Generic[T]):
    """One call, made by a thread of its own. `done` is locked until it has ended."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.result: T | None = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # it is raised where the call was made
            self.error = error
        finally:
            self.done.release()

    def wait(self) -> T:
        self.done.acquire()
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # it holds this frame
        return cast(T, self.result)


def shielded(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function that, called by the main thread, runs to its end whatever signals arrive. Costs some 50
    us there.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        errand = _Errand(functools.partial(function, *args, **kwargs))
        try:
            threading.Thread(target=errand.run, name="fjeld-errand", daemon=True).start()
        except RuntimeError:  # no thread can be had, as in exit handlers from Python 3.12 on
            return function(*args, **kwargs)
        return errand.wait()

    return call
