# Entries of one partition on their way into the chunks of an export.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.checksum cimport XXH3_state_t, Xxh128
from fjeld.kernel.compression cimport Compressor
from fjeld.kernel.core cimport Access
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.merge cimport Merge
from fjeld.kernel.view cimport View

cdef class ChunkEncoder:
    cdef Access access
    cdef View view
    cdef Merge merge
    cdef Compressor compressor
    cdef Xxh128 sum
    cdef size_t chunk_bytes
    cdef uint8_t *raw           # the chunk before compression
    cdef size_t capacity_bytes
    cdef size_t filled_bytes
    cdef uint8_t *stored        # raw, or the compressor's buffer
    cdef size_t stored_bytes
    cdef uint32_t filled        # entries in the chunk
    cdef int used               # the codec of the chunk
    cdef bint begun
    cdef bint ended

    cdef int pass_on(self, XXH3_state_t *state, Failure *f) noexcept nogil
    cdef int put(self, XXH3_state_t *state, Failure *f) noexcept nogil
