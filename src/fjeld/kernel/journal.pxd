# The write-ahead journal: a preallocated, mapped file that one writer appends records to. FORMATS.md has the bytes.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t

cdef extern from *:
    """
    /* The number never goes down, whoever else raises it at the same time. */
    static inline void fj_atomic_raise64(uint64_t *p, uint64_t v) {
        uint64_t old = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (old < v && !__atomic_compare_exchange_n(p, &old, v, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) { }
    }
    /* In the place of the number of entries: this record is the seal. (An enum's constant would be a signed int.) */
    #define FJ_SEAL_ENTRIES UINT32_C(0xffffffff)
    """
    const uint32_t SEAL_ENTRIES "FJ_SEAL_ENTRIES"
    void fj_atomic_raise64(uint64_t *p, uint64_t v) noexcept nogil

cdef enum:
    JOURNAL_HEADER_BYTES = 32
    JOURNAL_FORMAT = 1
    RECORD_HEADER_BYTES = 40

cdef struct Journal:
    int fd
    uint64_t number
    uint8_t *map                # the whole capacity is mapped; pages are populated ahead in windows and given back behind
    uint64_t capacity_bytes
    uint64_t position           # the next record goes here (multiple of 8); always leaves room for a seal
    uint64_t populated          # the map is writable without page faults up to here
    uint64_t released           # pages before this were given back (MADV_DONTNEED)
    uint64_t last_seqno         # of the last record; 0: none
    bint sealed
    # private
    uint64_t last_time_ns       # of the last record: the seal repeats them
    uint64_t last_persisted
    uint8_t *buffer             # not mapped: the record that is being written
    size_t buffer_bytes
    int errnum                  # why journal_begin gave NULL

# Room for a record of `bytes` (header included, unpadded)? The caller holds the commit lock for these three.
cdef bint journal_fits(const Journal *j, size_t bytes) noexcept nogil
# Where the entries of the next record go (position + RECORD_HEADER_BYTES), populated. Requires: journal_fits.
# NULL with j.errnum: the system gives no memory, or took back the space that was allocated; nothing has changed.
cdef uint8_t *journal_begin(Journal *j, size_t bytes) noexcept nogil
# Write header and checksum, advance. `bytes` as given to journal_begin. 0, or -errno where the journal is not mapped
# and the write failed: the record does not count (and the journal is to be left).
cdef int journal_commit(Journal *j, size_t bytes, uint32_t entries, uint64_t seqno, uint64_t time_ns, uint64_t persisted) noexcept nogil
# Populate the next window ahead of the writer, give pages back behind it; bytes populated. From any thread, without
# the commit lock, while the writer is open.
cdef int64_t journal_prefault(Journal *j) noexcept nogil

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
