# Chunks of an export on their way into tables.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob_sink cimport BlobSink
from fjeld.kernel.checksum cimport XXH3_state_t, Xxh128
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.table_writer cimport TableWriter, Writer

cdef struct ChunkEntry:
    const uint8_t *key
    const uint8_t *value
    size_t key_bytes
    size_t value_bytes

cdef class ChunkDecoder:
    cdef uint8_t *raw           # the chunk, decompressed and proved sound
    cdef size_t capacity_bytes
    cdef size_t raw_bytes
    cdef size_t position        # of the first entry that is in no table yet
    cdef uint8_t *last          # the last key of the chunks before
    cdef size_t last_bytes
    cdef size_t last_capacity_bytes
    cdef bint have_last
    cdef Xxh128 sum

    cdef int unpack(self, int codec, const uint8_t *data, size_t n, uint32_t entries, XXH3_state_t *state, Failure *f) noexcept nogil
    cdef int prove(self, uint32_t entries, XXH3_state_t *state, Failure *f) noexcept nogil
    cdef int drain(self, Writer *w, uint64_t target_bytes, BlobSink sink, Failure *f) noexcept nogil
