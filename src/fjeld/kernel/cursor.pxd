# The movable cursor.
from fjeld.kernel.core cimport TreeCore
from fjeld.kernel.merge cimport Merge
from fjeld.kernel.view cimport View

cdef class Cursor:
    cdef TreeCore core
    cdef object owner
    cdef View view
    cdef Merge merge
    cdef object own             # what else the merge reads
    cdef bytes start
    cdef bytes stop
    cdef bint reverse           # the direction the merge stands in
    cdef bint on_entry
    cdef bint closed
    cdef bint busy
    cdef int before_first       # off the front end: next() goes to the first entry; 2: off the back end

    cdef int enter(self) except -1
    cdef bint settle(self) except -1
    cdef bint start_forward(self, bytes key) except -1
    cdef bint start_reverse(self, bytes key) except -1
    cdef bytes current_key(self)
