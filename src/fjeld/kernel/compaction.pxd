# Flush and compaction: merge memtables and tables into tables, without the GIL.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob_sink cimport BlobSink
from fjeld.kernel.coding cimport cbytes
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.filter_queue cimport FilterQueue
from fjeld.kernel.merge cimport Merge
from fjeld.kernel.table_writer cimport Writer
from fjeld.kernel.view cimport View

cdef struct Bound:
    const char *key                 # borrowed from the bytes object; NULL: there is none
    size_t key_bytes

cdef enum:                          # places in `bounds`
    START = 0
    STOP = 1
    SPLITS = 2

cdef class Compaction:
    cdef Merge merge
    cdef tuple keys                 # start, stop (either may be None) and the keys at which another output begins
    cdef Bound *bounds              # the same
    cdef uint32_t split_count
    cdef uint32_t split_index       # the next one
    cdef FilterQueue queue          # None: nobody is asked
    cdef BlobSink sink              # where large values go; None: they stay in the tables
    cdef uint8_t *shown             # a value in a blob file, for the filter
    cdef size_t shown_capacity_bytes
    cdef View inputs                # keeps memtables and tables alive
    cdef uint64_t *snapshots        # ascending
    cdef uint32_t snapshot_count
    cdef bint drop_tombstones       # nothing lies beneath the output
    cdef bint started
    cdef bint ended
    cdef int cancelled
    # the key at hand
    cdef uint8_t *key
    cdef size_t key_bytes
    cdef size_t key_capacity_bytes
    cdef bint have_key
    cdef uint32_t stripe            # snapshots below the last version that was kept or dropped as newest of its stripe
    cdef bint pending_weak          # a weak tombstone waits for the version beneath it
    cdef uint64_t weak_tag
    cdef bint under_value           # a value of this stripe was kept: weak tombstones beneath it are unseen, but stay
    # statistics
    cdef readonly uint64_t entries_read
    cdef readonly uint64_t entries_dropped

    cdef int drain(self, Writer *w, uint64_t target_bytes, Failure *f) noexcept nogil
    cdef int begin(self, Failure *f) noexcept nogil
    cdef bint reached(self, Bound *bound) noexcept nogil
    cdef bint output_ends(self, Writer *w, uint64_t target_bytes) noexcept nogil
    cdef int emit(self, Writer *w, cbytes key, size_t key_bytes, uint64_t tag, cbytes value, size_t value_bytes,
                  int flags, Failure *f) noexcept nogil
    cdef int show(self, cbytes key, size_t key_bytes, uint64_t tag, cbytes pointer, int flags, Failure *f) noexcept nogil
    cdef int take(self, Writer *w, Failure *f) noexcept nogil
    cdef int settle_weak(self, Writer *w, uint64_t tag, Failure *f) noexcept nogil
    cdef int harden_weak(self, Writer *w, Failure *f) noexcept nogil
    cdef int annihilate(self) noexcept nogil
    cdef bint same_key(self) noexcept nogil
    cdef int next_key(self, Failure *f) noexcept nogil
    cdef uint32_t stripe_of(self, uint64_t seqno) noexcept nogil
