# The mapping of a journal: unmapped when nobody needs it any more.
from libc.stdint cimport uint8_t, uint64_t

cdef class JournalMap:
    cdef uint8_t *start
    cdef uint64_t size_bytes

# Own a mapping.
cdef JournalMap own_map(uint8_t *start, uint64_t size_bytes)
