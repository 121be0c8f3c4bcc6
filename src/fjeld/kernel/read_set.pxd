# What an optimistic transaction has read of one partition.
from libc.stdint cimport uint64_t
from fjeld.kernel.core cimport TreeCore
from fjeld.kernel.view cimport View

cdef class ReadRange:
    cdef bytes low              # None: from the first key on
    cdef bytes high             # None: to the last key
    cdef bint high_included
    cdef bint touched           # false: nothing was read yet
    cdef bint open              # its iterator or cursor may still go on

    cdef int begin(self, bytes low, bytes high, bint high_included) except -1
    cdef int reach_up(self, bytes high, bint included) except -1
    cdef int reach_down(self, bytes low) except -1
    cdef bytes end(self)

cdef class ReadSet:
    cdef readonly TreeCore core
    cdef set points
    cdef list ranges
    cdef uint64_t weight        # about the bytes that points and ranges take
    cdef uint64_t max_weight
    cdef View kept              # what was there went since the transaction began: its readers read this

    cdef int add_point(self, bytes key) except -1
    cdef ReadRange add_range(self)
    cdef int make_room(self) except -1
    cdef list spans(self)
    cdef bint may_need_disk(self, uint64_t since)
    cdef int check(self, uint64_t since) except -1
