# Records of the journal: how they are put together and appended. FORMATS.md has the bytes.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.journal_pages cimport Journal

cdef extern from *:
    """
    /* In the place of the number of entries: this record is the seal. (An enum's constant would be a signed int.) */
    #define FJ_SEAL_ENTRIES UINT32_C(0xffffffff)
    """
    const uint32_t SEAL_ENTRIES "FJ_SEAL_ENTRIES"

cdef enum:
    RECORD_HEADER_BYTES = 40
    # A record of this size or more is written by a system call.
    LARGE_BYTES = 2048

# What a record says beside its entries.
cdef struct Stamp:
    uint64_t seqno          # of its first entry
    uint64_t time_ns
    uint64_t persisted      # every seqno up to this was on disk

# All of these require the commit lock.
# Room for a record of `bytes` (header included, unpadded)?
cdef bint journal_fits(const Journal *j, size_t bytes) noexcept nogil
# Append a record. Requires: journal_fits. 0, or -errno: the record does not count (and where a write failed, the
# journal is to be left). The first of one entry; the others of what entry_put has made, and of none, the last one.
cdef int journal_put(Journal *j, int kind, uint32_t partition, const uint8_t *key, size_t key_bytes,
                     const uint8_t *value, size_t value_bytes, const Stamp *stamp) noexcept nogil
cdef int journal_put_entries(Journal *j, const uint8_t *data, size_t data_bytes, uint32_t entries,
                             const Stamp *stamp) noexcept nogil
cdef int journal_put_seal(Journal *j) noexcept nogil
# Where the last record that was appended has its entries, in the mapping. Requires: it is mapped.
cdef const uint8_t *journal_entries(const Journal *j) noexcept nogil

# One entry of a record: how long it is, and its bytes (the place behind them is returned).
cdef size_t entry_bytes(uint32_t partition, size_t key_bytes, size_t value_bytes) noexcept nogil
cdef uint8_t *entry_put(uint8_t *p, int kind, uint32_t partition, const uint8_t *key, size_t key_bytes,
                        const uint8_t *value, size_t value_bytes) noexcept nogil
