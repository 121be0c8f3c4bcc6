# The k-way merge of memtables and runs, with version visibility, forward and in reverse.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.block cimport Block
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.memtable cimport MemCursor, Memtable
from fjeld.kernel.run cimport RunCursor
from fjeld.kernel.table cimport Table

cdef enum SourceKind:
    SOURCE_MEMTABLE = 0
    SOURCE_RUN = 1

# Above the tag of every entry that was ever committed: see own_writes.py.
cdef extern from *:
    """
    #define FJ_OWN_TAG ((uint64_t)1 << 62)
    """
    const uint64_t FJ_OWN_TAG

cdef struct Source:
    int kind
    MemCursor mem
    RunCursor run
    # the current entry, whatever the kind
    uint64_t head
    const uint8_t *key
    uint32_t key_bytes
    uint64_t tag
    const uint8_t *value
    uint32_t value_bytes

cdef struct Merge:
    Source *sources
    uint32_t source_count
    Source **order              # the sources that stand on an entry: order[0] comes next
    uint32_t active
    bint reverse
    uint64_t max_tag            # newer versions are invisible
    uint64_t own_tag            # but a transaction's own writes, from FJ_OWN_TAG on, are visible up to this one
    Source *spent               # its entry was used: it must move before the next is chosen
    int positioning             # sources still to be positioned (index + 1), 0: none
    int start                   # how they are positioned
    const uint8_t *seek_key     # borrowed by merge_seek*, until it returns other than ST_COLD
    size_t seek_key_bytes
    Source *cold                # waits for run_load
    int loaded                  # what run_load gave; LOADED_NOTHING: nothing
    # the entry that merge_next found
    const uint8_t *key
    uint32_t key_bytes
    uint64_t tag
    const uint8_t *value
    uint32_t value_bytes
    bint have_last              # last: the user key that was dealt with last
    uint8_t *last
    size_t last_bytes
    size_t last_capacity
    bint have_candidate         # reverse: the newest visible version of `last` so far
    Block *held                 # reverse: keeps the candidate's value alive

# Is a version too new: committed since, or written by the transaction itself since the merge was made?
cdef inline bint is_hidden(Merge *m, uint64_t tag) noexcept nogil:
    return tag > m.max_tag and (tag < FJ_OWN_TAG or tag > m.own_tag)

# Room for `sources` sources, and one more for a transaction's own writes; ST_OK or ST_NOMEM. Zeroed memory is a closed merge.
cdef int merge_init(Merge *m, uint32_t sources, uint64_t max_tag) noexcept nogil
cdef void merge_add_memtable(Merge *m, Memtable *memtable) noexcept nogil
cdef void merge_add_run(Merge *m, Table **tables, uint32_t count, int mode) noexcept nogil
cdef void merge_close(Merge *m) noexcept nogil

# Positioning sets the direction. ST_OK (then call merge_next), ST_COLD (merge_load, then the same merge_resume), or a failure.
cdef int merge_first(Merge *m, Failure *f) noexcept nogil
cdef int merge_last(Merge *m, Failure *f) noexcept nogil
cdef int merge_seek(Merge *m, const uint8_t *key, size_t key_bytes, Failure *f) noexcept nogil             # forward from the first key >= key
cdef int merge_seek_before(Merge *m, const uint8_t *key, size_t key_bytes, Failure *f) noexcept nogil      # in reverse from the last key < key
cdef int merge_resume(Merge *m, Failure *f) noexcept nogil     # go on positioning after ST_COLD + merge_load
# The next visible live entry: ST_OK (m.key, m.value valid until the next call), ST_END, ST_COLD (merge_load, then call again), or a failure.
cdef int merge_next(Merge *m, Failure *f) noexcept nogil
cdef int merge_load(Merge *m, Failure *f) noexcept nogil       # blocks: call without the GIL. ST_OK or a failure
# For compaction: every version in order, nothing hidden (forward, RUN_STREAM): the current one is m.order[0] while m.active.
cdef int merge_step(Merge *m, Failure *f) noexcept nogil       # ST_OK or a failure; the end: m.active == 0
