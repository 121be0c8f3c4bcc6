# One partition in a transaction: reads merged with the transaction's own writes, and writes.
from fjeld.kernel.journal_reader cimport JournalEntry
from fjeld.kernel.own_writes cimport OwnWrites
from fjeld.kernel.read_set cimport ReadSet
from fjeld.kernel.reader cimport Reader

cdef class TxTree(Reader):
    cdef readonly OwnWrites transaction
    cdef ReadSet reads          # of an optimistic transaction; else None

    cdef int own_entry(self, bytes key, JournalEntry *out) except -1    # 1: *out is the newest own version; 0: there is none
    cdef int put(self, int kind, object key, object value) except -1
