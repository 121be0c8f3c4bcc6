"""The mapping of a journal, owned by references.

Its writer holds it while the journal is written to, and every memtable that points to values in it: what a
memtable points to is there as long as the memtable, whatever has become of the file meanwhile (sealed, cut to
its end, deleted).
"""

import cython
from cython.cimports.fjeld.kernel.files import file_unmap
from cython.cimports.libc.stdint import uint8_t, uint64_t

__all__ = ["JournalMap"]


@cython.final
@cython.cclass
class JournalMap:
    """See the module. Made by `own_map` only."""

    def __dealloc__(self):
        if self.start != cython.NULL:
            with cython.nogil:  # thousands of pages
                file_unmap(self.start, self.size_bytes)


@cython.cfunc
def own_map(start: cython.pointer[uint8_t], size_bytes: uint64_t) -> JournalMap:
    mapping: JournalMap = JournalMap()
    mapping.start = start
    mapping.size_bytes = size_bytes
    return mapping
