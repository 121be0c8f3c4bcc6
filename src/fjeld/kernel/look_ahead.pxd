# Many look-ups at once: the memory that each will touch is asked for before it is needed.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.block cimport Block
from fjeld.kernel.read_counters cimport LevelReads
from fjeld.kernel.table cimport Table
from fjeld.kernel.view cimport Found, View

cdef enum:
    PROBES = 32     # look-ups under way together: enough to hide memory's latency, few enough for the first-level cache

cdef struct Probe:
    const uint8_t *key
    size_t key_bytes
    uint64_t hashed         # of the key
    bint wanted             # it was not in a memtable: the tables are asked
    # look_ahead's own:
    uint32_t place          # of the table to ask next, as in View.find_in_tables; the ones before do not have the key
    bint asking             # that table's filter has not answered yet
    Table *table            # that table, where its filter lets the key through; or NULL
    LevelReads *reads       # where it is counted
    uint32_t block_index
    Block *block            # a reference, or NULL where it is not in memory

# For each wanted probe: find table and block, and have the processor fetch what the look-up in them will read.
cdef void look_ahead(View view, Probe *probes, uint32_t count) noexcept
# After it: 1 and *out (the block's reference is the probe's), or 0: ask the tables from `place` on.
cdef bint probe_found(Probe *p, uint64_t max_tag, Found *out) noexcept nogil
cdef void probe_release(Probe *p) noexcept nogil
