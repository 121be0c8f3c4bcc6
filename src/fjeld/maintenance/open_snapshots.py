"""The seqnos that somebody still reads at: what flush and compaction must keep readable."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable

__all__ = ["OpenSnapshots"]


class OpenSnapshots:
    """A multiset of seqnos. Safe from any thread.

    A seqno is taken and entered under one lock, so that a compaction, which fixes its inputs first and asks
    for the seqnos afterwards, either sees a snapshot or has only inputs that are older than it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seqnos: Counter[int] = Counter()
        self._closed: deque[int] = deque()
        """What was closed and is not yet taken out."""

    def open(self, seqno: Callable[[], int]) -> int:
        """Enter the seqno that the function gives now."""
        with self._lock:
            self._take_out()
            entered = seqno()
            self._seqnos[entered] += 1
            return entered

    def close(self, seqno: int) -> None:
        """Take one entry of a seqno out. Called from finalizers, within any line of code: it takes no lock."""
        self._closed.append(seqno)

    def seqnos(self) -> list[int]:
        """Those that are open, ascending."""
        with self._lock:
            self._take_out()
            return sorted(self._seqnos)

    def _take_out(self) -> None:
        while self._closed:
            seqno = self._closed.popleft()
            self._seqnos[seqno] -= 1
            if not self._seqnos[seqno]:
                del self._seqnos[seqno]
