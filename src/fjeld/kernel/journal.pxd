# The write-ahead journal: a mapped file, allocated ahead, that one writer appends records to. FORMATS.md has the bytes.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.journal_pages cimport Journal

cdef extern from *:
    """
    /* In the place of the number of entries: this record is the seal. (An enum's constant would be a signed int.) */
    #define FJ_SEAL_ENTRIES UINT32_C(0xffffffff)
    """
    const uint32_t SEAL_ENTRIES "FJ_SEAL_ENTRIES"

cdef enum:
    JOURNAL_HEADER_BYTES = 32
    JOURNAL_FORMAT = 1
    RECORD_HEADER_BYTES = 40

# Room for a record of `bytes` (header included, unpadded)? The caller holds the commit lock for these three.
cdef bint journal_fits(const Journal *j, size_t bytes) noexcept nogil
# Where the entries of the next record go (position + RECORD_HEADER_BYTES), populated. Requires: journal_fits.
# NULL with j.errnum: the system gives no memory, or took back the space that was allocated; nothing has changed.
cdef uint8_t *journal_begin(Journal *j, size_t bytes) noexcept nogil
# Write header and checksum, advance. `bytes` as given to journal_begin. 0, or -errno where the journal is not mapped
# and the write failed: the record does not count (and the journal is to be left).
cdef int journal_commit(Journal *j, size_t bytes, uint32_t entries, uint64_t seqno, uint64_t time_ns, uint64_t persisted) noexcept nogil
# One entry of a record: how long it is, and its bytes (the place behind them is returned).
cdef size_t entry_bytes(uint32_t partition, size_t key_bytes, size_t value_bytes) noexcept nogil
cdef uint8_t *entry_put(uint8_t *p, int kind, uint32_t partition, const uint8_t *key, size_t key_bytes,
                        const uint8_t *value, size_t value_bytes) noexcept nogil

cdef class JournalWriter:
    """Owns a Journal: create (preallocates: OSError(ENOSPC) here, never SIGBUS later), sync, seal, finish."""
    cdef Journal *journal
    cdef readonly str path
    cdef readonly object number
    cdef object sync_lock       # guards the descriptor: held by sync, finish, close
    cdef object map_lock        # guards the mapping: held by prefault and by what unmaps
    cdef bint whole             # the file has its last form: only the summary may be missing
    cdef object summary         # what finish found, once it is done
    cdef void _unmap(self) noexcept
