"""A pin: the files of one moment, kept alive without a copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from fjeld.engine import Engine

__all__ = ["Pin", "PinnedFile"]


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One immutable file: where it is, and what its bytes are."""

    path: Path
    size_bytes: int
    xxh128: str


class Pin:
    """The immutable files that hold everything up to `seqno`. A context manager; release it, else nothing is
    deleted.

    Nobody waits for a pin: flushes and compactions go on, and delete what they replace when the pin is
    released.
    """

    def __init__(self, engine: Engine) -> None:
        self._cut = engine.cut()
        version = engine.finish(self._cut)
        self.seqno = self._cut.seqno
        """What was written up to this seqno is in the files."""
        self.files = [
            PinnedFile(Path(engine.path, file.path), file.size_bytes or 0, file.xxh128 or "")
            for file in version.files()
        ]
        """Absolute paths, sizes and checksums (XXH3-128)."""

    def release(self) -> None:
        """Let the files go. Releasing twice is fine."""
        self._cut.release()

    def __enter__(self) -> Pin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
