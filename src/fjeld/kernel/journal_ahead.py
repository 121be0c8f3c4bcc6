"""Populates the pages of the active journal ahead of its writer, in a thread that never needs the GIL.

The writer rings a bell, a semaphore, when less than a mebibyte ahead of it is populated, and goes on. What
wakes up populates another. Without it the writer stops every 1,600 records of 160 bytes for the 30 us to
65 us that populating a window takes, and longer while a checkpoint syncs its folders, because a page that
becomes writable takes part in the file system's own transactions.

Thread safety: `run` belongs to one thread of its own; `watch` requires the commit lock; `stop` is for any
thread. `watch` waits for at most one step of the other thread, about 15 us.
"""

import cython
from cython.cimports.fjeld.kernel.coding import fj_atomic_load, fj_atomic_store, fj_atomic_store64
from cython.cimports.fjeld.kernel.journal import JournalWriter
from cython.cimports.fjeld.kernel.journal_pages import pages_prefault
from cython.cimports.fjeld.kernel.mutex import (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
    sem_destroy,
    sem_init,
    sem_post,
    sem_wait,
)
from cython.cimports.libc.stdint import int64_t, uint64_t

__all__ = ["JournalAhead"]

# Populated without letting go of the mutex.
_STEP_BYTES = cython.declare(uint64_t, 64 << 10)


@cython.final
@cython.cclass
class JournalAhead:
    """See the module. Owns the bell, and holds the journal that is watched."""

    def __cinit__(self):
        pthread_mutex_init(cython.address(self.mutex), cython.NULL)
        sem_init(cython.address(self.bell), 0, 0)

    def __dealloc__(self):
        sem_destroy(cython.address(self.bell))
        pthread_mutex_destroy(cython.address(self.mutex))

    def run(self):
        """Populate whenever the bell rings; returns after `stop`."""
        with cython.nogil:
            while True:
                sem_wait(cython.address(self.bell))  # woken by a signal: then there is simply nothing to do
                if fj_atomic_load(cython.address(self.stopped)):
                    break
                while self._step() > 0:
                    pass

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _step(self) -> int64_t:
        populated: int64_t = 0
        pthread_mutex_lock(cython.address(self.mutex))
        if self.journal != cython.NULL:
            populated = pages_prefault(self.journal, _STEP_BYTES)
        pthread_mutex_unlock(cython.address(self.mutex))
        return populated

    def watch(self, writer: JournalWriter | None):
        """From here on this journal, or none: the other is not touched any more. Requires: commit lock."""
        # With the GIL: whoever holds the mutex does not need it, and to let go of it under the commit lock would
        # make writers wait for as long as another thread likes to run.
        pthread_mutex_lock(cython.address(self.mutex))
        if self.journal != cython.NULL:
            self.journal.bell = cython.NULL
        self.journal = writer.journal if writer is not None else cython.NULL
        if self.journal != cython.NULL:
            self.journal.bell = cython.address(self.bell)
            fj_atomic_store64(cython.address(self.journal.alarm), 0)  # the first write rings
        pthread_mutex_unlock(cython.address(self.mutex))
        self.writer = writer

    def stop(self):
        """`run` returns soon."""
        fj_atomic_store(cython.address(self.stopped), 1)
        sem_post(cython.address(self.bell))
