# What point look-ups met in the tables of one partition, level by level, since the keyspace was opened.
from libc.stdint cimport uint64_t

cdef enum:
    COUNTED_LEVELS = 7      # = options.LEVELS

# Written by view.py with plain stores: under contention a count may be lost, so that a hit costs no locked instruction.
# Each look-up in a table (its range of keys covers the key) is counted once, as one of the first four.
cdef struct LevelReads:
    uint64_t found                  # the table had the answer, a tombstone perhaps
    uint64_t filter_negatives       # the filter said no: nothing was read
    uint64_t filter_false_positives # the filter said yes, and the table had no version that the reader may see
    uint64_t unfiltered             # the same, in a table without a filter
    uint64_t block_loads            # look-ups that had to read from the file

cdef class ReadCounters:
    cdef LevelReads levels[COUNTED_LEVELS]
