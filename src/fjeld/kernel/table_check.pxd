# Reading a whole table and asserting its invariants.
from libc.stdint cimport uint8_t, uint64_t
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.run cimport RunCursor
from fjeld.kernel.table cimport Table, TableReader

# What is counted on the way through.
cdef struct Census:
    uint64_t entries
    uint64_t keys
    uint64_t tombstones
    uint64_t weak_tombstones
    uint64_t min_seqno
    uint64_t max_seqno
    uint64_t raw_bytes
    uint8_t *previous           # the key before this one
    size_t previous_bytes
    size_t previous_capacity_bytes
    uint64_t previous_tag
