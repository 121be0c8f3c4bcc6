# The iterator over a range, and what moves a merge over cold blocks.
from libc.stdint cimport uint32_t, uint64_t
from fjeld.kernel.blob_value cimport Wanted
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

cdef enum:
    AHEAD_ENTRIES = 16          # of one chunk of values in blob files, at most
    AHEAD_BYTES = 1 << 20       # of their values, about

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
    cdef bint stands            # on an entry whose value was not waited for
    cdef uint32_t ahead         # entries of the last chunk
    cdef list ready             # entries that were read ahead, the next one last
    cdef object error           # what comes behind them
    cdef bint busy              # a thread is in here without the GIL

    cdef int begin(self, bint wait) except -1
    cdef int step(self, bint wait) except -1
    cdef int enter(self) except -1
    cdef object entry(self)
    cdef object end_ahead(self)
    cdef bint points(self) noexcept
    cdef int fill(self, bint wait) except -1
    cdef bint go_on(self) except -1
    cdef int take_ready(self, list chunk, Wanted *wanted, uint32_t *places, uint32_t count, bint wait) except -1
    cdef void finish(self)
    cdef bint beyond(self) noexcept
    cdef bytes key(self)
    cdef bytes value(self)
