"""The seqnos that somebody still reads at: what flush and compaction must keep readable."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Oldest", "OpenSnapshots"]


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest seqno that somebody reads at, and how long ago it was entered."""

    seqno: int
    age_seconds: float


class OpenSnapshots:
    """A multiset of seqnos. Safe from any thread.

    A seqno is taken and entered under one lock, so that a compaction, which fixes its inputs first and asks
    for the seqnos afterwards, either sees a snapshot or has only inputs that are older than it.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seqnos: Counter[int] = Counter()
        self._since: dict[int, float] = {}
        """When each of them was entered first."""
        self._closed: deque[int] = deque()
        """What was closed and is not yet taken out."""

    def open(self, seqno: Callable[[], int]) -> int:
        """Enter the seqno that the function gives now."""
        with self._lock:
            self._take_out()
            entered = seqno()
            self._seqnos[entered] += 1
            self._since.setdefault(entered, self._monotonic())
            return entered

    def close(self, seqno: int) -> None:
        """Take one entry of a seqno out. Called from finalizers, within any line of code: it takes no lock."""
        self._closed.append(seqno)

    def seqnos(self) -> list[int]:
        """Those that are open, ascending."""
        with self._lock:
            self._take_out()
            return sorted(self._seqnos)

    def oldest(self) -> Oldest | None:
        """Of those that are open; None where there is none."""
        with self._lock:
            self._take_out()
            if not self._seqnos:
                return None
            seqno = min(self._seqnos)
            return Oldest(seqno, self._monotonic() - self._since[seqno])

    def _take_out(self) -> None:
        while self._closed:
            seqno = self._closed.popleft()
            self._seqnos[seqno] -= 1
            if not self._seqnos[seqno]:
                del self._seqnos[seqno], self._since[seqno]
