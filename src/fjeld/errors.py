"""The kinds of failure, few and coarse: each tells the caller what to do.

`OSError`, `TypeError`, `ValueError` and `KeyError` keep their Python meaning.
"""

from __future__ import annotations

import os

__all__ = [
    "CancelledError",
    "ClosedError",
    "ConflictError",
    "CorruptionError",
    "FjeldError",
    "InvalidOptionError",
    "LockedError",
    "MisuseError",
    "NotAKeyspaceError",
    "PoisonedError",
    "UnsupportedFormatError",
]


class FjeldError(Exception):
    """The root of all errors of Fjeld."""


class CorruptionError(FjeldError):
    """A byte on disk is not what was written. Restore the file, or the keyspace, from a backup.

    `path` is the file, `offset` the place in it (bytes), where known.
    """

    def __init__(
        self, what: str, *, path: str | os.PathLike[str] | None = None, offset: int | None = None
    ) -> None:
        self.what = what
        self.path = None if path is None else os.fspath(path)
        self.offset = offset
        where = "" if self.path is None else f"{self.path}: "
        at = "" if offset is None else f" at offset {offset}"
        super().__init__(f"{where}{what}{at}")


class LockedError(FjeldError):
    """Another process (or this one) has the keyspace open. Close it there first."""


class PoisonedError(FjeldError):
    """An earlier sync failed, so it is not known what is on disk: writes are refused. Reads go on; reopening
    recovers.
    """


class ClosedError(FjeldError):
    """The keyspace, or what belongs to it, was closed (or belongs to the parent of a forked process)."""


class ConflictError(FjeldError):
    """Another transaction changed what this one read. Run it again."""


class MisuseError(FjeldError, RuntimeError):
    """The program uses a transaction as it must not be used, from two threads for example. The message says how."""


class CancelledError(FjeldError):
    """The caller cancelled the operation; nothing of it is left behind."""


class InvalidOptionError(FjeldError, ValueError):
    """An option has a value that makes no sense. The message names it."""


class UnsupportedFormatError(FjeldError):
    """The folder was written by a newer Fjeld. Upgrade to open it."""


class NotAKeyspaceError(FjeldError, FileNotFoundError):
    """The path holds no keyspace."""

    def __str__(self) -> str:  # OSError's would print the arguments as a tuple
        return str(self.args[0]) if self.args else ""
