# Who populates the pages of the active journal ahead of its writer.
from libc.stdint cimport int64_t
from fjeld.kernel.journal cimport JournalWriter
from fjeld.kernel.journal_pages cimport Journal
from fjeld.kernel.mutex cimport pthread_mutex_t, sem_t

cdef class JournalAhead:
    cdef pthread_mutex_t mutex      # guards `journal`; held while a step is populated
    cdef sem_t bell                 # rung by the writer and by stop
    cdef Journal *journal           # the active one, or NULL
    cdef JournalWriter writer       # owns it
    cdef int stopped                # atomic

    cdef int64_t _step(self) noexcept nogil
