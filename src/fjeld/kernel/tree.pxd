# One partition's kernel: reading and writing.
from fjeld.kernel.reader cimport Reader
from fjeld.kernel.turn cimport Turn

cdef class Tree(Reader):
    cdef readonly Turn turn      # of a transactional keyspace: each write takes it; else None

    cdef int put(self, int kind, object key, object value, bint wait) except -1
