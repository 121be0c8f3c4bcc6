"""The linker: moves files into a checkpoint. Hard link, else clone, else copy, decided for each file.

What is copied is summed on its way and compared with its record, so a damaged source is found by the copy that
would have taken the damage along.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from fjeld.backup.crew import carry_out
from fjeld.backup.progress import Meter
from fjeld.backup.space import require_space
from fjeld.errors import CancelledError, CorruptionError
from fjeld.kernel import files
from fjeld.manifest.state import FileRecord

__all__ = ["Linker"]

# Links made in one go without the GIL; then the progress is reported. About 16 ms of work: beside a thread that never
# waits, taking the GIL back may last 5 ms each time, and makes that thread wait for the interpreter to be handed over.
LINKS_AT_ONCE = 1024


class _Copy:
    """The copy of one file, as a task."""

    def __init__(self, source: str, target: str, record: FileRecord, *, reflink: bool) -> None:
        self.size_bytes = record.size_bytes or 0
        self.reflinked_bytes = 0
        self.copied_bytes = 0
        self._source = os.path.join(source, record.path)
        self._target = os.path.join(target, record.path)
        self._record = record
        self._reflink = reflink
        self._cancel = files.CancelFlag()

    def work(self) -> None:
        try:
            reflinked_bytes, copied_bytes, xxh128 = files.copy_file_summed(
                self._source, self._target, reflink=self._reflink, cancel=self._cancel
            )
        except OSError as error:
            if error.errno == errno.ECANCELED and self._cancel.is_set():
                raise CancelledError("the copy was cancelled") from None
            raise
        size_bytes = reflinked_bytes + copied_bytes
        if size_bytes != self._record.size_bytes or xxh128 not in (None, self._record.xxh128):
            raise CorruptionError(
                "the file's bytes are not those that were written; the backup was given up",
                path=self._source,
            )
        self.reflinked_bytes, self.copied_bytes = reflinked_bytes, copied_bytes

    def cancel(self) -> None:
        self._cancel.set()

    def done_bytes(self) -> int:
        return 0


class Linker:
    """Moves the files of a version from one keyspace's folder to another, and counts what that took. One
    thread.
    """

    def __init__(self, source: str, target: str, meter: Meter, *, link: bool) -> None:
        self._source = source
        self._target = target
        self._meter = meter
        self._link = link
        self._shares = True
        """Whether files that cannot be linked may be cloned; known once one was copied."""
        self.linked_bytes = 0
        self.reflinked_bytes = 0
        self.copied_bytes = 0

    def move(self, records: Sequence[FileRecord]) -> None:
        """All of them; what is copied is on disk and compared with its checksum when this returns."""
        self._meter.check()
        if not self._link:
            self._copy(records, reflink=False)
            return
        for start in range(0, len(records), LINKS_AT_ONCE):
            self._link_some(records, start)

    def _link_some(self, everything: Sequence[FileRecord], start: int) -> None:
        """Of all that are moved, those from `start` on."""
        records = everything[start : start + LINKS_AT_ONCE]
        source, target = (os.fsencode(os.path.join(folder, "")) for folder in (self._source, self._target))
        names = [record.path.encode() for record in records]
        outcomes = files.link_many([source + name for name in names], [target + name for name in names])
        linked = [record for record, errnum in zip(records, outcomes, strict=True) if errnum == 0]
        # another device, too many links, no right to link, no links at all: then a copy
        others = [record for record, errnum in zip(records, outcomes, strict=True) if errnum != 0]
        if linked:
            linked_bytes = sum(record.size_bytes or 0 for record in linked)
            self.linked_bytes += linked_bytes
            self._meter.add(len(linked), linked_bytes)
        if others and self._shares:
            first = others.pop(0)
            self._copy([first], reflink=True)
            self._shares = self.copied_bytes == 0
            if not self._shares:
                coming = others if linked else [*others, *everything[start + LINKS_AT_ONCE :]]
                require_space(self._target, sum(record.size_bytes or 0 for record in coming))
        self._copy(others, reflink=True)

    def _copy(self, records: Sequence[FileRecord], *, reflink: bool) -> None:
        if not reflink:
            require_space(self._target, sum(record.size_bytes or 0 for record in records))
        tasks = [_Copy(self._source, self._target, record, reflink=reflink) for record in records]
        carry_out(tasks, self._meter)
        self.reflinked_bytes += sum(task.reflinked_bytes for task in tasks)
        self.copied_bytes += sum(task.copied_bytes for task in tasks)
