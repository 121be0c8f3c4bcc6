# One partition's kernel: reading and writing.
from fjeld.kernel.reader cimport Reader

cdef class Tree(Reader):
    cdef int put(self, int kind, object key, object value, bint wait) except -1
