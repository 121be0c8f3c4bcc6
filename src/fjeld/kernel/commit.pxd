# The write side of a keyspace: one lock, one journal, one counter of seqnos.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.journal cimport Journal, JournalWriter
from fjeld.kernel.mutex cimport pthread_cond_t, pthread_mutex_t

cdef extern from "<time.h>" nogil:
    ctypedef int clockid_t
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    clockid_t CLOCK_REALTIME_COARSE
    int clock_gettime(clockid_t which, timespec *out) noexcept

cdef enum Attention:
    ATTEND_REFUSE = 1       # closed, poisoned or forked: control.refuse() raises the right error
    ATTEND_DURABLE = 2      # each write is persisted before it returns
    ATTEND_PRESSURE = 4     # flush or compaction is behind: control.relieve() slows or halts the writer

cdef class Commit:
    cdef pthread_mutex_t mutex
    cdef Journal *journal           # the active one, or NULL
    cdef JournalWriter writer       # owns it
    cdef uint64_t seqno             # of the newest entry; guarded by the lock
    cdef uint64_t visible           # what readers may see: = seqno outside of a commit; atomic
    cdef uint64_t persisted         # every seqno up to this is on disk; atomic, never goes down
    cdef int unfinished             # sealed journals that may not be on disk; guarded by the lock
    # group commit
    cdef pthread_mutex_t sync_mutex # taken before the commit lock; guards the next two
    cdef pthread_cond_t synced      # signalled whenever a sync has ended
    cdef pthread_cond_t arrived     # signalled when all who are expected wait
    cdef bint syncing               # a thread leads: it syncs for all who wait
    cdef int waiting                # threads that want a sync, the leader among them
    cdef int expected               # as many as the last sync served: the leader waits for them a moment
    cdef uint64_t last_sync_ns      # how long the last sync took
    cdef bint everything            # sync times and attributes too
    cdef int sync_errnum            # a sync has failed: what is on disk is not known any more
    cdef int attention              # bits of Attention; atomic
    cdef readonly object control    # the control plane: refuse(), relieve(), switch_journal(n), seal_memtable(core), persist(seqno), poison(e)
    cdef readonly object clock      # None: the system's coarse clock; else a callable giving ns
    cdef readonly uint64_t written_bytes    # keys and values of all partitions since opening; guarded by the lock

    cdef void lock(self) noexcept
    cdef void unlock(self) noexcept nogil
    cdef int admit(self) except -1
    cdef int persist(self, uint64_t seqno) except -1    # returns once everything up to it is on disk
    cdef int share_sync(self, uint64_t seqno) noexcept nogil
    cdef void gather(self) noexcept nogil
    cdef int lead(self) noexcept nogil
    cdef uint64_t now_ns(self) except -1
