"""Work in pieces, that whoever has time may help with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["SharedWork"]

T = TypeVar("T")


class SharedWork(Generic[T]):
    """Pieces that are independent of one another; each is done once, by whichever thread takes it.

    The owner calls `finish`, any number of helpers `help`. When a piece fails, no other is begun, and
    on_failure() tells those that run.

    Thread safety: everything is guarded by `_changed`; pieces run without it.
    """

    def __init__(self, pieces: Sequence[Callable[[], T]], on_failure: Callable[[], None]) -> None:
        self._changed = threading.Condition()
        self._pieces: Sequence[Callable[[], T]] = pieces
        self._on_failure = on_failure
        self._begun = 0
        self._running = 0
        self._results: dict[int, T] = {}
        self._error: BaseException | None = None

    @property
    def wants_help(self) -> bool:
        """Is there a piece that nobody has begun?"""
        return self._error is None and self._begun < len(self._pieces)

    def help(self) -> bool:
        """Do one piece; False where there is none to begin. What it raises is the owner's."""
        with self._changed:
            if not self.wants_help:
                return False
            number = self._begun
            self._begun += 1
            self._running += 1
        try:
            self._end(number, self._pieces[number](), None)
        except BaseException as error:
            self._end(number, None, error)
        return True

    def _end(self, number: int, result: T | None, error: BaseException | None) -> None:
        with self._changed:
            self._running -= 1
            first = error is not None and self._error is None
            if first:
                self._error = error
            elif result is not None:
                self._results[number] = result
            self._changed.notify_all()
        if first:
            self._on_failure()

    def finish(self) -> list[T]:
        """Do what nobody has begun, wait for the rest; the results, in the order of the pieces.

        The first failure is raised, when no piece runs any more; `results` then has what was done.
        """
        while self.help():
            pass
        with self._changed:
            self._changed.wait_for(lambda: not self._running)
            self._pieces = ()  # whoever still knows of us keeps nothing of it alive
            error = self._error
        if error is None:
            return self.results
        try:
            # An error that we hold holds us, through its traceback, and with us the files that we read.
            self._error = None
            raise error
        finally:
            del error

    @property
    def results(self) -> list[T]:
        """What the pieces gave that are done."""
        with self._changed:
            return [self._results[number] for number in sorted(self._results)]
