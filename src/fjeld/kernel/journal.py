"""The writer's side of the write-ahead journal (docs/FORMATS.md, "Journal").

    file    = header record* zeros        active: allocated ahead, mapped, append-only
            = header record* seal         sealed: truncated to its end, mode 0444
    record  = xxh64, length, entries, seqno of the first entry, time, persisted     (40 bytes)
              the entries, then zeros to a multiple of 8

An append is a store into the page cache: it survives the process without a system call. The checksum is
stored last, so a process that is killed in between leaves no valid record.

Thread safety: `journal_fits`, `journal_begin`, `journal_commit`, `append` and `seal` require the commit lock.
All other methods may be called from any thread beside them and each other.
"""

import os
import threading

import cython
from cython.cimports.fjeld.kernel import file_probe as probe
from cython.cimports.fjeld.kernel.checksum import XXH3_64bits_withSeed
from cython.cimports.fjeld.kernel.coding import (
    fj_atomic_load,
    fj_atomic_load64,
    fj_atomic_store64,
    fj_put_varint,
    fj_store32,
    fj_store64,
    fj_varint_bytes,
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
    file_truncate,
    file_unlink,
    file_unmap,
)
from cython.cimports.fjeld.kernel.journal_pages import (
    AHEAD_BYTES,
    NEW_BYTES,
    pages_allocate,
    pages_prefault,
    pages_reach,
)
from cython.cimports.libc import errno as e
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, realloc
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.posix.unistd import usleep

from fjeld.kernel.checksum import file_xxh128

__all__ = ["FIRST_BYTES", "JournalWriter", "encode_entry"]

# For the control plane, which cannot see the enum: what a new journal has on disk.
FIRST_BYTES = NEW_BYTES
_RECORD_BYTES_MAX = cython.declare(uint64_t, 0xFFFFFFFF)


# ---- entries ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def entry_bytes(partition: uint32_t, key_bytes: cython.size_t, value_bytes: cython.size_t) -> cython.size_t:
    lengths: cython.size_t = (
        fj_varint_bytes(partition) + fj_varint_bytes(key_bytes) + fj_varint_bytes(value_bytes)
    )
    return 1 + lengths + key_bytes + value_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def entry_put(
    p: cython.pointer[uint8_t],
    kind: cython.int,
    partition: uint32_t,
    key: cython.pointer[cython.const[uint8_t]],
    key_bytes: cython.size_t,
    value: cython.pointer[cython.const[uint8_t]],
    value_bytes: cython.size_t,
) -> cython.pointer[uint8_t]:
    p[0] = kind
    p = fj_put_varint(p + 1, partition)
    p = fj_put_varint(p, key_bytes)
    p = fj_put_varint(p, value_bytes)
    if key_bytes > 0:
        memcpy(p, key, key_bytes)
    if value_bytes > 0:
        memcpy(p + key_bytes, value, value_bytes)
    return p + key_bytes + value_bytes


def encode_entry(kind, partition, key: bytes, value: bytes = b""):
    """The bytes of one entry, for tools and tests."""
    room = bytearray(entry_bytes(partition, len(key), len(value)))
    start: cython.pointer[uint8_t] = room
    key_start: cython.p_char = key
    value_start: cython.p_char = value
    entry_put(
        start,
        kind,
        partition,
        cython.cast(cython.pointer[uint8_t], key_start),
        len(key),
        cython.cast(cython.pointer[uint8_t], value_start),
        len(value),
    )
    return bytes(room)


