# Memory that is taken in pieces and given back all at once.
from libc.stdint cimport uint64_t

cdef enum:
    FIRST_CHUNK_BYTES = 4096        # a partition that is hardly written to costs a page
    MOST_CHUNK_BYTES = 262144       # larger ones save nothing more

cdef struct Chunk:
    Chunk *next
    size_t used_bytes
    size_t capacity_bytes

cdef struct Arena:
    Chunk *chunks           # the newest first
    uint64_t bytes          # all the memory held

# `size` bytes at a multiple of 8, never moved; NULL where there is no memory.
cdef void *arena_take(Arena *a, size_t size) noexcept nogil
cdef void arena_free(Arena *a) noexcept nogil
