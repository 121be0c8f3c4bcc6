# The Python face of the cursor over a run.
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.run cimport RunCursor
from fjeld.kernel.table cimport Table

cdef class RunScan:
    cdef RunCursor cursor
    cdef Table **tables
    cdef list readers           # keeps the tables alive
    cdef bint reverse
    cdef bint started
    cdef object arrive(self, int status, Failure *f)
