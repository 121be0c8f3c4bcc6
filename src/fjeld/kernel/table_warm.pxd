# Point look-ups of blocks that the system has in its page cache.
from libc.stdint cimport uint8_t, uint64_t
from fjeld.kernel.block cimport Block, Entry
from fjeld.kernel.table cimport Table

# As table_get_cold, but it never waits for the disk: ST_COLD where it would have to, or where anything is wrong. May be
# called with the GIL.
cdef int table_get_warm(Table *t, const uint8_t *key, size_t key_bytes, uint64_t max_tag, Entry *out, Block **block) noexcept nogil
