# Whole-partition passes without the GIL: counting and digesting entries.
from libc.stdint cimport uint8_t, uint64_t
from fjeld.kernel.checksum cimport Xxh128
