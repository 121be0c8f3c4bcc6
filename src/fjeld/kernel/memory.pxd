# Buffers that grow.
from libc.stdint cimport uint8_t

# Make room for wanted_bytes, keeping what is there; at least doubles, so that appending costs a constant time a byte.
# The buffer is never NULL afterwards, not even for 0 bytes. False where there is no memory: nothing has changed then.
cdef bint reserve(uint8_t **buffer, size_t *capacity_bytes, size_t wanted_bytes) noexcept nogil
