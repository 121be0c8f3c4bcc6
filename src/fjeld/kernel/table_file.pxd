# The file behind a Table: opening, reading, closing.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.table cimport Table

cdef enum:
    ST_NEWER = -4       # beside the codes of failure.pxd: the file is whole, but of a newer format (t.footer.format)

# Fill a zeroed Table whose cache, descriptors and descriptor.fd = -1 are set. The properties (malloc'ed, the caller's) are left to decode.
# ST_OK, ST_NEWER or a failure in f. Blocks: call without the GIL. The Table needs table_close in any case.
cdef int table_open(Table *t, const char *path, uint8_t **properties, uint32_t *properties_bytes, Failure *f) noexcept nogil
# The smallest key is known: find the common prefix and derive the heads. ST_OK or ST_NOMEM.
cdef int table_set_edges(Table *t, const uint8_t *smallest, size_t smallest_bytes) noexcept nogil
# Read n bytes at `offset` into buf. ST_OK or a failure in f: a file that is shorter than that is corrupt. Blocks.
cdef int table_read(Table *t, void *buf, size_t n, uint64_t offset, Failure *f) noexcept nogil
cdef void table_close(Table *t) noexcept nogil      # frees what the Table points to
