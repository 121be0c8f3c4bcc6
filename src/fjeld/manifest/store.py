"""The version store: the current version, the manifest behind it, and the live objects of its files.

    edit(...)     manifest lock:  append, sync     (may take milliseconds; nobody else waits for it)
                  install lock:   version = version.apply(edit); the caller's `install` swaps views
    seal(...)     install lock only: a journal that was just sealed is listed; recovery would find it by itself

Thread safety: every method may be called from any thread. Lock order: commit lock, then manifest lock, then
install lock; nobody does I/O under the install lock, nobody takes the commit lock under one of the others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from fjeld.errors import ClosedError
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.short_lock import ShortLock
from fjeld.manifest import names
from fjeld.manifest.current import publish_current
from fjeld.manifest.edit import Counters, Edit
from fjeld.manifest.live_blob import LiveBlob
from fjeld.manifest.live_file import LiveFile, Reaper
from fjeld.manifest.live_table import LiveTable
from fjeld.manifest.log import ManifestWriter
from fjeld.manifest.state import BlobMeta, JournalMeta, PartitionState, TableMeta
from fjeld.manifest.version import Version
from fjeld.sync_points import sync_point

__all__ = ["VersionStore"]

Levels = tuple[tuple[LiveTable, ...], ...]


class VersionStore:
    """Owns the manifest and the current version of one open keyspace."""

    def __init__(
        self,
        path: str,
        version: Version,
        *,
        cache: BlockCache,
        descriptors: DescriptorPool,
        reaper: Reaper,
    ) -> None:
        self.path = path
        self.tables_directory = os.path.join(path, names.TABLES_DIRECTORY)
        self.blobs_directory = os.path.join(path, names.BLOBS_DIRECTORY)
        self.journals_directory = os.path.join(path, names.JOURNALS_DIRECTORY)
        self.version = version
        """Read it without a lock: it is a value."""
        self.cache = cache
        self.descriptors = descriptors
        self.reaper = reaper
        self.install_lock = ShortLock()
        self._manifest_lock = threading.Lock()
        self._number_lock = threading.Lock()
        self._closed = False
        self._next_file = version.next_file
        self._next_partition = version.next_partition
        self._durable_seqno = version.seqno
        """Of the edits so far. Guarded by the manifest lock."""
        self._writer: ManifestWriter | None = None
        self._tables: dict[int, LiveTable] = {}
        self._blobs: dict[int, LiveBlob] = {}
        self._journals: dict[int, LiveFile] = {}
        self._suspects: list[str] = []
        for table in version.tables():
            self._add_table(table)
        for blob in version.blobs():
            self._add_blob(blob)
        for journal in version.journals:
            self._add_journal(journal.number)

    @property
    def keyspace_id(self) -> str:
        """What the tables made here say they belong to."""
        return self.version.id

    # ---- numbers ----

    def next_file(self) -> int:
        """A file number that nobody has had. ClosedError once the store is closed: the folder may be
        another's by then.
        """
        with self._number_lock:
            if self._closed:
                raise ClosedError("the keyspace was closed: open it again")
            number = self._next_file
            self._next_file += 1
            return number

    def next_partition(self) -> int:
        """A partition id that nobody has had."""
        with self._number_lock:
            number = self._next_partition
            self._next_partition += 1
            return number

    # ---- live objects ----

    def table_path(self, number: int) -> str:
        return f"{self.path}/{names.table_path(number)}"

    def blob_path(self, number: int) -> str:
        return f"{self.path}/{names.blob_path(number)}"

    def journal_path(self, number: int) -> str:
        return f"{self.path}/{names.journal_path(number)}"

    def _add_table(self, meta: TableMeta) -> None:
        file = LiveFile(self.table_path(meta.number), self.reaper)
        self._tables[meta.number] = LiveTable(meta, file, self.cache, self.descriptors)

    def _add_blob(self, meta: BlobMeta) -> None:
        file = LiveFile(self.blob_path(meta.number), self.reaper)
        self._blobs[meta.number] = LiveBlob(meta, file, self.descriptors)

    def _add_journal(self, number: int) -> None:
        self._journals[number] = LiveFile(self.journal_path(number), self.reaper)

    def levels(self, state: PartitionState) -> Levels:
        """The live tables of a partition, by level. Requires: install lock, or nobody else there yet."""
        return tuple(tuple(self._tables[table.number] for table in tables) for tables in state.levels)

    def blobs(self, state: PartitionState) -> tuple[LiveBlob, ...]:
        """The live blob files of a partition, by number. Requires: as `levels`."""
        return tuple(self._blobs[blob.number] for blob in state.blobs)

    def live_table(self, number: int) -> LiveTable:
        """The live table of a number that the current version has. Requires: install lock."""
        return self._tables[number]

    def live_blob(self, number: int) -> LiveBlob:
        """The live blob file of a number that the current version has. Requires: install lock."""
        return self._blobs[number]

    def live_journals(self) -> list[LiveFile]:
        """What to hold so that the sealed journals of the current version stay. Requires: install lock."""
        return list(self._journals.values())

    # ---- edits ----

    def edit(
        self,
        edit: Edit,
        *,
        seqno: int,
        install: Callable[[Version], object] | None = None,
        installed: Edit | None = None,
        created: Sequence[str] = (),
    ) -> Version:
        """Write the edit to the manifest, sync it, then make its version current; the new version.

        install(version) runs under the install lock, right after the version was switched: it swaps views,
        without I/O.

        installed: what to apply in memory where that differs from what the manifest records.

        created: paths of the files that the edit adds. They belong to the store from here on.

        A failed write raises OSError and changes nothing; an edit that does not fit is a ValueError.

        seqno: with this edit, every write up to it is on disk, in tables or in journals that were synced. The manifest
        never states a later one: recovery takes it as the end of what a journal that was lost may have held.
        """
        installed = edit if installed is None else installed
        with self._manifest_lock:
            try:
                self.version.apply(installed)  # a misfit must not reach the manifest
                recorded = Edit.of(*edit.changes, self._counters(seqno))
                self._roll_if_large()
                if self._writer is None:
                    raise ClosedError("the keyspace was closed: open it again")
            except BaseException:
                self.discard(created)  # no manifest can name them
                raise
            try:
                self._writer.append(recorded)
            except BaseException:
                # Whether the edit is on disk is not known; a new manifest without it makes it known.
                self._suspects += created
                raise
            self._durable_seqno = max(self._durable_seqno, seqno)
            sync_point("manifest:synced")
            version = self._install(Edit.of(*installed.changes, self._counters(seqno)), install)
            sync_point("manifest:installed")
            return version

    def prepare_seal(self, number: int) -> LiveFile:
        """The file of the active journal, for `seal`. Also goes through the motions of it, without the commit
        lock: what comes next then finds its code in the processor's caches, which halves its time.
        """
        self.version.with_journal(JournalMeta(number=number, last_seqno=0))
        return LiveFile(self.journal_path(number), self.reaper)

    def seal(self, journal: JournalMeta, file: LiveFile) -> None:
        """List a journal that was just sealed. Requires: commit lock, so this is brief: no edit, no draft."""
        with self.install_lock:
            self.version = self.version.with_journal(journal)
            self._journals[journal.number] = file

    def note_durable(self, seqno: int) -> None:
        """Every write up to this is on disk: the next edit states so. For a seqno that no table and no memtable
        will have: journals may retire that hold nothing later.
        """
        with self._manifest_lock:
            self._durable_seqno = max(self._durable_seqno, seqno)

    def adopt(self, version: Version) -> None:
        """Recovery: the journals that were replayed are part of the version. Requires: nobody else there yet."""
        self.version = version
        self._durable_seqno = version.seqno
        self._journals.clear()
        for journal in version.journals:
            self._add_journal(journal.number)

    def _counters(self, seqno: int) -> Counters:
        with self._number_lock:
            # The id of a partition that is being created counts once its edit is there, and not before.
            return Counters(self._next_file, self.version.next_partition, max(seqno, self._durable_seqno))

    def _install(self, edit: Edit, install: Callable[[Version], object] | None) -> Version:
        with self.install_lock:
            before, after = self.version, self.version.apply(edit)
            self._switch_files(before, after)
            self.version = after
            if install is not None:
                install(after)
            return after

    def _switch_files(self, before: Version, after: Version) -> None:
        """Make objects for files that are new; let go of those that are gone: they are deleted when nobody
        holds them.
        """
        if before.partitions is not after.partitions:
            for partition in before.partitions.keys() | after.partitions.keys():
                old, new = before.partitions.get(partition), after.partitions.get(partition)
                if old is not new:
                    self._switch_tables(old, new)
        if before.journals is not after.journals:
            kept = {journal.number for journal in after.journals}
            for number in kept - self._journals.keys():
                self._add_journal(number)
            for number in self._journals.keys() - kept:
                self._journals.pop(number).mark_obsolete()

    def _switch_tables(self, old: PartitionState | None, new: PartitionState | None) -> None:
        there = {} if old is None else {table.number: table for table in old.tables()}
        now = {} if new is None else {table.number: table for table in new.tables()}
        for number in now.keys() - there.keys():
            self._add_table(now[number])
        for number in there.keys() - now.keys():
            self._tables.pop(number).file.mark_obsolete()
        before = {} if old is None else {blob.number: blob for blob in old.blobs}
        after = {} if new is None else {blob.number: blob for blob in new.blobs}
        for number in after.keys() - before.keys():
            self._add_blob(after[number])
        for number in before.keys() - after.keys():
            self._blobs.pop(number).live.mark_obsolete()

    # ---- the manifest ----

    def start_manifest(self) -> None:
        """Write a new manifest with the current version as its first record and make it the live one."""
        with self._manifest_lock:
            self._start_manifest()

    def _start_manifest(self) -> None:
        with self._number_lock:
            number = self._next_file
            self._next_file += 1
        with self.install_lock:
            version = self._durable_version()
        try:
            writer = ManifestWriter(self.path, number, version)
        except BaseException:
            with suppress(OSError):  # nothing names it
                files.unlink(os.path.join(self.path, names.manifest_name(number)))
            raise
        sync_point("manifest:written")
        try:
            publish_current(self.path, number)
        except BaseException:
            with suppress(OSError):
                writer.close()
            if self._writer is not None:
                self._writer.broken = True  # which of the two counts is not known: neither may be appended to
            raise
        sync_point("manifest:published")
        old, self._writer = self._writer, writer
        self.discard(self._suspects)
        self._suspects = []
        if old is not None:
            with suppress(OSError):  # what stays is deleted by the next recovery
                old.close()
                files.unlink(old.path)

    def discard(self, paths: Sequence[str]) -> None:
        """Delete files that no edit has named."""
        for path in paths:
            self.reaper.give(path)

    def _durable_version(self) -> Version:
        """The version as the manifest may state it: journals that are not finished, and the seqnos in them,
        are found by recovery itself. Requires: manifest lock and install lock.
        """
        version = self.version
        return replace(
            version,
            journals=tuple(journal for journal in version.journals if journal.finished),
            next_file=self._next_file,
            seqno=self._durable_seqno,
        )

    def _roll_if_large(self) -> None:
        if self._writer is not None and (self._writer.should_roll() or self._writer.broken):
            self._start_manifest()

    @property
    def manifest_bytes(self) -> int:
        """Size of the live manifest."""
        return 0 if self._writer is None else self._writer.size_bytes

    def close(self) -> None:
        """No more edits, no more numbers. Closing twice is fine."""
        with self._manifest_lock:
            with self._number_lock:
                self._closed = True
            if self._writer is not None:
                with suppress(OSError):  # without its seal it is the manifest of a process that died
                    self._writer.close()
                self._writer = None
