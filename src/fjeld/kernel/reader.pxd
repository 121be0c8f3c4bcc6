# The reading methods that partitions, snapshots and transactions share.
from libc.stdint cimport uint64_t
from fjeld.kernel.core cimport Access
from fjeld.kernel.cursor cimport Cursor
from fjeld.kernel.scan cimport Scan
from fjeld.kernel.view cimport Found, View

cdef class Reader(Access):
    cdef object lookup_many(self, object keys, bint wait)
    cdef int find_group(self, View view, list keys, uint64_t tag, list values, bint wait) except -1
    cdef object lookup(self, object key, object default, bint wait)
    cdef object measure(self, object key, bint wait)
    cdef object follow(self, View view, bytes key, Found *found, bint wait)
    cdef Scan open_scan(self, bytes start, bytes stop, object reverse, int mode)
    cdef Cursor open_cursor(self, bytes start, bytes stop)

cdef bytes key_bytes(object key)
cdef bytes bound(object key, bint follow)
