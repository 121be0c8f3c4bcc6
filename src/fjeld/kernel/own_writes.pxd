# The writes of an open transaction: what its commit writes, and what its reads see.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.commit cimport Commit
from fjeld.kernel.core cimport TreeCore
from fjeld.kernel.journal_reader cimport JournalEntry
from fjeld.kernel.memtable cimport MemtableOwner
from fjeld.kernel.turn cimport Turn
from fjeld.kernel.write_batch cimport WriteBatch

cdef class OwnWrites:
    cdef WriteBatch batch
    cdef Turn turn
    cdef bint holds_turn        # of a single writer: from the beginning to the end
    cdef int durable            # -1: as the keyspace's option says
    cdef unsigned long thread   # that may use it
    cdef str ended              # how; None while it is open
    cdef object at_end          # called once, without arguments, when it has ended
    cdef list read_sets         # of an optimistic one: ReadSet, one for each partition it has touched
    cdef uint64_t since         # of an optimistic one: the seqno of its snapshot
    # the index over what is in the batch, made when something is read
    cdef list indexes           # MemtableOwner or None, as `cores`
    cdef size_t indexed_bytes
    cdef uint32_t indexed_count

    cdef int enter(self) except -1
    cdef int refuse_use(self) except -1
    # The newest own version of a key: 1 and *out, valid until the next write; or 0.
    cdef int find(self, TreeCore core, const uint8_t *key, size_t key_bytes, JournalEntry *out) except -1
    cdef int find_unsorted(self, TreeCore core, const uint8_t *key, size_t key_bytes, JournalEntry *out) noexcept
    cdef MemtableOwner index_of(self, TreeCore core)
    cdef int catch_up(self) except -1
    cdef int cut(self, size_t length, uint32_t count, Py_ssize_t cores) except -1
    cdef int settle(self, str how) except -1
    cdef int write_in_turn(self) except -1
    cdef int write_in_turn_now(self) except -1
    cdef int go_to(self, unsigned long thread) except -1
    cdef int check_reads(self, uint64_t since) except -1
