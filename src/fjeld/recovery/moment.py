"""A moment: one consistent state of a keyspace, read from the outside while its owner goes on.

The owner knows nothing of readers: it appends to journals, adds edits to the manifest and deletes files. So

    1  read CURRENT and its manifest: a version
    2  open every table and blob file of the version, and every journal from its floor on
    3  read on in the manifest: if the floor has risen, again from 2 with the version of now
    4  read the journal that is written to, and the empty ones behind it, newest first
    5  read on in the manifest: if an edit since 2 was not one of maintenance, again from 2

Why that is one state:

  - An edit is in the manifest before its files are deleted, and before what follows it is written. A name that is
    gone, and no edit since: the file is missing. Else the version of now knows better.
  - Journals are deleted after the edit that raises the floor. The floor was the same after they were opened, so
    all of them were there.
  - Flush, compaction, sealing, finishing and retirement change where entries lie, not which there are: the version with
    its files, all open, shows the same with the journals of a later time. What creates, drops, clears or ingests
    changes what there is, and no journal before it may be shown with a version after it, nor the other way round.
  - A journal is sealed before the next one gets its first record. Read newest first, a journal is read to its end
    at least up to where the next one began: there is no gap. Those before the newest with records change no
    more (but for their unused tails), so their bytes are read later, out of the open file.
  - A record counts when its checksum is valid. What was in flight is not there yet; what is written after 4 is
    not read (`JournalReader.restart`).
  - Open files outlive their names, so after 5 nothing can be taken away.

A turn costs what has changed since the one before: files stay open, the manifest is read on. So a busy owner is caught
up with, however large the keyspace is. An error of what was read is believed when a second turn meets the same: the
first may have met a journal that was being made.

Alternatives: a lock shared with the owner (it would have to write, and readers could hold it up); a registry of
readers (the same, and a reader that dies leaves an entry); copying what is read (the size of the store, each time).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fjeld.errors import CorruptionError
from fjeld.kernel import files
from fjeld.kernel.blob import BlobReader
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.replay import replay_journal
from fjeld.kernel.table import TableReader
from fjeld.manifest import names
from fjeld.manifest.blob_meta import BlobMeta
from fjeld.manifest.current import read_current
from fjeld.manifest.edit import (
    Change,
    ChangeTables,
    Counters,
    Edit,
    FinishJournal,
    RetireJournals,
    SealJournal,
)
from fjeld.manifest.fields import MAX_SEQNO
from fjeld.manifest.log import ManifestInfo, ManifestReader
from fjeld.manifest.recovery import JournalReplay, Listing, plan_recovery
from fjeld.manifest.state import TableMeta
from fjeld.manifest.version import Version
from fjeld.recovery.folder import list_folder, open_manifest
from fjeld.recovery.limits import allow_descriptors, too_many_files
from fjeld.sync_points import sync_point

__all__ = ["HeldBlob", "HeldJournal", "HeldTable", "Moment", "read_moment"]

# A turn takes milliseconds; what makes another one necessary comes a few times in a second. With these pauses it
# is given up after some ten seconds.
ATTEMPTS = 300
ATTEMPTS_WITHOUT_PAUSE = 20
LONGEST_PAUSE_SECONDS = 0.05


class HeldTable(TableReader):
    """A table whose file is open for as long as the reader lives. Read when it is first used."""

    __slots__ = ("meta",)

    meta: TableMeta

    def __new__(
        cls, folder: str, meta: TableMeta, cache: BlockCache, descriptors: DescriptorPool
    ) -> HeldTable:
        table = super().__new__(
            cls,
            os.path.join(folder, meta.path),
            cache,
            descriptors,
            expected_bytes=meta.size_bytes,
            smallest=meta.smallest,
            largest=meta.largest,
            seqno=meta.max_seqno if meta.min_seqno == meta.max_seqno else 0,
        )
        table.meta = meta
        table.hold()
        return table


class HeldBlob(BlobReader):
    """A blob file that is open for as long as the reader lives, unless it could not be opened: then it is damage to the
    values in it, which whoever reads one of them meets.
    """

    __slots__ = ("meta",)

    meta: BlobMeta

    def __new__(cls, folder: str, meta: BlobMeta, descriptors: DescriptorPool) -> HeldBlob:
        path = os.path.join(folder, meta.path)
        blob = super().__new__(cls, path, descriptors, number=meta.number, file_bytes=meta.size_bytes)
        blob.meta = meta
        return blob


class HeldJournal:
    """A journal whose file is open until `close`. For one thread."""

    def __init__(self, path: str, replay: JournalReplay) -> None:
        self.path = path
        self.replay = replay
        self._descriptor = files.open_file(path)
        self._reader: JournalReader | None = None
        self.last_seqno: int | None = None
        """Of its records, once it was loaded."""

    def load(self) -> bool:
        """Read it now, to where it ends just now: that is its end from here on. Does it hold records?"""
        reader = self._open(MAX_SEQNO)
        replay_journal(reader, {}, {}, 0, None)
        self._reader = reader
        self.last_seqno = reader.last_seqno
        return reader.first_seqno > 0

    def open(self, after_seqno: int) -> JournalReader:
        """A reader at its beginning. Of one that was loaded there is one only."""
        if self._reader is None:
            return self._open(after_seqno)
        self._reader.restart(after_seqno)
        return self._reader

    def _open(self, after_seqno: int) -> JournalReader:
        if self._descriptor < 0:
            raise ValueError(f"{self.path}: the journal is closed")
        meta = self.replay.meta
        return JournalReader(
            self.path,
            self.replay.number,
            allow_torn=self.replay.may_be_torn,
            after_seqno=after_seqno,
            end_bytes=None if meta is None else meta.end_bytes,
            descriptor=self._descriptor,
        )

    def close(self) -> None:
        """Let go of the file and of what was read. Closing twice is fine."""
        descriptor, self._descriptor = self._descriptor, -1
        self._reader = None
        if descriptor >= 0:
            files.close_file(descriptor)

    def __del__(self) -> None:
        try:
            self.close()
        except BaseException:  # a finalizer has nobody to raise to
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One state of a keyspace, its files held."""

    path: str
    reader: ManifestReader
    """Of the manifest: it may be further than `version`."""
    manifest: ManifestInfo
    """What was met up to `version`."""
    version: Version
    listing: Listing
    tables: dict[int, HeldTable]
    """By number."""
    blobs: dict[int, HeldBlob]
    """By number."""
    journals: tuple[HeldJournal, ...]
    """Those to replay, in order."""
    failed: dict[str, OSError]
    """By relative path: files of the version that could not be opened. Of a reading that is not lenient: blob files only."""

    @property
    def replays(self) -> tuple[JournalReplay, ...]:
        """What to replay, in order."""
        return tuple(journal.replay for journal in self.journals)

    @property
    def mark(self) -> tuple[object, ...]:
        """Two moments of one path with the same mark show the same."""
        journals = tuple((journal.replay.number, journal.last_seqno) for journal in self.journals)
        return (self.version.id, self.manifest.number, self.manifest.edits, journals)

    def open_journal(self, replay: JournalReplay, after_seqno: int) -> JournalReader:
        """A reader at the beginning of one of the journals."""
        return next(held for held in self.journals if held.replay is replay).open(after_seqno)

    def release(self) -> None:
        """Let go of the journals. The tables go with those who hold them."""
        for journal in self.journals:
            journal.close()


