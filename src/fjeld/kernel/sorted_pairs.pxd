# Pairs on their way from a Python iterator into tables.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob_sink cimport BlobSink
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.table_writer cimport Writer

cdef struct Pair:
    const uint8_t *key          # borrowed from the bytes objects in `held`
    const uint8_t *value
    uint32_t key_bytes
    uint32_t value_bytes

cdef class SortedPairs:
    cdef object iterator
    cdef Pair *pairs            # of one chunk
    cdef uint32_t count         # pairs in the chunk
    cdef uint32_t written       # of them are in a table
    cdef list held
    cdef bytes last_key         # of the newest pair
    cdef uint64_t taken         # pairs so far

    cdef int take(self, object pair) except -1
    cdef int drain(self, Writer *w, uint64_t target_bytes, BlobSink sink, Failure *f) noexcept nogil
