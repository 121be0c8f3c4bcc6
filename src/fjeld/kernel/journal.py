"""The writer's side of the write-ahead journal (docs/FORMATS.md, "Journal").

    file    = header record* zeros        active: allocated ahead, mapped, append-only
            = header record* seal         sealed: truncated to its end, mode 0444
Records, and how they get there, are in journal_record.py.

Thread safety: `append` and `seal` require the commit lock. All other methods may be called from any thread
beside them and each other.
"""

import os
import threading

import cython
from cython.cimports.fjeld.kernel.checksum import XXH3_64bits_withSeed, XXH3_freeState
from cython.cimports.fjeld.kernel.coding import (
    cbytes,
    fj_atomic_load,
    fj_atomic_load64,
    fj_store32,
    fj_store64,
)
from cython.cimports.fjeld.kernel.files import (
    file_allocate,
    file_close,
    file_create,
    file_map,
    file_pwrite,
    file_seal,
    file_sync,
    file_sync_all,
    file_sync_directory,
    file_truncate,
    file_unlink,
)
from cython.cimports.fjeld.kernel.journal_map import own_map
from cython.cimports.fjeld.kernel.journal_pages import (
    AHEAD_BYTES,
    NEW_BYTES,
    pages_prefault,
)
from cython.cimports.fjeld.kernel.journal_record import (
    RECORD_HEADER_BYTES,
    SEAL_ENTRIES,
    Stamp,
    journal_fits,
    journal_put_entries,
    journal_put_seal,
)
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.posix.unistd import usleep

from fjeld.kernel.checksum import file_xxh128

__all__ = ["FIRST_BYTES", "JournalWriter"]

# For the control plane, which cannot see the enum: what a new journal has on disk.
FIRST_BYTES = NEW_BYTES


# ---- the file ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _create(
    j: cython.pointer[Journal], path: cython.pointer[cython.const[cython.char]], mapped: cython.bint
) -> cython.int:
    """Make the file, its first blocks and its header. Nothing is left behind on an error."""
    fd: cython.int = file_create(path)
    if fd < 0:
        return fd
    j.allocated = min(cython.cast(uint64_t, NEW_BYTES), j.capacity_bytes)
    status: cython.int = file_allocate(fd, j.allocated)
    if status >= 0:
        header: uint8_t[32]
        memset(header, 0, JOURNAL_HEADER_BYTES)
        memcpy(header, b"FJELDJNL", 8)
        fj_store32(header + 8, JOURNAL_FORMAT)
        fj_store64(header + 16, j.number)
        fj_store64(header + 24, XXH3_64bits_withSeed(header, 24, 0))
        status = file_pwrite(fd, header, JOURNAL_HEADER_BYTES, 0)
    if status < 0:
        file_close(fd)
        file_unlink(path)
        return status
    j.fd = fd
    j.position = JOURNAL_HEADER_BYTES
    if mapped and file_map(fd, j.capacity_bytes, cython.address(j.map)) < 0:
        j.map = cython.NULL  # no mapping on this file system: each record is written
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _make_ready(
    j: cython.pointer[Journal],
    path: cython.pointer[cython.const[cython.char]],
    folder: cython.pointer[cython.const[cython.char]],
) -> cython.int:
    """Its name is on disk, and its first pages are populated. Nothing is left behind on an error."""
    status: cython.int = file_sync_directory(folder)
    if status < 0:
        file_unlink(path)
    elif j.map != cython.NULL:
        pages_prefault(j, NEW_BYTES)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _wait_for_syncers(j: cython.pointer[Journal]) -> cython.void:
    """Until nobody syncs it. Requires: it is not the active one any more, so that nobody begins to."""
    while fj_atomic_load(cython.address(j.syncers)) > 0:
        usleep(100)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _finish(j: cython.pointer[Journal]) -> cython.int:
    """Cut the file to its end, take the right to write away, and bring all of it to disk.

    The end first: a short journal has half a mebibyte of pages that were populated and never used, and a sync
    before the cut would write them. A power cut between the cut and the sync may leave a file of the final size
    with a torn end, and that is what one that was never cut may leave: nothing is believed of a journal for its
    size, and the manifest says that it is finished only when this has returned.
    """
    status: cython.int = file_truncate(j.fd, j.position)
    if status >= 0:
        status = file_seal(j.fd)
    if status >= 0:
        status = file_sync_all(j.fd)
    if status >= 0:
        status = file_close(j.fd)
        j.fd = -1
    return status


