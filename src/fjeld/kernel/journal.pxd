# The write-ahead journal: a mapped file, allocated ahead, that one writer appends records to. FORMATS.md has the bytes.
from fjeld.kernel.journal_map cimport JournalMap
from fjeld.kernel.journal_pages cimport Journal

cdef enum:
    JOURNAL_HEADER_BYTES = 32
    JOURNAL_FORMAT = 1

cdef class JournalWriter:
    """Owns a Journal: create (preallocates: OSError(ENOSPC) here, never SIGBUS later), sync, seal, finish."""
    cdef Journal *journal
    cdef JournalMap mapping     # journal.map; None: not mapped
    cdef readonly str path
    cdef readonly object number
    cdef object sync_lock       # guards the descriptor: held by sync, finish, close
    cdef object map_lock        # guards the mapping: held by prefault and by what unmaps
    cdef bint whole             # the file has its last form: only the summary may be missing
    cdef object summary         # what finish found, once it is done
    cdef void _unmap(self) noexcept
