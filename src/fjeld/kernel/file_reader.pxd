# A file read from its beginning to its end.
from libc.stdint cimport uint64_t

cdef class ReadFile:
    cdef int fd
    cdef readonly str path
    cdef readonly uint64_t position
