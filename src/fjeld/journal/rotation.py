"""The life of the journals: made ready, active, sealed, finished, retired.

    spare      created by a worker ahead of need: switching to it costs the writers microseconds
    active     writers append to it under the commit lock
    sealed     its last record is the seal; part of the version from that moment on
    finished   synced, cut to its length, read-only; size and checksum are in the manifest
    retired    everything in it is in tables; gone from the version, deleted when nobody holds it

Finishing waits a moment: under many writes a journal is retired before, and then never has to be brought to disk.

Group commit is the kernel's (`Commit.share_sync`) as long as only the active journal is to be synced. Else, and
for `persist`, whoever wants durability takes the sync lock; by the time a waiter gets it, the one before it has
usually synced the waiter's records too.

Thread safety: every method may be called from any thread. Lock order: switch lock, finish lock, sync lock,
commit lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fjeld.errors import ClosedError, PoisonedError
from fjeld.journal.spares import SpareJournals
from fjeld.kernel import files
from fjeld.kernel.commit import Commit
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_ahead import JournalAhead
from fjeld.manifest.edit import Edit, FinishJournal, RetireJournals, SealJournal
from fjeld.manifest.live_file import LiveFile
from fjeld.manifest.state import JournalMeta
from fjeld.manifest.store import VersionStore
from fjeld.options import PersistMode
from fjeld.sync_points import sync_point

if TYPE_CHECKING:  # it exists for type checkers only
    from fjeld.kernel.journal import JournalSummary

__all__ = ["JournalRotation", "Moment", "Sealed"]

# A record's own overhead beside its entries, and the file's: header, seal and padding. Rounded up.
SLACK_BYTES = 256

# A sealed journal is finished after this time at the latest: longer than it takes to fill and flush a memtable
# under many writes, no longer than other caches keep what is not on disk.
FINISH_AFTER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sealed:
    """A journal that was sealed and is not finished. Its file is held: it may be retired before it is
    finished.
    """

    writer: JournalWriter
    file: LiveFile
    sealed_at: float
    """Seconds of the rotation's clock."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The journals at one moment: what is written later is in the active one, or in a newer one."""

    active: int
    sealed: tuple[JournalMeta, ...]

    def floor(self, oldest_seqno: int | None) -> int:
        """The number below which journals can go, if the oldest entry not yet in a table has this seqno
        (None: none).

        Requires: that entry was looked for after the moment.
        """
        for journal in self.sealed:
            if oldest_seqno is not None and journal.last_seqno >= oldest_seqno:
                return journal.number
        return self.active


