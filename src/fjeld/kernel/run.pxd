# The cursor over a run: tables in order, with disjoint ranges of keys.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.block cimport Block
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.table cimport Table

cdef enum:
    # A cold walk through the cache loads 1, 2, 4, ... blocks a call, so that a long one lets go of the GIL seldom.
    MOST_WARM_BLOCKS = 16

cdef struct RunCursor:
    Table **tables              # borrowed
    uint32_t table_count
    uint32_t table_index
    uint32_t block_index
    uint32_t entry_index
    Block *block                # a reference
    int mode                    # RunMode
    # the current entry: valid while `valid`, until the next movement
    bint valid
    const uint8_t *key          # in full, contiguous
    uint32_t key_bytes
    uint64_t head               # fj_head64 of key
    uint64_t tag
    const uint8_t *value
    uint32_t value_bytes
    # private
    uint8_t *key_buffer
    size_t key_buffer_bytes
    int pending                 # Movement: that met a cold block
    uint8_t *ahead              # read-ahead buffer
    uint64_t ahead_offset
    size_t ahead_bytes
    size_t ahead_capacity_bytes
    size_t ahead_next_bytes     # how much to read the next time: grows while it goes on forward
    const uint8_t *target       # of the seek that is under way: the caller's, or a copy after ST_COLD
    size_t target_bytes
    uint64_t target_tag
    uint8_t *target_copy
    size_t target_capacity_bytes
    uint32_t warm_next          # RUN_CACHED: how many blocks to load at the next miss of a walk
    uint32_t warm_count         # loaded beforehand: references to the blocks from warm_start on, NULL where taken
    uint32_t warm_start
    uint32_t warm_table
    Block *warm[MOST_WARM_BLOCKS]
    Block *prefix_of            # whose prefix is at the front of key_buffer

cdef int run_init(RunCursor *c, Table **tables, uint32_t table_count, int mode) noexcept nogil
cdef void run_close(RunCursor *c) noexcept nogil
# Movements: ST_OK (on an entry), ST_END (valid = False), ST_COLD (call run_load without the GIL: it reads the block and finishes the movement
# with the same results), or a failure in f.
cdef int run_first(RunCursor *c, Failure *f) noexcept nogil
cdef int run_last(RunCursor *c, Failure *f) noexcept nogil
cdef int run_seek(RunCursor *c, const uint8_t *key, size_t key_bytes, uint64_t tag, Failure *f) noexcept nogil            # first entry >= (key, tag desc); the key is copied where ST_COLD needs it later
cdef int run_seek_before(RunCursor *c, const uint8_t *key, size_t key_bytes, uint64_t tag, Failure *f) noexcept nogil     # last entry < (key, tag desc)
cdef int run_next(RunCursor *c, Failure *f) noexcept nogil
cdef int run_prev(RunCursor *c, Failure *f) noexcept nogil
cdef int run_load(RunCursor *c, Failure *f) noexcept nogil

# What a movement does when it comes into a block; kept in `pending` while the block is cold.
cdef enum Movement:
    TO_FIRST            # stand on the first entry
    TO_LAST             # stand on the last entry
    TO_TARGET           # the first entry >= target; if there is none in this block, try the next
    BEFORE_TARGET       # the entry before that one