@cython.final
@cython.cclass
class JournalWriter:
    """Owns a journal file from its creation to its seal: the descriptor, the mapping and the state of the
    writer.

    The file takes `capacity_bytes` at most; it is allocated on disk in steps ahead of the writer. Where mapping
    is impossible, or not wanted (`mapped=False`), each record is written by a call; all else is the same. ready: the
    name is on disk too.
    """

    def __cinit__(
        self, path: str, number: int, capacity_bytes: int, *, mapped: bool = True, ready: bool = False
    ):
        self.path = path
        self.number = number
        self.sync_lock = threading.Lock()
        self.map_lock = threading.Lock()
        if capacity_bytes < JOURNAL_HEADER_BYTES + 2 * RECORD_HEADER_BYTES:
            raise ValueError(f"a journal of {capacity_bytes} bytes has no room for a record")
        self.journal = cython.cast(cython.pointer[Journal], calloc(1, cython.sizeof(Journal)))
        if self.journal == cython.NULL:
            raise MemoryError
        j: cython.pointer[Journal] = self.journal
        j.fd = -1
        j.number = number
        j.capacity_bytes = capacity_bytes & ~7
        name: bytes = os.fsencode(path)
        text: cython.p_char = name
        folder: bytes = os.fsencode(os.path.dirname(path))
        folder_text: cython.p_char = folder
        want_map: cython.bint = mapped
        want_ready: cython.bint = ready
        status: cython.int
        # All of it at once: beside a writer that never waits, each taking of the GIL takes 5 ms.
        with cython.nogil:
            status = _create(j, text, want_map)
            if status >= 0 and want_ready:
                status = _make_ready(j, text, folder_text)
        if j.map != cython.NULL:
            self.mapping = own_map(j.map, j.capacity_bytes)
        self._check(status)

    def __dealloc__(self):
        if self.journal != cython.NULL:
            with cython.nogil:
                _wait_for_syncers(self.journal)
            self._unmap()
            if self.journal.fd >= 0:
                file_close(self.journal.fd)
            free(self.journal)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _unmap(self) -> cython.void:
        j: cython.pointer[Journal] = self.journal
        j.map = cython.NULL
        self.mapping = None  # memtables may have it yet
        free(j.buffer)
        j.buffer = cython.NULL
        XXH3_freeState(j.hash)
        j.hash = cython.NULL
        j.buffer_bytes = 0

    def _check(self, status):
        if status < 0:
            raise OSError(-status, os.strerror(-status), self.path)

    def append(self, entries: bytes, count: int, seqno: int, time_ns: int, persisted: int):
        """One record of entries from `encode_entry`, for tools and tests. Requires: commit lock."""
        n: cython.size_t = RECORD_HEADER_BYTES + len(entries)
        if self.journal.fd < 0 or not journal_fits(self.journal, n):
            raise ValueError(f"{self.path}: no room for a record of {n} bytes (sealed, closed or full)")
        if not 0 < count < SEAL_ENTRIES:
            raise ValueError(f"a record has at least one entry, not {count}")
        stamp: Stamp
        stamp.seqno = seqno
        stamp.time_ns = time_ns
        stamp.persisted = persisted
        data: cbytes = entries
        self._check(journal_put_entries(self.journal, data, len(entries), count, cython.address(stamp)))

    def sync(self, *, everything: bool = False):
        """What was appended before the call is on disk (everything: times and attributes too).

        OSError: it is not known what is.
        """
        all_of_it: cython.bint = everything
        j: cython.pointer[Journal] = self.journal
        status: cython.int = 0
        with self.sync_lock:
            if self.whole:
                return
            if j.fd < 0:
                raise ValueError(f"{self.path}: the journal is closed")
            with cython.nogil:
                status = file_sync_all(j.fd) if all_of_it else file_sync(j.fd)
        self._check(status)

    def seal(self):
        """Write the seal: no record follows. In memory if mapped. Idempotent. Requires: commit lock."""
        j: cython.pointer[Journal] = self.journal
        if j.sealed:
            return
        if j.fd < 0:
            raise ValueError(f"{self.path}: the journal is closed")
        self._check(journal_put_seal(j))

    def finish(self):
        """Bring the sealed file into its last form: on disk, cut to its end, read-only, closed.

        Gives what the manifest says of it: {"size_bytes", "xxh128"}. Idempotent. OSError from a sync: it is
        not known what is on disk; from the reading afterwards: call it again.
        """
        j: cython.pointer[Journal] = self.journal
        status: cython.int
        with self.sync_lock:
            if self.summary is not None:
                return self.summary
            if not self.whole:
                if j.fd < 0 or not j.sealed:
                    raise ValueError(f"{self.path}: only a sealed journal can be finished")
                with self.map_lock:
                    self._unmap()
                with cython.nogil:
                    _wait_for_syncers(j)
                    status = _finish(j)
                self._check(status)
                self.whole = True
            size_bytes, digest = file_xxh128(self.path)
            self.summary = {"size_bytes": size_bytes, "xxh128": digest}
            return self.summary

    def prefault(self, limit_bytes: int = AHEAD_BYTES):
        """For tests: populate so much more, as the thread ahead of the writer does. The bytes; 0: enough are."""
        limit: uint64_t = limit_bytes
        j: cython.pointer[Journal] = self.journal
        populated: int64_t
        with self.map_lock:
            with cython.nogil:
                populated = pages_prefault(j, limit)
        return populated

    def close(self):
        """Unmap and close without sealing; the file stays as it is. Idempotent. Requires: commit lock."""
        with self.sync_lock, self.map_lock:
            with cython.nogil:
                _wait_for_syncers(self.journal)
            self._unmap()
            if self.journal.fd >= 0:
                fd: cython.int = self.journal.fd
                self.journal.fd = -1
                self._check(file_close(fd))

    @property
    def position(self):
        return fj_atomic_load64(cython.address(self.journal.position))

    @property
    def last_seqno(self):
        return fj_atomic_load64(cython.address(self.journal.last_seqno))

    @property
    def capacity_bytes(self):
        return self.journal.capacity_bytes

    @property
    def populated(self):
        """Up to here no write meets a page fault."""
        return fj_atomic_load64(cython.address(self.journal.populated))

    @property
    def sealed(self):
        return self.journal.sealed != 0

    @property
    def finished(self):
        """Whether `finish` has done all it does."""
        return self.summary is not None

    @property
    def mapped(self):
        return self.journal.map != cython.NULL
