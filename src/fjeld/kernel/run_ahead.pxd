# What the cursor over a run reads before it gets there.
from libc.stdint cimport uint32_t
from fjeld.kernel.block cimport Block
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.run cimport RunCursor

cdef void ahead_init(RunCursor *c) noexcept nogil      # Requires: zeroed
cdef void ahead_free(RunCursor *c) noexcept nogil
# RUN_STREAM: a block of the cursor's own, or NULL and f. `forward`: what lies behind it will be wanted too.
cdef Block *read_block(RunCursor *c, uint32_t table_index, uint32_t block_index, bint forward, Failure *f) noexcept nogil
# RUN_CACHED: c.block has just been loaded for a walk: load the next ones in its direction too.
cdef void warm_up(RunCursor *c, bint forward) noexcept nogil
# A block that was loaded beforehand, with the cursor's reference to it; or NULL.
cdef Block *take_warm(RunCursor *c, uint32_t table_index, uint32_t block_index) noexcept nogil
