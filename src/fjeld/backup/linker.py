"""The linker: moves files into a checkpoint. Hard link, else clone, else copy, decided for each file."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fjeld.backup.progress import Meter
from fjeld.errors import CorruptionError
from fjeld.kernel import files
from fjeld.kernel.checksum import file_xxh128
from fjeld.manifest.state import FileRecord

__all__ = ["Linker"]

# Links made in one go without the GIL; between two the progress is reported. About 2 ms of work.
LINKS_AT_ONCE = 256


class Linker:
    """Moves the files of a version from one keyspace's folder to another, and counts what that took. One
    thread.
    """

    def __init__(self, source: str, target: str, meter: Meter, *, link: bool) -> None:
        self._source = source
        self._target = target
        self._meter = meter
        self._link = link
        self.linked_bytes = 0
        self.reflinked_bytes = 0
        self.copied_bytes = 0

    def move(self, records: Sequence[FileRecord]) -> None:
        """All of them; what is copied is on disk and compared with its checksum when this returns."""
        if not self._link:
            for record in records:
                self._copy(record, reflink=False)
            return
        for start in range(0, len(records), LINKS_AT_ONCE):
            self._link_some(records[start : start + LINKS_AT_ONCE])

    def _link_some(self, records: Sequence[FileRecord]) -> None:
        source, target = (os.fsencode(os.path.join(folder, "")) for folder in (self._source, self._target))
        names = [record.path.encode() for record in records]
        outcomes = files.link_many([source + name for name in names], [target + name for name in names])
        linked = [record for record, errnum in zip(records, outcomes, strict=True) if errnum == 0]
        linked_bytes = sum(record.size_bytes or 0 for record in linked)
        self.linked_bytes += linked_bytes
        self._meter.add(len(linked), linked_bytes)
        for record, errnum in zip(records, outcomes, strict=True):
            if errnum != 0:  # another device, too many links, no right to link, no links at all: then a copy
                self._copy(record, reflink=True)

    def _copy(self, record: FileRecord, *, reflink: bool) -> None:
        self._meter.check()
        source = os.path.join(self._source, record.path)
        target = os.path.join(self._target, record.path)
        reflinked_bytes, copied_bytes = files.copy_file(source, target, reflink=reflink)
        if copied_bytes and file_xxh128(target) != (record.size_bytes, record.xxh128):
            raise CorruptionError(
                "the file's bytes are not those that were written; the backup was given up", path=source
            )
        self.reflinked_bytes += reflinked_bytes
        self.copied_bytes += copied_bytes
        self._meter.add(1, record.size_bytes or 0)
