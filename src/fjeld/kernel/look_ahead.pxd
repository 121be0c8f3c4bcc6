# Many look-ups at once: the memory that each will touch is asked for before it is needed.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.block cimport Block
from fjeld.kernel.table cimport Table
from fjeld.kernel.view cimport View

cdef enum:
    PROBES = 32     # look-ups under way together: enough to hide memory's latency, few enough for the first-level cache

cdef struct Probe:
    const uint8_t *key
    size_t key_bytes
    uint64_t hashed         # of the key
    bint wanted             # it was not in a memtable: the tables are asked
    Table *table            # the newest table that may hold it, or NULL
    uint32_t block_index
    Block *block            # a reference, or NULL where it is not in memory

# For each wanted probe: find table and block, and have the processor fetch what the look-up in them will read.
cdef void look_ahead(View view, Probe *probes, uint32_t count) noexcept
