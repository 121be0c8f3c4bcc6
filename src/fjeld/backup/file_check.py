"""The files of a folder against their records: there, of the right size, and with the bytes that were written.

The check of a backup before it is published, and of one that was made long ago. What is inside of the files is
not looked at here: a table whose checksum is right holds what its writer has written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from fjeld.backup.crew import carry_out
from fjeld.backup.progress import Meter
from fjeld.errors import CorruptionError
from fjeld.kernel.checksum import file_xxh128
from fjeld.manifest.state import FileRecord

__all__ = ["check_file", "check_files"]


def check_file(folder: str | os.PathLike[str], record: FileRecord, named: str | None = None) -> None:
    """One file. CorruptionError: it is missing, longer or shorter, or its bytes are others.

    named: the path that the error names; None: that of the file.
    """
    path = os.path.join(folder, record.path)
    named = path if named is None else named
    try:
        size_bytes = os.stat(path).st_size
    except FileNotFoundError:
        raise CorruptionError("the file is missing; restore it from a backup", path=named) from None
    if size_bytes != record.size_bytes:
        raise CorruptionError(
            f"the file has {size_bytes} bytes, {record.size_bytes} were written; restore it from a backup",
            path=named,
        )
    if file_xxh128(path) != (record.size_bytes, record.xxh128):
        raise CorruptionError(
            "the file's bytes are not those that were written; restore it from a backup", path=named
        )


class _Check:
    """One file, as a task."""

    def __init__(self, folder: str | os.PathLike[str], record: FileRecord, named: str | None) -> None:
        self.size_bytes = record.size_bytes or 0
        self._folder = folder
        self._record = record
        self._named = named

    def work(self) -> None:
        check_file(self._folder, self._record, self._named)

    def cancel(self) -> None:
        """A file that is being read is read to its end."""

    def done_bytes(self) -> int:
        return 0


def check_files(
    folder: str | os.PathLike[str],
    records: Iterable[FileRecord],
    meter: Meter,
    *,
    named: Callable[[FileRecord], str] | None = None,
) -> None:
    """All of them, two at a time; the first that is not as it should be is a CorruptionError.

    meter: told of each file; its cancel stops the rest. named: the path that an error names.
    """
    carry_out([_Check(folder, record, None if named is None else named(record)) for record in records], meter)
