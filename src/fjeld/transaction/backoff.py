"""How long to wait before a transaction that has met a conflict is run again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """A random time between nothing and a bound that doubles with each attempt, so that those who have met do
    not meet again ("full jitter": Brooker, *Exponential Backoff and Jitter*, AWS, 2015).
    """

    base_seconds: float = 0.000_5
    """The first bound: some transactions long."""
    cap_seconds: float = 0.1
    random: Callable[[], float] = random.random
    """From 0 up to 1."""
    sleep: Callable[[float], object] = time.sleep

    def seconds(self, attempt: int) -> float:
        """Before the attempt after this one; the first is 0."""
        return self.random() * min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt, 60))

    def wait(self, attempt: int) -> None:
        self.sleep(self.seconds(attempt))
