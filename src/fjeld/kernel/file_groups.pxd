# Several files in one call.
from libc.stdint cimport uint64_t

cdef extern from "system.h" nogil:
    void fj_start_writing(int fd, uint64_t offset, uint64_t n)

ctypedef const char *text_t

cdef struct NewFile:
    const char *path
    const char *data
    size_t size
    int fd
