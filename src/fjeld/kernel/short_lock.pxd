# A lock that is held for microseconds, with the GIL.

cdef class ShortLock:
    cdef object lock

cdef object take_short(object lock)
