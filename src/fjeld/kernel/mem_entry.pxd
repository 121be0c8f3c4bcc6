# An entry of a memtable.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fjeld.kernel.arena cimport Arena

cdef enum:
    FAR_BYTES = 1024        # a value of this size or more lies apart from its entry

cdef struct MemEntry:
    uint64_t tag            # seqno << 8 | kind
    uint32_t value_bytes
    uint16_t key_bytes
    uint8_t data[2]         # the key, then the value or its address; runs on behind the struct

# Made in the arena; NULL where there is no memory. lent: a far value stays where it is for as long as the arena does.
cdef MemEntry *entry_new(Arena *a, const uint8_t *key, size_t key_bytes, uint64_t tag,
                         const uint8_t *value, size_t value_bytes, bint lent) noexcept nogil

cdef inline const uint8_t *entry_value(MemEntry *e) noexcept nogil:
    cdef const uint8_t *value = &e.data[0] + e.key_bytes
    if e.value_bytes >= FAR_BYTES:
        memcpy(&value, value, sizeof(value))
    return value
