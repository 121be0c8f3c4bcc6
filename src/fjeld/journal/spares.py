"""Journals made ready ahead of need, so that switching to one costs the writers microseconds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from fjeld.kernel import files
from fjeld.kernel.journal import JournalWriter

__all__ = ["SpareJournals"]

# One may be taken by a checkpoint just before a writer needs the next.
SPARES = 2


class SpareJournals:
    """Empty journals, in the order of their numbers, in which they are used.

    create(capacity_bytes) makes one with the next number. Thread safety: any thread may call any method;
    creating takes milliseconds and is done by one thread at a time; taking one that is ready waits for
    nobody.
    """

    def __init__(self, create: Callable[[int], JournalWriter], capacity_bytes: int) -> None:
        self._create = create
        self._capacity_bytes = capacity_bytes
        self._creating = threading.Lock()
        self._ready: deque[JournalWriter] = deque()
        self._closed = False

    @property
    def wanted(self) -> bool:
        """Is there one to make?"""
        return len(self._ready) < SPARES and not self._closed

    def fill(self) -> None:
        """Make those that are missing. A worker's job; OSError where there is no space."""
        while self.wanted:
            with self._creating:
                if self.wanted:
                    self._ready.append(self._create(self._capacity_bytes))

    def take(self, needed_bytes: int) -> JournalWriter:
        """The next journal, with room for so much.

        Requires: the lock of switching, so that the order of taking is that of use, and not closed.
        """
        if needed_bytes <= self._capacity_bytes:
            with suppress(IndexError):
                return self._ready.popleft()
        with self._creating:
            if needed_bytes > self._capacity_bytes:
                # Journals are used in the order of their numbers: the small ones cannot wait until after a
                # larger one.
                self._discard_all()
            elif self._ready:
                return self._ready.popleft()
            return self._create(max(self._capacity_bytes, needed_bytes))

    def put_back(self, journal: JournalWriter) -> None:
        """It was not needed. Requires: it was the last one taken, and the lock of switching."""
        with self._creating:
            if journal.capacity_bytes == self._capacity_bytes & ~7:
                self._ready.appendleft(journal)
            else:
                discard(journal)

    def _discard_all(self) -> None:
        while self._ready:
            discard(self._ready.popleft())

    def close(self) -> None:
        """No more journals are needed: those that are ready go."""
        with self._creating:
            self._closed = True
            self._discard_all()


def discard(journal: JournalWriter) -> None:
    """A journal that was never written to goes again."""
    with suppress(OSError):
        journal.close()
    with suppress(OSError):  # what stays is deleted by the next recovery
        files.unlink(journal.path)
