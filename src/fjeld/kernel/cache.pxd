# The block cache: one for a keyspace, with a budget in bytes; SIEVE (Zhang et al., NSDI 2024): first in, first out with one
# "visited" bit, so that a hit is one store and a scan does not wash out what is used.
from libc.stdint cimport uint32_t, uint64_t
from fjeld.kernel.block cimport Block

cdef struct Cache:
    int lock
    uint64_t budget_bytes
    uint64_t used_bytes
    uint64_t blocks
    uint64_t hits           # statistics: relaxed atomics
    uint64_t misses
    uint64_t evictions
    Block *newest
    Block *oldest
    Block *hand

cdef Block *cache_lookup(Block **slot, int *slot_lock) noexcept nogil        # a reference more, visited set; or NULL
cdef Block *cache_insert(Cache *c, Block *b, Block **slot, int *slot_lock) noexcept nogil
# ^ gives the cache a reference of its own; where another thread was first, releases b and returns the other (referenced). Evicts down to the budget.
cdef void cache_forget(Cache *c, Block **slots, uint32_t n, int *slot_lock) noexcept nogil    # a table goes: take its blocks out

cdef class BlockCache:
    cdef Cache *cache

# A block of some table was read from its file, not found in memory / was found there. For the statistics only: under
# contention a count may be lost, so that a hit costs no locked instruction.
cdef void cache_count_hit(Cache *c) noexcept nogil
cdef void cache_count_miss(Cache *c) noexcept nogil
