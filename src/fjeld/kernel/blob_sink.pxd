# Where flush, compaction and ingestion put large values.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob cimport BlobSet
from fjeld.kernel.blob_writer cimport BlobOut, BlobWriter
from fjeld.kernel.coding cimport cbytes
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.table_writer cimport Writer

cdef enum:
    FILE_DUE = 9    # of who drains into a sink, beside the statuses of failure.pxd: it is full, and `begin` needs the GIL

cdef class BlobSink:
    cdef object next_file           # () -> (number, path) of another file
    cdef BlobWriter writer          # the one that is written; None before the first
    cdef BlobOut *out               # its
    cdef list finished              # facts of those before it
    cdef list paths                 # of all that were begun
    cdef uint64_t threshold_bytes
    cdef uint64_t file_bytes
    cdef int codec
    cdef int level
    cdef const BlobSet *sources     # files that entries may point into; borrowed
    cdef uint64_t *moved            # numbers of those whose values are moved, ascending
    cdef uint32_t moved_count
    cdef uint8_t *record
    cdef size_t record_capacity_bytes
    cdef readonly uint64_t moved_bytes      # of records that were moved

    cdef bint full(self) noexcept nogil
    cdef int add(self, Writer *w, cbytes key, size_t key_bytes, uint64_t tag, cbytes value, size_t value_bytes,
                 Failure *f) noexcept nogil
    cdef int move(self, Writer *w, cbytes key, size_t key_bytes, uint64_t tag, cbytes value, Failure *f) noexcept nogil
    cdef bint is_moved(self, uint64_t number) noexcept nogil
