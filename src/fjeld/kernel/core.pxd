# What the kernel keeps of one partition.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.commit cimport Commit
from fjeld.kernel.memtable cimport Memtable, MemtableOwner
from fjeld.kernel.merge cimport Merge
from fjeld.kernel.read_counters cimport ReadCounters
from fjeld.kernel.view cimport View

cdef class TreeCore:
    cdef readonly Commit commit
    cdef readonly uint32_t id
    cdef readonly str name
    cdef int view_lock          # spin lock: reading or replacing `view`
    cdef View view
    cdef Memtable *active       # = view.memtables[0]; guarded by the commit lock
    cdef MemtableOwner owner    # of it
    cdef readonly uint64_t memtable_bytes   # the active one is sealed when it holds more: memory
    cdef readonly uint64_t lent_bytes       # ... or has more in journals
    cdef int refused            # closed, dropped or forked: every call raises
    cdef readonly uint64_t written_bytes    # keys and values that users wrote; guarded by the commit lock
    cdef readonly ReadCounters reads

    cdef View take_view(self)
    cdef int check(self) except -1
    cdef bint is_full(self) noexcept nogil
    cdef bint can_lend(self) noexcept

cdef bytes coerce(object given, str what)
cdef int check_key(object key) except -1
cdef int check_value(object value) except -1

cdef class Access:
    cdef readonly TreeCore core
    cdef uint64_t fixed_tag         # of a snapshot; 0: reads see the newest
    cdef int released               # a closed snapshot: every call raises
    cdef View kept                  # of a snapshot whose partition was cleared since: read this

    cdef View take_view(self)
    cdef uint64_t read_tag(self) noexcept
    cdef object join_merge(self, Merge *m)      # what the merge reads besides the view; keep the result as long as the merge
    cdef int check(self) except -1
