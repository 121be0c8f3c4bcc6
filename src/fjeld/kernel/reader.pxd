# The reading methods that partitions, snapshots and transactions share.
from fjeld.kernel.core cimport Access

cdef class Reader(Access):
    cdef object lookup(self, object key, object default)
