"""A lock that is held for microseconds, with the GIL.

A plain lock is handed to whoever waits for it when it is given back. The waiter then owns it before it has the GIL,
and the next thread that comes stops at it and waits in turn: a convoy, in which every taking costs a change of
threads (two threads of optimistic transactions did half of what one did). It begins with one thread that loses the
GIL while it has the lock, and never ends.

So who finds the lock taken lets the others run for a moment and tries again; it queues only where that lasts.
"""

import threading

import cython
from cython.cimports.posix.time import nanosleep, timespec

# The holder goes on within some tens of microseconds; whatever holds the lock for longer is worth queueing for.
TRIES = cython.declare(cython.int, 100)
PAUSE_NANOSECONDS = cython.declare(cython.long, 20_000)


@cython.cfunc
def take_short(lock: object) -> object:
    """Take a threading.Lock so."""
    pause: timespec
    i: cython.int
    if lock.acquire(False):
        return None
    pause.tv_sec = 0
    pause.tv_nsec = PAUSE_NANOSECONDS
    for i in range(TRIES):
        with cython.nogil:
            nanosleep(cython.address(pause), cython.NULL)
        if lock.acquire(False):
            return None
    lock.acquire()
    return None


@cython.final
@cython.cclass
class ShortLock:
    """A context manager; from any thread, not reentrant. No interrupt comes between taking it and the block."""

    def __cinit__(self):
        self.lock = threading.Lock()

    def __enter__(self):
        take_short(self.lock)

    def __exit__(self, kind, error, trace):
        self.lock.release()

    def locked(self):
        """Does anybody have it?"""
        return self.lock.locked()
