"""Free space: a copy that cannot fit is refused before its first byte."""

from __future__ import annotations

import errno
import os

__all__ = ["free_bytes", "require_space"]


def free_bytes(folder: str) -> int | None:
    """What an ordinary user may still write to the file system of a folder; None: it does not say."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def require_space(folder: str, needed_bytes: int) -> None:
    """OSError (ENOSPC) where so many bytes do not fit."""
    free = free_bytes(folder)
    if free is not None and needed_bytes > free:
        raise OSError(
            errno.ENOSPC,
            f"no space for the backup: {needed_bytes:,} bytes are needed, {free:,} are free",
            folder,
        )