# ---- records ----


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _padded(n: uint64_t) -> uint64_t:
    return (n + 7) & ~cython.cast(uint64_t, 7)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_fits(j: cython.pointer[cython.const[Journal]], bytes: cython.size_t) -> cython.bint:
    if j.sealed or bytes > _RECORD_BYTES_MAX:
        return False
    return j.position + _padded(bytes) + RECORD_HEADER_BYTES <= j.capacity_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_begin(j: cython.pointer[Journal], bytes: cython.size_t) -> cython.pointer[uint8_t]:
    end: uint64_t = j.position + _padded(bytes) + RECORD_HEADER_BYTES  # the seal always has its space
    status: cython.int = 0
    if j.map == cython.NULL:
        status = pages_allocate(j, end)
    elif end > fj_atomic_load64(cython.address(j.alarm)):
        status = pages_reach(j, end)
    if status < 0:
        j.errnum = -status
        return cython.NULL
    return _place(j, bytes)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _place(j: cython.pointer[Journal], bytes: cython.size_t) -> cython.pointer[uint8_t]:
    """Where the entries of the next record go. Requires: its space is allocated."""
    if j.map == cython.NULL:
        return _begin_in_buffer(j, bytes)
    return j.map + j.position + RECORD_HEADER_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _begin_in_buffer(j: cython.pointer[Journal], bytes: cython.size_t) -> cython.pointer[uint8_t]:
    room: cython.size_t = _padded(bytes)
    if room > j.buffer_bytes:
        room += room // 2
        buffer: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], realloc(j.buffer, room))
        if buffer == cython.NULL:
            j.errnum = e.ENOMEM
            return cython.NULL
        j.buffer = buffer
        j.buffer_bytes = room
    return j.buffer + RECORD_HEADER_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_commit(
    j: cython.pointer[Journal],
    bytes: cython.size_t,
    entries: uint32_t,
    seqno: uint64_t,
    time_ns: uint64_t,
    persisted: uint64_t,
) -> cython.int:
    status: cython.int = _write_record(j, bytes, entries, seqno, time_ns, persisted)
    if status >= 0:
        j.last_seqno = seqno + entries - 1
        j.last_time_ns = time_ns
        j.last_persisted = persisted
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _write_record(
    j: cython.pointer[Journal],
    bytes: cython.size_t,
    entries: uint32_t,
    seqno: uint64_t,
    time_ns: uint64_t,
    persisted: uint64_t,
) -> cython.int:
    """Complete the record whose entries are in place, and advance over it."""
    padded: uint64_t = _padded(bytes)
    start: cython.pointer[uint8_t] = j.buffer if j.map == cython.NULL else j.map + j.position
    fj_store32(start + 8, bytes)
    fj_store32(start + 12, entries)
    fj_store64(start + 16, seqno)
    fj_store64(start + 24, time_ns)
    fj_store64(start + 32, persisted)
    if padded > bytes:  # a record that was begun and given up may have left something there
        memset(start + bytes, 0, padded - bytes)
    checksum: uint64_t = XXH3_64bits_withSeed(start + 8, bytes - 8, (j.number << 32) ^ j.position)
    # After everything else, also for the compiler; aligned, because records are.
    fj_atomic_store64(cython.cast(cython.pointer[uint64_t], start), checksum)
    if j.map == cython.NULL:
        status: cython.int = file_pwrite(j.fd, start, padded, j.position)
        if status < 0:
            return status
    elif probe.probe_on:  # the trace of a crash test has to know of what no system call writes
        probe.probe_note_fd(probe.OP_WRITE, j.fd, j.position, start, padded)
    fj_atomic_store64(cython.address(j.position), j.position + padded)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _write_seal(j: cython.pointer[Journal]) -> cython.int:
    """Room and space for it were always left."""
    if _place(j, RECORD_HEADER_BYTES) == cython.NULL:
        return -j.errnum
    status: cython.int = _write_record(
        j, RECORD_HEADER_BYTES, SEAL_ENTRIES, j.last_seqno, j.last_time_ns, j.last_persisted
    )
    if status >= 0:
        j.sealed = True
    return status


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
        j.map = cython.NULL  # no mapping on this file system: each record is a pwrite
    return 0


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
    """Bring the data to disk, then the file's end and mode: what has its final size is whole."""
    status: cython.int = file_sync(j.fd)
    if status >= 0:
        status = file_truncate(j.fd, j.position)
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
    is impossible, or not wanted (`mapped=False`), each record is one `pwrite`; all else is the same.
    """

    def __cinit__(self, path: str, number: int, capacity_bytes: int, *, mapped: bool = True):
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
        want_map: cython.bint = mapped
        status: cython.int
        with cython.nogil:
            status = _create(j, text, want_map)
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
        if j.map != cython.NULL:
            file_unmap(j.map, j.capacity_bytes)
            j.map = cython.NULL
        free(j.buffer)
        j.buffer = cython.NULL
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
        body: cython.pointer[uint8_t] = journal_begin(self.journal, n)
        if body == cython.NULL:
            self._check(-self.journal.errnum)
        start: cython.p_char = entries
        memcpy(body, start, n - RECORD_HEADER_BYTES)
        self._check(journal_commit(self.journal, n, count, seqno, time_ns, persisted))

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
        self._check(_write_seal(j))

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
        """For a background thread: populate so much more ahead of the writer. The bytes; 0: enough are."""
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
