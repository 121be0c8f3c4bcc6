# Status codes of nogil functions, and the one funnel from a status to an exception.
from libc.stdint cimport uint64_t

cdef enum:
    ST_OK = 0
    ST_END = 1          # a cursor ran off either end; nothing there
    ST_COLD = 2         # the block is not in memory: let go of the GIL and call the function that loads
    ST_CORRUPT = -1     # Failure.offset and Failure.what say where and what
    ST_IO = -2          # Failure.errnum
    ST_NOMEM = -3

cdef struct Failure:
    int status
    int errnum          # of ST_IO
    uint64_t offset     # in the file
    const char *what    # static text: what was wrong
    const char *path    # of the file; borrowed, valid while its owner lives; may be NULL

cdef void failure_clear(Failure *f) noexcept nogil
cdef int fail_corrupt(Failure *f, const char *path, uint64_t offset, const char *what) noexcept nogil   # returns ST_CORRUPT
cdef int fail_io(Failure *f, const char *path, int errnum) noexcept nogil      # returns ST_IO
cdef int fail_nomem(Failure *f) noexcept nogil                                 # returns ST_NOMEM
cdef object raise_failure(Failure *f)     # raises CorruptionError(path, offset, ...), OSError(errnum, ..., path) or MemoryError
