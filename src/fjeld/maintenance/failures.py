"""Which background jobs have failed, and when each may be tried again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from fjeld.errors import FjeldError
from fjeld.maintenance.workers import RETRY_SECONDS

__all__ = ["Claim", "Failures", "again"]

Claim = tuple[str, int]
"""The kind of a job and, where it is for a partition, that one's id."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job has failed; it is not tried again before `retry_at` (monotonic seconds)."""

    error: BaseException
    retry_at: float


class Failures:
    """The failures that no success has followed. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[Claim, Failure] = {}
        """Oldest first. Guarded by `_lock`."""

    def failed(self, claim: Claim, error: BaseException) -> None:
        """Requires: the error is on its way to nobody who needs its traceback, which would keep files alive."""
        error.__traceback__ = None
        with self._lock:
            self._failures.pop(claim, None)
            self._failures[claim] = Failure(error, time.monotonic() + RETRY_SECONDS)

    def succeeded(self, claim: Claim) -> None:
        """Done, in the background or by a caller: it does not fail any more."""
        with self._lock:
            self._failures.pop(claim, None)

    def of(self, claim: Claim) -> BaseException | None:
        with self._lock:
            failure = self._failures.get(claim)
        return None if failure is None else failure.error

    def newest(self, but: Claim | None = None) -> BaseException | None:
        """The newest of all, or of all but those of one kind."""
        with self._lock:
            errors = [failure.error for claim, failure in self._failures.items() if claim != but]
        return errors[-1] if errors else None

    def may_try(self, claim: Claim) -> bool:
        """Has it not just failed?"""
        with self._lock:
            failure = self._failures.get(claim)
        return failure is None or time.monotonic() >= failure.retry_at

    def retry_now(self) -> None:
        """Do not wait for the time of the next attempt."""
        with self._lock:
            self._failures = {claim: Failure(failure.error, 0.0) for claim, failure in self._failures.items()}


def again(failure: BaseException) -> Exception:
    """The failure of a background job, to be raised in a caller's thread."""
    if isinstance(failure, OSError) and failure.errno is not None:
        return OSError(failure.errno, failure.strerror, failure.filename)
    if isinstance(failure, Exception):
        return failure
    return FjeldError(f"a background job that has to be done first was ended by {failure!r}")
