"""A moment: one consistent state of a keyspace, read from the outside while its owner goes on.

The owner knows nothing of readers: it appends to journals, adds edits to the manifest and deletes files. So

    1  read CURRENT and its manifest: a version
    2  open every table of the version, and every journal from its floor on      a name that is gone: again from 1
    3  read the journal that is written to, and the empty ones behind it, newest first
    4  look again: another manifest, or more of this one? Then again from 1; what is open is kept

Why that is one state:

  - An edit is in the manifest before its files are deleted and before what follows it is written. Nothing between
    1 and 4 was an edit, so no file of the version was deleted for one, no partition was cleared or dropped, and no
    journal had retired when the journals were listed: none can be missing unseen.
  - A journal is sealed before the next one gets its first record. Read newest first, a journal is read to its end
    at least up to where the next one began: there is no gap. Those before the newest with records change no
    more (but for their unused tails), so their bytes are read later, out of the open file.
  - A record counts when its checksum is valid. What was in flight is not there yet; what is written after 3 is
    not read (`JournalReader.restart`).
  - Open files outlive their names, so after 4 nothing can be taken away.

An error of what was read is believed when a second attempt meets the same: the first may have met a journal
that was being made.

Alternatives: a lock shared with the owner (it would have to write, and readers could hold it up); a registry of
readers (the same, and a reader that dies leaves an entry); copying what is read (the size of the store, each time).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fjeld.errors import CorruptionError
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.replay import replay_journal
from fjeld.kernel.table import TableReader
from fjeld.manifest import names
from fjeld.manifest.current import read_current
from fjeld.manifest.fields import MAX_SEQNO
from fjeld.manifest.log import ManifestInfo
from fjeld.manifest.recovery import JournalReplay, Listing, plan_recovery
from fjeld.manifest.state import TableMeta
from fjeld.manifest.version import Version
from fjeld.recovery.folder import list_folder, look, read_version
from fjeld.recovery.limits import allow_descriptors, too_many_files
from fjeld.sync_points import sync_point

__all__ = ["HeldJournal", "HeldTable", "Moment", "read_moment"]

# An attempt takes milliseconds, and edits come a few in a second: the second or third succeeds. With these
# pauses it is given up after some ten seconds.
ATTEMPTS = 300
ATTEMPTS_WITHOUT_PAUSE = 3
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
    manifest: ManifestInfo
    version: Version
    listing: Listing
    tables: dict[int, HeldTable]
    """By number."""
    journals: tuple[HeldJournal, ...]
    """Those to replay, in order."""
    failed: dict[str, OSError]
    """By relative path: files of the version that could not be opened. Only of a lenient reading."""

    @property
    def replays(self) -> tuple[JournalReplay, ...]:
        """What to replay, in order."""
        return tuple(journal.replay for journal in self.journals)

    @property
    def mark(self) -> tuple[object, ...]:
        """Two moments of one path with the same mark show the same."""
        journals = tuple((journal.replay.number, journal.last_seqno) for journal in self.journals)
        return (self.version.id, self.manifest.number, self.manifest.size_bytes, journals)

    def open_journal(self, replay: JournalReplay, after_seqno: int) -> JournalReader:
        """A reader at the beginning of one of the journals."""
        return next(held for held in self.journals if held.replay is replay).open(after_seqno)

    def release(self) -> None:
        """Let go of the journals. The tables go with those who hold them."""
        for journal in self.journals:
            journal.close()


class _ChangedError(Exception):
    """The owner was faster: look again."""


def read_moment(
    path: str,
    *,
    cache: BlockCache,
    descriptors: DescriptorPool,
    reuse: Moment | None = None,
    lenient: bool = False,
) -> Moment:
    """A consistent state of the keyspace in the folder `path` (absolute). Release its journals.

    reuse: tables that are open in it are taken from there. lenient: files that cannot be opened are listed.

    Requires: the marker was checked. UnsupportedFormatError, CorruptionError; OSError (EMFILE) where so many files may not be
    open; BlockingIOError where the owner changed the keyspace during every attempt.
    """
    reading = _Reading(path, cache, descriptors, reuse, lenient)
    seen: tuple[object, ...] | None = None
    for attempt in range(ATTEMPTS):
        if attempt >= ATTEMPTS_WITHOUT_PAUSE:
            time.sleep(min(LONGEST_PAUSE_SECONDS, 0.001 * attempt))
        try:
            return reading.attempt()
        except _ChangedError:
            continue
        except CorruptionError as error:
            if seen == (error.path, error.offset, error.what):
                raise
            seen = (error.path, error.offset, error.what)
    raise BlockingIOError(
        errno.EAGAIN,
        f"the keyspace was changed during each of {ATTEMPTS} attempts to read it: try again later, or read a checkpoint",
        path,
    )


class _Reading:
    """The attempts to read one moment; tables stay open from one to the next."""

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
        self._id = None if reuse is None else reuse.version.id
        self._held = {} if reuse is None else dict(reuse.tables)
        self._failed: dict[str, OSError] = {}

    def attempt(self) -> Moment:
        number = read_current(self._path)
        try:
            version, manifest = read_version(self._path, number)
        except CorruptionError:
            if look(self._path)[0] != number:
                raise _ChangedError from None
            raise
        sync_point("moment:manifest")
        seen = (number, manifest.size_bytes)
        self._failed = {}
        tables = self._hold_tables(version, seen)
        sync_point("moment:tables")
        listing = list_folder(self._path, lenient=self._lenient)
        journals = self._hold_journals(version, number, listing, seen)
        with _closing_on_error(journals):
            sync_point("moment:journals")
            self._load(journals)
            sync_point("moment:loaded")
            self._require_unchanged(seen)
        return Moment(
            path=self._path,
            manifest=manifest,
            version=version,
            listing=listing,
            tables=tables,
            journals=tuple(journals),
            failed=self._failed,
        )

    def _require_unchanged(self, seen: tuple[int, int]) -> None:
        if look(self._path) != seen:
            raise _ChangedError

    def _hold_tables(self, version: Version, seen: tuple[int, int]) -> dict[int, HeldTable]:
        if version.id != self._id:  # another keyspace has taken the place of the one that was there
            self._held, self._id = {}, version.id
        metas = {table.number: table for table in version.tables()}
        self._held = {
            number: table for number, table in self._held.items() if metas.get(number) == table.meta
        }
        missing = [meta for number, meta in metas.items() if number not in self._held]
        allow_descriptors(len(missing), self._path)
        for meta in missing:
            try:
                self._held[meta.number] = HeldTable(self._path, meta, self._cache, self._descriptors)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise too_many_files(len(metas), self._path) from error
                self._note_failure(meta.path, error, seen)
        return dict(self._held)

    def _note_failure(self, relative: str, error: OSError, seen: tuple[int, int]) -> None:
        if isinstance(error, FileNotFoundError):
            self._require_unchanged(seen)  # else it was replaced, and then deleted
        if not self._lenient:
            if isinstance(error, FileNotFoundError):
                raise CorruptionError(
                    "the file is missing; restore it, or the keyspace, from a backup",
                    path=os.path.join(self._path, relative),
                ) from None
            raise error
        self._failed[relative] = error

    def _hold_journals(
        self, version: Version, manifest: int, listing: Listing, seen: tuple[int, int]
    ) -> list[HeldJournal]:
        """Open; what the manifest lists must be there, others may have retired, or never have been used."""
        complete = Listing(  # what is missing was noted, or is below
            root=listing.root,
            tables=frozenset(names.table_name(table.number) for table in version.tables()),
            journals=listing.journals | {names.journal_name(journal.number) for journal in version.journals},
        )
        plan = plan_recovery(version, complete, manifest=manifest)
        allow_descriptors(len(plan.journals), self._path)
        held: list[HeldJournal] = []
        with _closing_on_error(held):
            for replay in plan.journals:
                relative = names.journal_path(replay.number)
                try:
                    held.append(HeldJournal(os.path.join(self._path, relative), replay))
                except FileNotFoundError as error:
                    if replay.meta is None:
                        raise _ChangedError from None
                    self._note_failure(relative, error, seen)
                except OSError as error:
                    self._note_failure(relative, error, seen)
        return held

    def _load(self, journals: list[HeldJournal]) -> None:
        for journal in reversed(journals):
            try:
                if journal.load():
                    return
            except (CorruptionError, OSError):
                if not self._lenient:
                    raise


@contextmanager
def _closing_on_error(journals: Iterable[HeldJournal]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for journal in journals:
            journal.close()
        raise
