# Iterators and cursors that tell a read set how far they have read.
from fjeld.kernel.cursor cimport Cursor
from fjeld.kernel.read_set cimport ReadRange, ReadSet
from fjeld.kernel.scan cimport Scan

cdef class TrackedScan(Scan):
    cdef ReadRange read

    cdef int tell(self, ReadSet reads) except -1

cdef class TrackedCursor(Cursor):
    cdef ReadSet reads
    cdef ReadRange read         # of the movements since the last seek; None: it has not moved yet

    cdef int tell(self, ReadSet reads) except -1
    cdef int leave(self) except -1
    cdef object came_up(self, bytes sought, object found)
    cdef object came_down(self, bytes sought, bint included, object found)
