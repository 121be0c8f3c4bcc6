# The reading methods that partitions, snapshots and transactions share.
from libc.stdint cimport uint64_t
from fjeld.kernel.core cimport Access
from fjeld.kernel.view cimport View

cdef class Reader(Access):
    cdef object find_group(self, View view, list keys, uint64_t tag, list values)
    cdef object lookup(self, object key, object default)
