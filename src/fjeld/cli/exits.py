"""Exit codes: one for each kind of error, so that a script knows what to do without reading the message."""

from __future__ import annotations

from enum import IntEnum

from fjeld.errors import (
    CancelledError,
    CorruptionError,
    FjeldError,
    InvalidOptionError,
    LockedError,
    NotAKeyspaceError,
    PoisonedError,
    UnsupportedFormatError,
)

__all__ = ["Exit", "exit_for"]


class Exit(IntEnum):
    """What the process ends with."""

    OK = 0
    NO = 1  # the answer is no: no such key, a proof that failed
    USAGE = 2  # the command line itself, or an option that makes no sense
    NOT_A_KEYSPACE = 3
    LOCKED = 4
    CORRUPT = 5
    IO = 6  # what the operating system refused: disk full, no permission, target exists
    CANCELLED = 7
    UNSUPPORTED = 8  # written by a newer version
    POISONED = 9
    FAILED = 10  # any other error of Fjeld
    INTERRUPTED = 130  # Ctrl-C, as shells have it


# The first kind that fits counts: NotAKeyspaceError is an OSError too, InvalidOptionError a ValueError.
_KINDS: tuple[tuple[type[BaseException], Exit], ...] = (
    (NotAKeyspaceError, Exit.NOT_A_KEYSPACE),
    (LockedError, Exit.LOCKED),
    (CorruptionError, Exit.CORRUPT),
    (CancelledError, Exit.CANCELLED),
    (UnsupportedFormatError, Exit.UNSUPPORTED),
    (PoisonedError, Exit.POISONED),
    (InvalidOptionError, Exit.USAGE),
    (FjeldError, Exit.FAILED),
    (OSError, Exit.IO),
    (ValueError, Exit.USAGE),
)


def exit_for(error: BaseException) -> Exit | None:
    """The exit code for an error that the user can act on; None for a bug: let it show its traceback."""
    for kind, code in _KINDS:
        if isinstance(error, kind):
            return code
    return None
