# The reader's side of the write-ahead journal, and the decoder of its entries. FORMATS.md has the bytes.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from fjeld.kernel.journal_file cimport JournalBytes

cdef struct Record:
    uint64_t seqno
    uint32_t entries
    uint64_t time_ns
    uint64_t persisted
    const uint8_t *body         # the entries
    const uint8_t *body_end
    uint64_t offset

cdef struct JournalEntry:
    int kind
    uint32_t partition
    const uint8_t *key
    size_t key_bytes
    const uint8_t *value
    size_t value_bytes

# Decode the entry at *p and move *p behind it: 1; 0 at the end; -1 where there is no whole entry. Never reads past `end`.
cdef int entry_next(const uint8_t **p, const uint8_t *end, JournalEntry *out) noexcept nogil

cdef class JournalReader:
    """Reads a journal, active or sealed. Not thread-safe."""
    cdef readonly str path
    cdef readonly object number
    cdef readonly bint allow_torn
    cdef readonly uint64_t position     # of the next record
    cdef readonly uint64_t last_seqno   # of the records so far
    cdef readonly uint64_t first_seqno  # of the first record; 0 before it is read
    cdef readonly object outcome        # None, then "sealed", "open" or "torn"
    cdef readonly object torn_offset    # where the tail begins that was cut off
    cdef Record record                  # the current one; valid until the next call and while the reader lives
    # private
    cdef JournalBytes file
    cdef uint64_t after_seqno
    cdef uint64_t end_bytes             # 0: at the seal
    cdef int descriptor                 # borrowed: read this open file, not the path; -1: the path
    cdef uint64_t stop                  # after `restart`: where what was read ended,
    cdef object ended                   # and how; None: it was not read before

    # 1: self.record is the next record; 0: the end (then `outcome` says how it ended). Raises CorruptionError for damage, and within a
    # record whose checksum is right (impossible lengths). Call under the GIL; the checksum of a record is verified before it is returned,
    # and its entries are known to parse.
    cdef int next_record(self) except -1
    cdef int _load(self) except -1
    cdef int _check_header(self) except -1
    cdef int _take(self, uint64_t length) except -1
    cdef int _take_seal(self, uint64_t length) except -1
    cdef int _end(self) except -1
    cdef int _read_again(self, uint64_t proof) except -1
