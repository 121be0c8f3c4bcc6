# The file behind a Table: opening, reading, closing.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.table cimport Table

cdef enum:
    ST_NEWER = -4       # beside the codes of failure.pxd: the file is whole, but of a newer format (t.footer.format)

# Fill a zeroed Table whose path, cache, descriptors and descriptor are set. The properties (malloc'ed, the caller's) are left to decode;
# properties = NULL: they are checked only. ST_OK, ST_NEWER or a failure in f. Blocks: call without the GIL.
cdef int table_open(Table *t, uint8_t **properties, uint32_t *properties_bytes, Failure *f) noexcept nogil
# The smallest key, and where it is not NULL the largest one: copied. ST_OK or ST_NOMEM.
cdef int table_set_edges(Table *t, const uint8_t *smallest, size_t smallest_bytes, const uint8_t *largest, size_t largest_bytes) noexcept nogil
# Open and with known edges: derive the heads. ST_OK, or ST_CORRUPT in f where the index does not lie between the edges.
cdef int table_set_heads(Table *t, Failure *f) noexcept nogil
# Back to what it was before table_open, so that it can be opened again.
cdef void table_unopen(Table *t) noexcept nogil
# Read n bytes at `offset` into buf. ST_OK or a failure in f: a file that is shorter than that is corrupt. Blocks.
cdef int table_read(Table *t, void *buf, size_t n, uint64_t offset, Failure *f) noexcept nogil
# The same from the system's page cache only: whether all of it was there. Does not block.
cdef bint table_read_now(Table *t, void *buf, size_t n, uint64_t offset) noexcept nogil
cdef void table_close(Table *t) noexcept nogil      # frees what the Table points to
# Opened where it is first read: TableReader(path, ..., smallest=, largest=) reads nothing. Blocks: call without the GIL. ST_OK or a failure in f.
cdef int table_ensure(Table *t, Failure *f) noexcept nogil
