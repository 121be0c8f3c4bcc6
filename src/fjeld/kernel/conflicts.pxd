# Has anything of a partition changed since a seqno?
from libc.stdint cimport uint64_t
from fjeld.kernel.view cimport View

# A key that has a version newer than `since`: one of the points, or within one of the spans (low, high); None where there is none.
cdef object find_change(View view, set points, list spans, uint64_t since)
