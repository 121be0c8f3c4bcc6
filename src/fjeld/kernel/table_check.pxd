# Reading a whole table once: its checksum, and everything that a reader relies on.
from fjeld.kernel.block_check cimport Survey

cdef enum:
    # As much as is hashed and then parsed while the second-level cache still has it; blocks may be larger.
    CHUNK_BYTES = 256 << 10
