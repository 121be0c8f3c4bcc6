"""Single files that Fjeld knows, told by their first bytes: what `inspect` and `verify` do with them.

A kind of file belongs to a room above this one (exports), which makes it known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fjeld.backup.progress import Progress
from fjeld.errors import NotAKeyspaceError

if TYPE_CHECKING:  # they ask here
    from fjeld.backup.inspect import InspectedExport
    from fjeld.backup.report import VerifyReport

__all__ = ["FILE_KINDS", "FileKind", "kind_of_file"]

MAGIC_BYTES = 8


class VerifiesFile(Protocol):
    """As `fjeld.verify`, given an absolute path."""

    def __call__(
        self, path: str, *, scan: bool, progress: Progress | None, cancel: threading.Event | None
    ) -> VerifyReport: ...


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of file."""

    inspect: Callable[[str], InspectedExport]
    """Given its absolute path."""
    verify: VerifiesFile


FILE_KINDS: dict[bytes, FileKind] = {}
"""By the first eight bytes."""


def kind_of_file(path: str) -> FileKind:
    """NotAKeyspaceError: it is a file of somebody else's."""
    with open(path, "rb") as file:
        magic = file.read(MAGIC_BYTES)
    kind = FILE_KINDS.get(magic)
    if kind is None:
        raise NotAKeyspaceError(
            f"{path} is a file that Fjeld does not know: give the folder of a keyspace, or an export"
        )
    return kind
