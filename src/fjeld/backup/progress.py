"""How a backup tells how far it is, and learns that it is not wanted any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fjeld.errors import CancelledError

__all__ = ["Meter", "Progress"]

Progress = Callable[[int, int, int, int], object]
"""progress(done_files, total_files, done_bytes, total_bytes)"""


class Meter:
    """Counts what is done, reports it, and raises CancelledError once the event is set."""

    def __init__(
        self,
        total_files: int,
        total_bytes: int,
        progress: Progress | None,
        cancel: threading.Event | None,
        *,
        what: str = "backup",
    ) -> None:
        self._what = what
        self._total_files = total_files
        self._total_bytes = total_bytes
        self._progress = progress
        self._cancel = cancel
        self._done_files = 0
        self._done_bytes = 0

    def add(self, files: int, size_bytes: int) -> None:
        """So much more is done."""
        self._done_files += files
        self._done_bytes += size_bytes
        self.check()
        if self._progress is not None:
            self._progress(self._done_files, self._total_files, self._done_bytes, self._total_bytes)

    def correct(self, files: int, size_bytes: int) -> None:
        """So much more (or less) than was thought is to be done in all."""
        self._total_files += files
        self._total_bytes += size_bytes

    def check(self) -> None:
        """Raise where the caller has cancelled."""
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError(f"the {self._what} was cancelled; nothing of it is left")
