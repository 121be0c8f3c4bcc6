# What an ingestion asks of commits and memtables.

cdef enum:
    NO_PARTITION = 0        # ids begin at 1: recovery passes over an entry of this one
