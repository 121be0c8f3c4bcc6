# A journal that is written to, and which of its pages are resident.
from libc.stdint cimport uint8_t, uint64_t, int64_t
from fjeld.kernel.checksum cimport XXH3_state_t
from fjeld.kernel.mutex cimport sem_t

cdef extern from *:
    """
    /* The number never goes down, whoever else raises it at the same time. */
    static inline void fj_atomic_raise64(uint64_t *p, uint64_t v) {
        uint64_t old = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (old < v && !__atomic_compare_exchange_n(p, &old, v, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) { }
    }
    """
    void fj_atomic_raise64(uint64_t *p, uint64_t v) noexcept nogil

cdef extern from *:
    """
    enum { FJ_FILL_BYTES = 256 << 10 };
    __attribute__((unused)) static const char fj_zeros[FJ_FILL_BYTES];
    """
    enum: FILL_BYTES "FJ_FILL_BYTES"    # written at once: less takes smaller folios, more delays a write for longer
    const char fj_zeros[]

cdef enum:
    # Who populates ahead is woken when less than this is populated, and populates twice as much; and so much stays
    # resident behind the writer. At 400 MB a second this is 2.6 ms, ten times what populating it takes.
    AHEAD_BYTES = 1 << 20
    # Allocated when the file is made: what a writer fills in no less than a millisecond, while more is populated.
    NEW_BYTES = 512 << 10

cdef struct Journal:
    int fd
    uint64_t number
    uint8_t *map                # the whole capacity is mapped; what is not allocated must not be touched
    uint64_t capacity_bytes
    uint64_t position           # the next record goes here (multiple of 8); always leaves room for a seal
    uint64_t allocated          # space on disk up to here; never less than populated, nor than position and a seal
    uint64_t populated          # the map is writable without page faults up to here
    uint64_t alarm              # a record that ends beyond this needs pages, or someone to be woken; <= populated
    sem_t *bell                 # wakes who populates ahead; NULL: nobody does
    uint64_t released           # pages before this were given back (MADV_DONTNEED)
    bint wholesale              # records are large just now
    uint64_t filled             # zeros were written for them up to here
    uint64_t large_end          # where the last one ended
    uint64_t last_seqno         # of the last record; 0: none
    uint64_t placed             # where the last record is
    bint sealed
    int syncers                 # threads that use the descriptor without the writer's lock; atomic
    # private
    uint64_t last_time_ns       # of the last record: the seal repeats them
    uint64_t last_persisted
    uint8_t *buffer             # a record that is written by a system call: header, and what lies before its body
    size_t buffer_bytes
    XXH3_state_t *hash          # of such a record

# Space up to `end` at least: 0 or -errno. From any thread while the file is open.
cdef int pages_allocate(Journal *j, uint64_t end) noexcept nogil
# The writer is about to write up to `end`, beyond the alarm: populate where that is needed, ring the bell. 0 or -errno.
cdef int pages_reach(Journal *j, uint64_t end) noexcept nogil
# The writer is about to write a large record up to `end`, by a system call: 0 or -errno. fill: make pages for more than
# this one.
cdef int pages_expect(Journal *j, uint64_t end, bint fill) noexcept nogil
# Populate the next window ahead of the writer, of at most `limit` bytes (rounded up to 64 KiB), give pages back
# behind it; bytes populated, 0: enough are. From any thread, without the commit lock, while the journal is mapped.
cdef int64_t pages_prefault(Journal *j, uint64_t limit) noexcept nogil
