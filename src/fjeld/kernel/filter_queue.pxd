# What a compaction writes, held back until the user's filter has been asked.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob_sink cimport BlobSink
from fjeld.kernel.coding cimport cbytes
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.table_writer cimport Writer

cdef enum QueueFlag:
    QUEUE_ASK = 1           # the filter decides over this value
    QUEUE_BOTTOM = 2        # one that goes leaves nothing behind: no tombstone is needed

cdef struct Queued:
    uint64_t tag
    size_t start            # in the bytes of the queue: key, value, and what the filter is shown in its place
    uint32_t key_bytes
    uint32_t value_bytes
    uint32_t shown_bytes
    uint8_t elsewhere       # the filter is shown something else than what is written: the value in a blob file
    uint8_t flags           # of QueueFlag
    uint8_t refused         # the filter's answer

cdef class FilterQueue:
    cdef object ask_filter          # the callable
    cdef Queued *entries
    cdef uint32_t count
    cdef uint32_t asked             # entries with QUEUE_ASK
    cdef uint8_t *bytes
    cdef size_t used_bytes
    cdef size_t capacity_bytes
    cdef readonly uint64_t entries_refused

    cdef int add(self, cbytes key, size_t key_bytes, uint64_t tag, cbytes value, size_t value_bytes, cbytes shown,
                 size_t shown_bytes, int flags, Failure *f) noexcept nogil
    cdef bint full(self) noexcept nogil
    cdef int ask(self) except -1
    cdef int write(self, Writer *w, BlobSink sink, Failure *f) noexcept nogil