class JournalRotation:
    """Owns the journals that are written to or not yet finished.

    poison(cause) is called when a sync of a journal fails: it is then not known what is on disk, and no later
    sync that succeeds would tell, because the system forgets what it could not write.
    """

    def __init__(
        self,
        store: VersionStore,
        commit: Commit,
        *,
        journal_bytes: int,
        mapped: bool,
        wake: Callable[[], None],
        poison: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._commit = commit
        self._journal_bytes = journal_bytes
        self._mapped = mapped
        self._wake = wake
        self._poison = poison
        self._switch_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._finish_lock = threading.Lock()
        self._spares = SpareJournals(self._create, journal_bytes)
        self._ahead = JournalAhead()
        self._populator = threading.Thread(target=self._ahead.run, name="fjeld-journal", daemon=True)
        self._unfinished: list[Sealed] = []
        """Oldest first. Guarded by the commit lock."""
        self._in_a_hurry = False
        """Finish what is sealed without waiting."""
        self._closed = False
        """Guarded by each of the three locks: who closes has all of them."""

    # ---- switching ----

    def _create(self, capacity_bytes: int) -> JournalWriter:
        number = self._store.next_file()
        path = self._store.journal_path(number)
        return JournalWriter(path, number, capacity_bytes, mapped=self._mapped, ready=True)

    def start(self) -> None:
        """Begin with a fresh journal. Requires: nobody writes yet."""
        first = self._create(self._journal_bytes)
        with self._commit:
            self._commit.replace_journal(first)
            self._ahead.watch(first)
        self._populator.start()

    def prepare_spares(self) -> None:
        """Make the next journals ready. A worker's job; raises OSError where there is no space."""
        self._spares.fill()

    @property
    def needs_spare(self) -> bool:
        return self._spares.wanted

    def make_room(self, record_bytes: int) -> None:
        """Called by a writer whose record does not fit: switch, unless another writer has just done it."""
        with self._switch_lock:
            self._check_open()
            if self._fits(record_bytes):
                return
            spare = self._spares.take(record_bytes + SLACK_BYTES)
            file = self._prepare()
            try:
                with self._commit:
                    self._switch(spare, file)
            finally:
                self._put_back(spare)
            sync_point("journal:switched")
        self._wake()

    def _fits(self, record_bytes: int) -> bool:
        active = self._commit.active_journal
        return active is not None and active.position + record_bytes + SLACK_BYTES <= active.capacity_bytes

    def cut(self, then: Callable[[], None]) -> float:
        """Seal what was written so far and call `then` at that very moment; how many seconds the commit lock
        was held.

        `then` runs under the commit lock: be brief.
        """
        with self.cutting() as seal, self._commit:
            started = time.perf_counter()
            seal()
            then()
            return time.perf_counter() - started

    @contextmanager
    def cutting(self) -> Iterator[Callable[[], None]]:
        """What a cut needs is made ready; inside, nobody else switches. The function seals what was written so
        far. Requires, for that: commit lock.
        """
        with self._switch_lock:
            self._check_open()
            spare = self._spares.take(0)
            file = self._prepare()
            sync_point("journal:before_cut")

            def seal() -> None:
                active = self._commit.active_journal
                if active is not None and active.last_seqno:
                    self._switch(spare, file)

            try:
                yield seal
            finally:
                self._put_back(spare)
            sync_point("journal:switched")
        self._wake()

    @contextmanager
    def still(self) -> Iterator[None]:
        """No switch of the journal and no cut inside."""
        with self._switch_lock:
            self._check_open()
            yield

    def _prepare(self) -> LiveFile | None:
        """What `_switch` needs and can be made without the commit lock. Requires: switch lock."""
        active = self._commit.active_journal
        return None if active is None else self._store.prepare_seal(active.number)

    def _switch(self, spare: JournalWriter, file: LiveFile | None) -> None:
        """Requires: switch lock and commit lock; `file` of the active journal."""
        sealed = self._commit.replace_journal(spare)
        self._ahead.watch(spare)
        if sealed is not None and file is not None:
            self._store.seal(JournalMeta(number=sealed.number, last_seqno=self._commit.last_seqno), file)
            self._unfinished.append(Sealed(sealed, file, self._clock()))
            self._commit.note_unfinished(len(self._unfinished))

    def _put_back(self, spare: JournalWriter) -> None:
        """Keep the spare for the next time, unless it is in use now. Requires: switch lock."""
        if self._commit.active_journal is not spare:
            self._spares.put_back(spare)

    def _check_open(self) -> None:
        """Requires: one of the three locks."""
        if self._closed:
            raise ClosedError("the keyspace was closed: open it again")

    # ---- syncing ----

    def persist(self, mode: PersistMode, seqno: int | None = None) -> None:
        """Everything up to `seqno` (None: all so far) is on disk when this returns. PoisonedError: a sync
        failed.
        """
        if mode is PersistMode.BUFFER:
            return
        target = self._commit.last_seqno if seqno is None else seqno
        with self._sync_lock:
            if self._commit.persisted_seqno >= target and mode is not PersistMode.SYNC_ALL:
                return
            self._check_open()
            self._sync(mode)

    def _sync(self, mode: PersistMode) -> None:
        """Requires: sync lock."""
        with self._commit:
            reached = self._commit.last_seqno
            writers = [sealed.writer for sealed in self._unfinished]
            active = self._commit.active_journal
        if writers:  # who persists once will do so again: the fewer journals then the better
            self.hurry()
        if active is not None:
            writers.append(active)
        sync_point("journal:before_sync")
        for writer in writers:  # oldest first: what is on disk is always a prefix
            try:
                writer.sync(everything=mode is PersistMode.SYNC_ALL)
            except (OSError, ValueError) as error:  # a ValueError: closed by a finish that failed
                raise self.sync_failed(error) from error
        self._commit.note_persisted(reached)

    def sync_failed(self, error: Exception) -> PoisonedError:
        """A sync of a journal has failed: the error to raise."""
        self._poison(error)
        return PoisonedError(
            f"a sync failed ({error}): it is not known what is on disk; "
            "close and open the keyspace again to recover"
        )

    # ---- finishing ----

    def finish_due_seconds(self) -> float | None:
        """When the oldest sealed journal is to be finished: 0 or less, now; None: there is none."""
        with self._commit:
            oldest = self._unfinished[0] if self._unfinished else None
        return None if oldest is None else self._due_seconds(oldest)

    def _due_seconds(self, sealed: Sealed) -> float:
        if self._in_a_hurry or sealed.writer.finished or self._listed(sealed.writer.number) is None:
            return 0.0
        return sealed.sealed_at + FINISH_AFTER_SECONDS - self._clock()

    def hurry(self) -> None:
        """Finish what is sealed now, without waiting."""
        self._in_a_hurry = bool(self._unfinished)
        self._wake()

    def unfinished(self) -> list[Sealed]:
        """Sealed and not finished, oldest first. Requires: commit lock."""
        return list(self._unfinished)

    def finish(self, sealed: Sealed) -> JournalSummary:
        """Sync, cut and sum a sealed journal, unless that was done. PoisonedError: a sync failed."""
        try:
            return sealed.writer.finish()
        except OSError as error:
            raise self.sync_failed(error) from error
        except ValueError as error:
            if not self._closed:  # not with everything else: by a finish that failed
                raise self.sync_failed(error) from error
            raise ClosedError("the keyspace was closed: open it again") from error

    def finish_sealed(self) -> None:
        """Finish the sealed journals that are due, and put that on record.

        OSError: the manifest could not be written.
        """
        with self._finish_lock:
            for sealed in list(self._unfinished):
                if self._due_seconds(sealed) > 0:
                    return
                if self._listed(sealed.writer.number) is not None:  # else all of it is in tables by now
                    summary = self.finish(sealed)
                    sync_point("journal:finished")
                    self._record(sealed.writer.number, summary)
                with self._commit:
                    if sealed in self._unfinished:
                        self._unfinished.remove(sealed)
                        self._commit.note_unfinished(len(self._unfinished))
            self._in_a_hurry = False

    def _listed(self, number: int) -> JournalMeta | None:
        """What the version says of a journal; None: it was retired."""
        return next((meta for meta in self._store.version.journals if meta.number == number), None)

    def _record(self, number: int, summary: JournalSummary) -> None:
        meta = self._listed(number)
        if meta is None:
            return
        finish = FinishJournal(number, summary["size_bytes"], summary["xxh128"])
        with suppress(ValueError):  # retired at this moment
            # The manifest does not know a journal before it is finished.
            self._store.edit(
                Edit.of(SealJournal(replace(meta, **summary))),
                installed=Edit.of(finish),
                seqno=meta.last_seqno,
            )

    # ---- retirement and the end ----

    def moment(self) -> Moment:
        """The journals as they are now."""
        with self._commit:
            active = self._commit.active_journal
            return Moment(0 if active is None else int(active.number), self._store.version.journals)

    def retire_all(self) -> None:
        """Everything is in tables: no journal is needed any more. Requires: writes are refused, memtables are
        empty.
        """
        # Nobody may seal the active journal any more once the manifest has said that it is not needed.
        with self._switch_lock, self._finish_lock, self._sync_lock:
            active = self._commit.active_journal
            if active is None:
                return
            self._store.edit(Edit.of(RetireJournals(active.number + 1)), seqno=self._commit.last_seqno)
            self._closed = True
        self.close()
        with suppress(OSError):  # what stays is deleted by the next recovery
            files.unlink(active.path)

    def sealed_bytes(self) -> int:
        """Bytes in the sealed journals that are not retired."""
        # A copy, and not the commit lock: every writer under pressure asks.
        unfinished = {sealed.writer.number: sealed.writer.position for sealed in list(self._unfinished)}
        return sum(
            journal.size_bytes or unfinished.get(journal.number, self._journal_bytes)
            for journal in self._store.version.journals
        )

    def total_bytes(self) -> int:
        """Bytes in all journals that are not retired."""
        active = self._commit.active_journal
        return self.sealed_bytes() + (0 if active is None else active.position)

    def close(self) -> None:
        """Let go of everything. Closing twice is fine. Requires: writes are refused.

        Nothing is synced: what was not flushed is in the files, and the next opening replays it.
        """
        with self._switch_lock, self._finish_lock, self._sync_lock:
            self._closed = True
            with self._commit:
                self._ahead.watch(None)
                writers = [sealed.writer for sealed in self._unfinished]
                active = self._commit.active_journal
                self._unfinished = []
                if active is not None:
                    writers.append(active)
                    with suppress(OSError):  # without a seal it is the journal of a process that died
                        self._commit.replace_journal(None)
            for writer in writers:
                with suppress(OSError):
                    writer.close()
            self._spares.close()
        self._ahead.stop()
        if self._populator.is_alive():
            self._populator.join()
