# The iterator over a range, and what moves a merge over cold blocks.
from libc.stdint cimport uint64_t
from fjeld.kernel.core cimport TreeCore
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.merge cimport Merge
from fjeld.kernel.view cimport View

cdef enum ScanMode:
    SCAN_ITEMS = 0
    SCAN_KEYS = 1
    SCAN_VALUES = 2

cdef enum MergeStart:
    BEGIN_FIRST = 0
    BEGIN_LAST = 1
    BEGIN_SEEK = 2
    BEGIN_BEFORE = 3

# Position and step under the GIL, letting go of it for cold blocks. 1: on an entry; 0: the end. Raise on damage.
cdef int position(Merge *m, int start, bytes key) except -1
cdef int advance(Merge *m) except -1

cdef enum ScanPhase:
    NEW = 0
    RUNNING = 1
    DONE = 2
    POSITIONING = 3         # it was not waited for the block in which the range begins
    COLD = 4                # it was not waited for the block with the next entry

cdef class Scan:
    cdef TreeCore core
    cdef object owner           # the reader it came from: a closed snapshot ends its iterators
    cdef View view
    cdef Merge merge
    cdef object own             # what else the merge reads
    cdef bytes start
    cdef bytes stop
    cdef bint reverse
    cdef int mode
    cdef int phase
    cdef bint busy              # a thread is in here without the GIL

    cdef int begin(self, bint wait) except -1
    cdef int step(self, bint wait) except -1
    cdef int enter(self) except -1
    cdef object entry(self)
    cdef void finish(self)
    cdef bint beyond(self) noexcept
    cdef bytes key(self)
    cdef bytes value(self)
