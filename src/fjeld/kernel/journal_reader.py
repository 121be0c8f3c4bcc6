"""The reader's side of the write-ahead journal (docs/FORMATS.md, "Journal").

    +0   8  xxh64 of what follows, seeded with (journal number << 32) ^ offset
    +8   4  length          +12  4  entries (0xffffffff: the seal)
    +16  8  seqno           +24  8  time            +32  8  persisted           +40  the entries

A record is believed where its checksum is right, and the seed makes it right in one place of one journal
only. What follows the last such record is judged once, at the end:

1. A seal is the end; what follows was never part of the journal (and must be zeros in a finished file).
2. Nothing but zeros: the journal is *open*, its writer has not sealed it.
3. Else the tail is *torn*, unless a valid record further on proves that the lost part had been complete on
   disk: a seal, or a record whose `persisted` covers a seqno behind the last good one. Then it is damage.

2 and 3 are for the newest journals only (`allow_torn`); where a seal is due, all else is a CorruptionError.

The file is read, not mapped: a mapping of a file that shrinks is a SIGBUS.
"""

import os

import cython
from cython.cimports.fjeld.kernel.checksum import (
    XXH3_64bits_withSeed,
    XXH3_128bits,
    XXH128_hash_t,
    hash_hex,
)
from cython.cimports.fjeld.kernel.coding import (
    KIND_VALUE,
    KIND_WEAK_TOMBSTONE,
    MAX_KEY_BYTES,
    fj_get_varint,
    fj_load32,
    fj_load64,
    fj_store32,
    fj_store64,
)
from cython.cimports.fjeld.kernel.journal import (
    JOURNAL_FORMAT,
    JOURNAL_HEADER_BYTES,
)
from cython.cimports.fjeld.kernel.journal_file import journal_read, journal_read_open
from cython.cimports.fjeld.kernel.journal_record import RECORD_HEADER_BYTES, SEAL_ENTRIES
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memcmp, memcpy, memset

from fjeld.errors import CorruptionError, UnsupportedFormatError

__all__ = ["JournalReader"]

bytes_t = cython.typedef(cython.pointer[cython.const[uint8_t]])

_HEADER_BYTES = cython.declare(uint64_t, JOURNAL_HEADER_BYTES)
# What a disk writes whole or not at all.
_SECTOR_BYTES = cython.declare(uint64_t, 512)
_SEQNO_LIMIT = cython.declare(uint64_t, 1 << 56)
_VALUE_BYTES_MAX = cython.declare(uint64_t, 0xFFFFFFFF)
# The shortest entry: kind, partition, two lengths, an empty key.
_ENTRY_BYTES_MIN = cython.declare(uint64_t, 4)
_RESTORE = "restore the file from a backup"


# ---- entries ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def entry_next(p: cython.pointer[bytes_t], end: bytes_t, out: cython.pointer[JournalEntry]) -> cython.int:
    at: bytes_t = p[0]
    if at >= end:
        return 0
    out.kind = at[0]
    partition: uint64_t = 0
    key_bytes: uint64_t = 0
    value_bytes: uint64_t = 0
    at = fj_get_varint(at + 1, end, cython.address(partition))
    if at == cython.NULL:
        return -1
    at = fj_get_varint(at, end, cython.address(key_bytes))
    if at == cython.NULL:
        return -1
    at = fj_get_varint(at, end, cython.address(value_bytes))
    if at == cython.NULL or out.kind > KIND_WEAK_TOMBSTONE or partition > _VALUE_BYTES_MAX:
        return -1
    if (
        key_bytes > MAX_KEY_BYTES
        or value_bytes > _VALUE_BYTES_MAX
        or (value_bytes > 0 and out.kind != KIND_VALUE)
    ):
        return -1
    if key_bytes + value_bytes > cython.cast(uint64_t, end - at):
        return -1
    out.partition = partition
    out.key = at
    out.key_bytes = key_bytes
    out.value = at + key_bytes
    out.value_bytes = value_bytes
    p[0] = at + key_bytes + value_bytes
    return 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _count_entries(at: bytes_t, end: bytes_t) -> int64_t:
    """How many entries fill the bytes exactly; -1 if none do."""
    entry: JournalEntry
    count: int64_t = 0
    status: cython.int = entry_next(cython.address(at), end, cython.address(entry))
    while status > 0:
        count += 1
        status = entry_next(cython.address(at), end, cython.address(entry))
    return -1 if status < 0 else count


