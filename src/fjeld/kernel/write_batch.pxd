# Entries collected for one atomic record of the journal.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.commit cimport Commit
from fjeld.kernel.core cimport TreeCore

cdef class WriteBatch:
    cdef Commit commit
    cdef uint8_t *data              # entries as in the journal
    cdef size_t bytes
    cdef size_t capacity_bytes
    cdef uint32_t count
    cdef list cores                 # the partitions written to
    cdef TreeCore recent
    cdef readonly bint finished     # committed or discarded

    cdef int add(self, TreeCore core, int kind, object key, object value) except -1
    cdef int grow(self, size_t needed) except -1
    cdef object find_obstacle(self, size_t needed)
    cdef int apply(self, uint64_t seqno) noexcept
    cdef int write(self, int durable, bint wait) except -1

# One entry, written at once: the fast path of insert and remove. Without `wait`: NOT_NOW where it would have to (for room,
# for a sync, because writers are slowed or refused).
cdef int write_one(TreeCore core, int kind, bytes key, bytes value, bint wait) except -1
# The same, not persisted; *reached is its seqno.
cdef int put_one(TreeCore core, int kind, bytes key, bytes value, bint wait, uint64_t *reached) except -1
# Persist what was written up to seqno, if `durable` says so (> 0), or the keyspace's option (< 0).
cdef int persist_due(Commit commit, int durable, uint64_t seqno) except -1
