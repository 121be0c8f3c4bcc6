"""Holding writers to a rate: how long they have to wait, by what they have written.

A bucket with a hole: every byte written is owed, time pays at the rate. Who writes a batch of a thousand owes
as much as who writes a thousand times. A sleep shorter than a millisecond is none: it is late by 60 us, which
is many writes; what is owed adds up until it is worth one.
"""

from __future__ import annotations

import threading

__all__ = ["MIN_WAIT_SECONDS", "Pacer", "RateMeter"]

MIN_WAIT_SECONDS = 0.001

# A rate is taken over no less than this: a flush may end just after another.
WINDOW_SECONDS = 0.01


class RateMeter:
    """How fast writers went lately, by looks at what they have written. One thread at a time."""

    def __init__(self) -> None:
        self.bytes_per_second = 0.0
        """Between the last two looks that lay far enough apart."""
        self._written_bytes = 0
        self._seconds = 0.0

    def look(self, written_bytes: int, seconds: float) -> None:
        """written_bytes: by all writers, ever. seconds: the time, by a clock that never goes back."""
        elapsed_seconds = seconds - self._seconds
        if elapsed_seconds >= WINDOW_SECONDS:
            self.bytes_per_second = (written_bytes - self._written_bytes) / elapsed_seconds
            self.restart(written_bytes, seconds)

    def restart(self, written_bytes: int, seconds: float) -> None:
        """What was written up to now was not written freely."""
        self._written_bytes, self._seconds = written_bytes, seconds


class Pacer:
    """Counts what all writers of a keyspace owe. Any thread may call; time and bytes are handed in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written_bytes = 0
        self._seconds = 0.0
        self._owed_bytes = 0.0

    def restart(self, written_bytes: int, seconds: float) -> None:
        """Nothing is owed for what was written up to now."""
        with self._lock:
            self._written_bytes, self._seconds, self._owed_bytes = written_bytes, seconds, 0.0

    def wait_seconds(self, written_bytes: int, bytes_per_second: float, seconds: float) -> float:
        """How long to wait before the next write; 0 where it is not worth a sleep yet.

        written_bytes: by all writers, ever. seconds: the time, by a clock that never goes back.
        """
        with self._lock:
            paid_bytes = max(0.0, seconds - self._seconds) * bytes_per_second
            new_bytes = max(0, written_bytes - self._written_bytes)
            self._owed_bytes = max(0.0, self._owed_bytes + new_bytes - paid_bytes)
            self._written_bytes = max(written_bytes, self._written_bytes)
            self._seconds = max(seconds, self._seconds)
            owed_seconds = self._owed_bytes / bytes_per_second
        return owed_seconds if owed_seconds >= MIN_WAIT_SECONDS else 0.0