# ---- records ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _valid_length(f: cython.pointer[JournalBytes], at: uint64_t) -> uint64_t:
    """The length of the record at this offset if its checksum is right, else 0."""
    if at + RECORD_HEADER_BYTES > f.size_bytes:
        return 0
    start: bytes_t = f.data + at
    length: uint64_t = fj_load32(start + 8)
    if length < RECORD_HEADER_BYTES or length > f.size_bytes - at:
        return 0
    if XXH3_64bits_withSeed(start + 8, length - 8, (f.number << 32) ^ at) != fj_load64(start):
        return 0
    return length


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _is_plausible(f: cython.pointer[JournalBytes], at: uint64_t) -> cython.bint:
    """Could a record begin here? Keeps the search through garbage from hashing megabytes at each step."""
    start: bytes_t = f.data + at
    length: uint64_t = fj_load32(start + 8)
    entries: uint64_t = fj_load32(start + 12)
    if length < RECORD_HEADER_BYTES or length > f.size_bytes - at:
        return False
    if entries == SEAL_ENTRIES:
        return length == RECORD_HEADER_BYTES
    if entries * _ENTRY_BYTES_MIN > length - RECORD_HEADER_BYTES:
        return False
    return fj_load64(start + 16) < _SEQNO_LIMIT and fj_load64(start + 32) < _SEQNO_LIMIT


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _find_proof(f: cython.pointer[JournalBytes], at: uint64_t, last_seqno: uint64_t) -> uint64_t:
    """Where a valid record behind `at` proves that what is lost here had been on disk; 0: none does."""
    at += 8
    while at + RECORD_HEADER_BYTES <= f.data_end:
        length: uint64_t = _valid_length(f, at) if _is_plausible(f, at) else 0
        if length == 0:
            at += 8
            continue
        # A seal proves no more than any record: it too may reach the disk before the pages in front of it.
        if fj_load64(f.data + at + 32) > last_seqno:
            return at
        at += (length + 7) & ~cython.cast(uint64_t, 7)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _all_zeros(f: cython.pointer[JournalBytes], at: uint64_t, end: uint64_t) -> cython.bint:
    while at + 8 <= end:
        if fj_load64(f.data + at) != 0:
            return False
        at += 8
    while at < end:
        if f.data[at] != 0:
            return False
        at += 1
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _header_torn(f: cython.pointer[JournalBytes]) -> cython.bint:
    """Was the header being written, and nothing else of its sector ever?"""
    header: uint8_t[32]
    memset(header, 0, _HEADER_BYTES)
    memcpy(header, b"FJELDJNL", 8)
    fj_store32(header + 8, JOURNAL_FORMAT)
    fj_store64(header + 16, f.number)
    fj_store64(header + 24, XXH3_64bits_withSeed(header, 24, 0))
    at: uint64_t = 0
    end: uint64_t = min(f.size_bytes, _HEADER_BYTES)
    while at < end and f.data[at] == header[at]:
        at += 1
    return at < _HEADER_BYTES and _all_zeros(f, at, min(f.size_bytes, _SECTOR_BYTES))


# ---- the reader ----