def _is_maintenance(change: Change) -> bool:
    """Does it change only where entries lie, not which there are? Of a kind that is not known here: no."""
    if isinstance(change, ChangeTables):
        return bool(change.removed) or change.flushed_seqno is not None  # else it is an ingestion
    return isinstance(change, (SealJournal, FinishJournal, RetireJournals, Counters))


class _ChangedError(Exception):
    """The owner was faster: another turn."""


def read_moment(
    path: str,
    *,
    cache: BlockCache,
    descriptors: DescriptorPool,
    reuse: Moment | None = None,
    lenient: bool = False,
) -> Moment:
    """A consistent state of the keyspace in the folder `path` (absolute). Release its journals.

    reuse: what is open in it is taken from there. lenient: files that cannot be opened are listed.

    Requires: the marker was checked. UnsupportedFormatError, CorruptionError; OSError (EMFILE) where so many files
    may not be open; BlockingIOError where the owner changed the keyspace during every turn.
    """
    reading = _Reading(path, cache, descriptors, reuse, lenient)
    seen: tuple[object, ...] | None = None
    try:
        for attempt in range(ATTEMPTS):
            if attempt >= ATTEMPTS_WITHOUT_PAUSE:
                time.sleep(min(LONGEST_PAUSE_SECONDS, 0.001 * (attempt - ATTEMPTS_WITHOUT_PAUSE)))
            try:
                return reading.turn()
            except _ChangedError:
                continue
            except CorruptionError as error:
                if seen == (error.path, error.offset, error.what):
                    raise
                seen = (error.path, error.offset, error.what)
                reading.start_over()
    finally:
        reading.let_go()
    raise BlockingIOError(
        errno.EAGAIN,
        f"the keyspace was changed during each of {ATTEMPTS} attempts to read it: "
        "try again later, or read a checkpoint",
        path,
    )


