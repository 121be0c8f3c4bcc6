# One writer at a time in a transactional keyspace.

cdef class Turn:
    cdef object lock            # threading.Lock: it can be interrupted, and given back by any thread
    cdef unsigned long thread   # who has the turn; 0: nobody
    cdef size_t holder          # the address of the open transaction that has it; 0: a single operation
    cdef int guard              # spin lock: giving back

    cdef int refuse(self) except -1
    cdef int take(self, size_t holder) except -1
    cdef bint try_take(self, size_t holder) except -1
    cdef int give(self, size_t holder) except -1
    cdef int follow(self, size_t holder, unsigned long thread) except -1