@cython.final
@cython.cclass
class JournalReader:
    """Reads a journal from its first record to its end. Owns the file's bytes in memory; holds no descriptor.

    Python code iterates: (seqno, time_ns, [(kind, partition_id, key, value), ...]) per record.
    `end_bytes`: recovery has found that the records end here, without a seal; what follows is not read.
    `after_seqno`: every seqno up to it is known to be in earlier journals, so that a record which claims no
    more proves nothing of what is lost here. A live journal may be read beside its writer. Not thread-safe.
    `descriptor`: of the open file, which has lost its name perhaps; it is borrowed.
    """

    def __cinit__(
        self,
        path: str,
        number: int,
        *,
        allow_torn: bool,
        after_seqno: int = 0,
        end_bytes=None,
        descriptor: int = -1,
    ):
        self.path = path
        self.number = number
        self.allow_torn = allow_torn
        self.after_seqno = after_seqno
        self.end_bytes = 0 if end_bytes is None else end_bytes
        self.file.number = number
        self.descriptor = descriptor
        self._load()
        self._check_header()

    def __dealloc__(self):
        free(self.file.data)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _load(self) -> cython.int:
        fresh: JournalBytes
        fresh.data = cython.NULL
        fresh.size_bytes = 0
        fresh.data_end = 0
        fresh.number = self.file.number
        name: bytes = os.fsencode(self.path)
        text: cython.p_char = name
        has_tail: cython.bint = self.allow_torn
        fd: cython.int = self.descriptor
        status: cython.int
        with cython.nogil:
            if fd >= 0:
                status = journal_read_open(cython.address(fresh), fd, has_tail)
            else:
                status = journal_read(cython.address(fresh), text, has_tail)
        if status < 0:
            free(fresh.data)
            raise OSError(-status, os.strerror(-status), self.path)
        free(self.file.data)
        self.file = fresh
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _check_header(self) -> cython.int:
        f: cython.pointer[JournalBytes] = cython.address(self.file)
        if self.allow_torn and _all_zeros(f, 0, min(f.size_bytes, _HEADER_BYTES)):
            return 0  # made, but its header was never on disk: a tail that begins at offset 0
        if self.allow_torn and _header_torn(f):
            return 0  # nor all of it
        if f.size_bytes < JOURNAL_HEADER_BYTES:
            raise CorruptionError(
                f"the journal is cut short; {_RESTORE}", path=self.path, offset=f.size_bytes
            )
        if memcmp(f.data, b"FJELDJNL", 8) != 0 or XXH3_64bits_withSeed(f.data, 24, 0) != fj_load64(
            f.data + 24
        ):
            raise CorruptionError(f"the journal's header is damaged; {_RESTORE}", path=self.path, offset=0)
        if fj_load32(f.data + 8) > JOURNAL_FORMAT:
            raise UnsupportedFormatError(
                f"{self.path}: journal format {fj_load32(f.data + 8)} is a newer Fjeld's; upgrade to open it"
            )
        if fj_load64(f.data + 16) != f.number:
            what: object = f"this is journal {fj_load64(f.data + 16)} under the name of another; {_RESTORE}"
            raise CorruptionError(what, path=self.path, offset=16)
        self.position = JOURNAL_HEADER_BYTES
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def next_record(self) -> cython.int:
        if self.outcome is not None:
            return 0
        f: cython.pointer[JournalBytes] = cython.address(self.file)
        length: uint64_t = 0
        if self.ended is not None and self.ended != "sealed" and self.position >= self.stop:
            if self.ended == "torn":
                return self._end()
            self.outcome = self.ended
            return 0
        if self.end_bytes > 0 and self.position >= self.end_bytes:
            if self.position > self.end_bytes:
                what: object = f"the records were to end at {self.end_bytes}; {_RESTORE}"
                raise CorruptionError(what, path=self.path, offset=self.record.offset)
            self.outcome = "open"
            return 0
        if self.position >= JOURNAL_HEADER_BYTES:
            length = _valid_length(f, self.position)
        if length == 0:
            return self._end()
        if fj_load32(f.data + self.position + 12) == SEAL_ENTRIES:
            return self._take_seal(length)
        return self._take(length)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _take(self, length: uint64_t) -> cython.int:
        """The record at the position, whose checksum is right."""
        start: bytes_t = self.file.data + self.position
        record: cython.pointer[Record] = cython.address(self.record)
        record.offset = self.position
        record.entries = fj_load32(start + 12)
        record.seqno = fj_load64(start + 16)
        record.time_ns = fj_load64(start + 24)
        record.persisted = fj_load64(start + 32)
        record.body = start + RECORD_HEADER_BYTES
        record.body_end = start + length
        what: object = None
        if record.entries == 0 or _count_entries(record.body, record.body_end) != record.entries:
            what = "a journal record's entries do not fit its length"
        elif record.seqno <= self.last_seqno or record.seqno + record.entries > _SEQNO_LIMIT:
            what = f"a journal record with seqno {record.seqno} follows seqno {self.last_seqno}"
        if what is not None:
            raise CorruptionError(f"{what}; {_RESTORE}", path=self.path, offset=self.position)
        if self.first_seqno == 0:
            self.first_seqno = record.seqno
        self.last_seqno = record.seqno + record.entries - 1
        self.position = min(self.position + ((length + 7) & ~cython.cast(uint64_t, 7)), self.file.size_bytes)
        return 1

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _take_seal(self, length: uint64_t) -> cython.int:
        """The seal at the position, whose checksum is right."""
        f: cython.pointer[JournalBytes] = cython.address(self.file)
        seqno: uint64_t = fj_load64(f.data + self.position + 16)
        if length != RECORD_HEADER_BYTES or seqno != self.last_seqno:
            what: object = (
                f"the journal's seal names seqno {seqno}, its last record has {self.last_seqno}; {_RESTORE}"
            )
            raise CorruptionError(what, path=self.path, offset=self.position)
        self.position += RECORD_HEADER_BYTES
        if not self.allow_torn and not _all_zeros(f, self.position, f.data_end):
            raise CorruptionError(f"bytes behind the seal; {_RESTORE}", path=self.path, offset=self.position)
        self.outcome = "sealed"
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _end(self) -> cython.int:
        """No valid record is at the position: judge what is there."""
        f: cython.pointer[JournalBytes] = cython.address(self.file)
        blank: cython.bint
        proof: uint64_t = 0
        known: uint64_t = max(self.last_seqno, self.after_seqno)
        with cython.nogil:
            blank = _all_zeros(f, self.position, f.data_end)
            if not blank and self.allow_torn:
                proof = _find_proof(f, self.position, known)
        if not self.allow_torn:
            what: object = (
                "the journal is cut short: it has no seal" if blank else "a journal record is damaged"
            )
            raise CorruptionError(f"{what}; {_RESTORE}", path=self.path, offset=self.position)
        if proof != 0:
            return self._read_again(proof)
        if blank and self.position > 0:
            self.outcome = "open"
        else:
            self.outcome = "torn"
            self.torn_offset = self.position
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _read_again(self, proof: uint64_t) -> cython.int:
        """Judge what is lost here and had been complete, by the record at `proof`.

        It is damage, unless the journal is live and its writer got from here to there while it was read:
        then the record is here now.
        """
        self._load()
        if self.position == 0:
            self._check_header()
        if self.position == 0 or _valid_length(cython.address(self.file), self.position) == 0:
            raise CorruptionError(
                f"a journal record is damaged that was on disk (by the record at {proof}); {_RESTORE}",
                path=self.path,
                offset=self.position,
            )
        if self.ended is not None:  # it came after what is to be read
            self.outcome = "open"
            return 0
        return self.next_record()

    def restart(self, after_seqno: int):
        """Back to the first record, of the same bytes: what its writer has added since is not read."""
        if self.ended is None:
            if self.outcome is None:
                raise ValueError("a journal is read again once it was read to its end")
            self.stop = self.position
            self.ended = self.outcome
        self.outcome = None
        self.torn_offset = None
        self.after_seqno = after_seqno
        self.first_seqno = self.last_seqno = self.position = 0
        self._check_header()

    def summary(self) -> tuple:
        """The size of the file and the XXH3-128 of its bytes."""
        h: XXH128_hash_t
        with cython.nogil:
            h = XXH3_128bits(self.file.data, self.file.size_bytes)
        return self.file.size_bytes, hash_hex(h)

    @property
    def reserves(self) -> bool:
        """Does the record read last hold nothing but a seqno, of an ingestion?"""
        return self.last_seqno != 0 and self.record.entries == 1 and self.record.body[1] == 0

    @property
    def persisted(self):
        """What the record read last knew to be on disk: every seqno up to this."""
        return self.record.persisted

    def __iter__(self):
        return self

    def __next__(self):
        if self.next_record() == 0:
            raise StopIteration
        at: bytes_t = self.record.body
        entry: JournalEntry
        entries: list = []
        while entry_next(cython.address(at), self.record.body_end, cython.address(entry)) > 0:
            key: bytes = entry.key[: entry.key_bytes]
            value: bytes = entry.value[: entry.value_bytes]
            entries.append((entry.kind, entry.partition, key, value))
        return self.record.seqno, self.record.time_ns, entries