class _Reading:
    """The turns of reading one moment; what is open stays open from one to the next."""

    def __init__(
        self,
        path: str,
        cache: BlockCache,
        descriptors: DescriptorPool,
        reuse: Moment | None,
        lenient: bool,
    ) -> None:
        self._path = path
        self._cache = cache
        self._descriptors = descriptors
        self._lenient = lenient
        self._manifest = None if reuse is None else reuse.reader
        self._id = None if reuse is None else reuse.version.id
        self._tables = {} if reuse is None else dict(reuse.tables)
        self._blobs = {} if reuse is None else dict(reuse.blobs)
        self._journals: dict[JournalReplay, HeldJournal] = {}
        self._failed: dict[str, OSError] = {}

    def start_over(self) -> None:
        """Read all of the manifest again."""
        self._manifest = None

    def let_go(self) -> None:
        """Close what no moment has taken."""
        for journal in self._journals.values():
            journal.close()
        self._journals, self._tables, self._blobs = {}, {}, {}

    def turn(self) -> Moment:
        manifest = self._manifest_of_now()
        version, info = manifest.version, manifest.info()
        sync_point("moment:manifest")
        self._failed = {}
        tables = self._hold_tables(version)
        blobs = self._hold_blobs(version)
        sync_point("moment:tables")
        listing = list_folder(self._path, lenient=self._lenient)
        journals = self._hold_journals(version, listing)
        sync_point("moment:journals")
        edits = self._edits_since()
        if manifest.version.journal_floor != version.journal_floor:
            raise _ChangedError
        self._load(journals)
        sync_point("moment:loaded")
        edits += self._edits_since()
        if not all(_is_maintenance(change) for edit in edits for change in edit.changes):
            raise _ChangedError
        for journal in journals:
            del self._journals[journal.replay]
        return Moment(
            path=self._path,
            reader=manifest,
            manifest=info,
            version=version,
            listing=listing,
            tables=tables,
            blobs=blobs,
            journals=tuple(journals),
            failed=self._failed,
        )

    # ---- the manifest ----

    def _manifest_of_now(self) -> ManifestReader:
        number = read_current(self._path)
        if self._manifest is None or self._manifest.number != number:
            try:
                self._manifest = open_manifest(self._path, number)
            except CorruptionError:
                if read_current(self._path) != number:
                    raise _ChangedError from None
                raise
            if (
                self._manifest.version.id != self._id
            ):  # another keyspace has taken the place of the one before
                self._tables, self._blobs, self._id = {}, {}, self._manifest.version.id
        else:
            self._edits_since()
        return self._manifest

    def _edits_since(self) -> list[Edit]:
        """What the owner has added to the manifest since it was last looked at."""
        assert self._manifest is not None
        number = read_current(self._path)
        if number != self._manifest.number:
            raise _ChangedError
        size_bytes = os.stat(self._manifest.path).st_size if os.path.exists(self._manifest.path) else -1
        if size_bytes == self._manifest.offset:
            return []
        try:
            found = self._manifest.more()
        except FileNotFoundError:
            self._manifest = None
            raise _ChangedError from None
        if self._manifest.version.id != self._id:
            raise _ChangedError
        return found

    # ---- the files ----

    def _hold_tables(self, version: Version) -> dict[int, HeldTable]:
        metas = {table.number: table for table in version.tables()}
        self._tables = {
            number: table for number, table in self._tables.items() if metas.get(number) == table.meta
        }
        missing = [meta for number, meta in metas.items() if number not in self._tables]
        if missing:
            allow_descriptors(len(missing), self._path)
        for meta in missing:
            try:
                self._tables[meta.number] = HeldTable(self._path, meta, self._cache, self._descriptors)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise too_many_files(len(metas), self._path) from error
                self._note_failure(meta.path, error)
        return dict(self._tables)

    def _hold_blobs(self, version: Version) -> dict[int, HeldBlob]:
        metas = {blob.number: blob for blob in version.blobs()}
        self._blobs = {
            number: blob
            for number, blob in self._blobs.items()
            if metas.get(number) == blob.meta and blob.held
        }
        missing = [meta for number, meta in metas.items() if number not in self._blobs]
        if missing:
            allow_descriptors(len(missing), self._path)
        for meta in missing:
            blob = self._blobs[meta.number] = HeldBlob(self._path, meta, self._descriptors)
            try:
                blob.hold()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise too_many_files(len(metas), self._path) from error
                if isinstance(error, FileNotFoundError) and self._edits_since():
                    raise _ChangedError from None
                self._failed[meta.path] = error  # the keys are readable, and so are all other values
        return dict(self._blobs)

    def _note_failure(self, relative: str, error: OSError) -> None:
        if isinstance(error, FileNotFoundError) and self._edits_since():
            raise _ChangedError  # it was replaced, and then deleted
        if not self._lenient:
            if isinstance(error, FileNotFoundError):
                raise CorruptionError(
                    "the file is missing; restore it, or the keyspace, from a backup",
                    path=os.path.join(self._path, relative),
                ) from None
            raise error
        self._failed[relative] = error

    def _hold_journals(self, version: Version, listing: Listing) -> list[HeldJournal]:
        """Open; what the manifest lists must be there, others may have retired, or never have been used."""
        assert self._manifest is not None
        complete = Listing(  # what is missing was noted, or is below
            root=listing.root,
            tables=frozenset(names.table_name(table.number) for table in version.tables()),
            blobs=listing.blobs,
            journals=listing.journals | {names.journal_name(journal.number) for journal in version.journals},
        )
        plan = plan_recovery(version, complete, manifest=self._manifest.number)
        allow_descriptors(len(plan.journals), self._path)
        held: list[HeldJournal] = []
        for replay in plan.journals:
            journal = self._journals.get(replay)
            if journal is None:
                journal = self._hold_journal(replay)
            if journal is not None:
                self._journals[replay] = journal
                held.append(journal)
        return held

    def _hold_journal(self, replay: JournalReplay) -> HeldJournal | None:
        relative = names.journal_path(replay.number)
        try:
            return HeldJournal(os.path.join(self._path, relative), replay)
        except FileNotFoundError as error:
            if replay.meta is None:
                raise _ChangedError from None
            self._note_failure(relative, error)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise too_many_files(1, self._path) from error
            self._note_failure(relative, error)
        return None

    def _load(self, journals: Sequence[HeldJournal]) -> None:
        for journal in reversed(journals):
            try:
                if journal.load():
                    return
            except (CorruptionError, OSError):
                if not self._lenient:
                    raise
