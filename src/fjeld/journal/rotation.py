"""The life of the journals: made ready, active, sealed, finished, retired.

    spare      created and preallocated by a worker ahead of need: switching to it costs the writers microseconds
    active     writers append to it under the commit lock
    sealed     its last record is the seal; part of the version from that moment on
    finished   synced, cut to its length, read-only; size and checksum are in the manifest
    retired    everything in it is in tables; gone from the version, deleted when nobody holds it

Group commit: whoever wants durability takes the sync lock; by the time a waiter gets it, the one before it has usually synced
the waiter's records too.

Thread safety: every method may be called from any thread. Lock order: switch lock, sync lock, commit lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fjeld.journal.spares import SpareJournals, discard
from fjeld.kernel import files
from fjeld.kernel.commit import Commit
from fjeld.kernel.journal import JournalWriter
from fjeld.manifest.edit import Edit, FinishJournal, RetireJournals, SealJournal
from fjeld.manifest.state import JournalMeta
from fjeld.manifest.store import VersionStore
from fjeld.options import PersistMode
from fjeld.sync_points import sync_point

__all__ = ["JournalRotation"]

# A record's own overhead beside its entries, and the file's: header, seal and padding. Rounded up.
SLACK_BYTES = 256


class JournalRotation:
    """Owns the journals that are written to or not yet finished."""

    def __init__(
        self,
        store: VersionStore,
        commit: Commit,
        *,
        journal_bytes: int,
        mapped: bool,
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._commit = commit
        self._journal_bytes = journal_bytes
        self._mapped = mapped
        self._wake = wake
        self._switch_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._finish_lock = threading.Lock()
        self._spares = SpareJournals(self._create, journal_bytes)
        self._unfinished: list[JournalWriter] = []
        """Sealed, oldest first. Guarded by the commit lock."""

    # ---- switching ----

    def _create(self, capacity_bytes: int) -> JournalWriter:
        number = self._store.next_file()
        path = self._store.journal_path(number)
        writer = JournalWriter(path, number, capacity_bytes, mapped=self._mapped)
        try:
            files.sync_directory(self._store.journals_directory)
        except BaseException:
            discard(writer)
            raise
        writer.prefault()
        return writer

    def start(self) -> None:
        """Begin with a fresh journal. Requires: nobody writes yet."""
        self._commit.replace_journal(self._create(self._journal_bytes))

    def prepare_spares(self) -> None:
        """Make the next journals ready. A worker's job; raises OSError where there is no space."""
        self._spares.fill()

    @property
    def needs_spare(self) -> bool:
        return self._spares.wanted

    def make_room(self, record_bytes: int) -> None:
        """Called by a writer whose record does not fit: switch, unless another writer has just done it."""
        with self._switch_lock:
            if self._fits(record_bytes):
                return
            spare = self._spares.take(record_bytes + SLACK_BYTES)
            self._commit.acquire()
            try:
                self._switch(spare)
            finally:
                self._commit.release()
        self._wake()

    def _fits(self, record_bytes: int) -> bool:
        active = self._commit.active_journal
        return active is not None and active.position + record_bytes + SLACK_BYTES <= active.capacity_bytes

    def cut(self, then: Callable[[], None]) -> float:
        """Seal what was written so far and call `then` at that very moment; how many seconds the commit lock was held.

        `then` runs under the commit lock: be brief.
        """
        with self._switch_lock:
            spare = self._spares.take(0)
            used = False
            sync_point("journal:before_cut")
            self._commit.acquire()
            started = time.perf_counter()
            try:
                active = self._commit.active_journal
                if active is not None and active.last_seqno:
                    used = True
                    self._switch(spare)
                then()
            finally:
                held_seconds = time.perf_counter() - started
                self._commit.release()
                if not used:
                    self._spares.put_back(spare)
        self._wake()
        return held_seconds

    def _switch(self, spare: JournalWriter) -> None:
        """Requires: switch lock and commit lock."""
        sealed = self._commit.replace_journal(spare)
        if sealed is not None:
            self._unfinished.append(sealed)
            self._store.seal(JournalMeta(number=sealed.number, last_seqno=self._commit.last_seqno))

    # ---- syncing ----

    def persist(self, mode: PersistMode, seqno: int | None = None) -> None:
        """Everything up to `seqno` (None: all so far) is on disk when this returns. OSError: a sync failed."""
        if mode is PersistMode.BUFFER:
            return
        target = self._commit.last_seqno if seqno is None else seqno
        with self._sync_lock:
            if self._commit.persisted_seqno >= target and mode is not PersistMode.SYNC_ALL:
                return
            self._sync(mode)

    def _sync(self, mode: PersistMode) -> None:
        """Requires: sync lock."""
        self._commit.acquire()
        reached = self._commit.last_seqno
        writers = list(self._unfinished)
        active = self._commit.active_journal
        self._commit.release()
        if active is not None:
            writers.append(active)
        sync_point("journal:before_sync")
        for writer in writers:  # oldest first: what is on disk is always a prefix
            writer.sync(everything=mode is PersistMode.SYNC_ALL)
        self._commit.note_persisted(reached)

    # ---- finishing ----

    @property
    def has_unfinished(self) -> bool:
        return bool(self._unfinished)

    def unfinished(self) -> list[JournalWriter]:
        """Sealed and not finished, oldest first. Requires: commit lock."""
        return list(self._unfinished)

    def finish_sealed(self) -> None:
        """Sync, cut and sum all sealed journals, and put that on record. OSError: a sync failed, or the manifest."""
        with self._finish_lock:
            for writer in list(self._unfinished):
                held = self._store.live_journal(writer.number)
                if held is not None:  # held: it cannot be deleted while it is being summed
                    summary = writer.finish()
                    sync_point("journal:finished")
                    self._record(writer, summary["size_bytes"], summary["xxh128"])
                self._forget(writer)

    def _forget(self, writer: JournalWriter) -> None:
        """It is finished, or was retired before that: nobody has to sync it any more."""
        with self._sync_lock:
            self._commit.acquire()
            self._unfinished.remove(writer)
            self._commit.release()
            writer.close()

    def _record(self, writer: JournalWriter, size_bytes: int, xxh128: str) -> None:
        version = self._store.version
        listed = {journal.number: journal for journal in version.journals}
        meta = listed.get(writer.number)
        if meta is None:
            return  # retired before it was finished: nobody will read it
        finished = JournalMeta(
            number=meta.number,
            last_seqno=meta.last_seqno,
            size_bytes=size_bytes,
            xxh128=xxh128,
        )
        with suppress(ValueError):  # retired at this moment
            self._store.edit(
                Edit.of(SealJournal(finished)),
                installed=Edit.of(FinishJournal(meta.number, size_bytes, xxh128)),
                seqno=meta.last_seqno,
            )

    # ---- retirement and the end ----

    def floor(self, oldest_seqno: int | None) -> int:
        """The number below which journals can go, if the oldest entry not yet in a table has this seqno (None: none)."""
        for journal in self._store.version.journals:
            if oldest_seqno is not None and journal.last_seqno >= oldest_seqno:
                return journal.number
        active = self._commit.active_journal
        return 0 if active is None else int(active.number)

    def retire_all(self) -> None:
        """Everything is in tables: no journal is needed any more. Requires: writes are refused, memtables are empty."""
        active = self._commit.active_journal
        if active is None:
            return
        self._store.edit(Edit.of(RetireJournals(active.number + 1)), seqno=self._commit.last_seqno)
        self.close()
        with suppress(OSError):  # what stays is deleted by the next recovery
            files.unlink(active.path)

    def total_bytes(self) -> int:
        """Bytes in all journals that are not retired."""
        sealed = sum(journal.size_bytes or self._journal_bytes for journal in self._store.version.journals)
        active = self._commit.active_journal
        return sealed + (0 if active is None else active.position)

    def prefault(self) -> None:
        """Populate pages ahead of the writer."""
        active = self._commit.active_journal
        if active is not None:
            active.prefault()

    def close(self) -> None:
        """Let go of everything without sealing. Requires: writes are refused."""
        self._commit.acquire()
        active = self._commit.replace_journal(None) if self._commit.active_journal is not None else None
        unfinished, self._unfinished = self._unfinished, []
        self._commit.release()
        for writer in (*unfinished, active):
            if writer is not None:
                writer.close()
        self._spares.close()
