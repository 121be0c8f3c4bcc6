# The bytes of a journal in memory.
from libc.stdint cimport uint8_t, uint64_t

cdef struct JournalBytes:
    uint8_t *data               # all of the file; where it has holes, zeros. Owned: free() it
    uint64_t size_bytes
    uint64_t data_end           # only zeros from here on
    uint64_t number             # of the journal; the reader's

# The whole file into zeroed memory, by its path or out of an open file; with has_tail its holes (never written to) are not
# read. 0, or a negative errno.
cdef int journal_read(JournalBytes *f, const char *path, bint has_tail) noexcept nogil
cdef int journal_read_open(JournalBytes *f, int fd, bint has_tail) noexcept nogil
