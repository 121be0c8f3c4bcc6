"""The turn: in a transactional keyspace whoever writes has it, one at a time.

A write transaction of a single writer has it from its beginning to its end, an optimistic one while it
commits, a single operation while it runs. Taking and marking is one step for Python: no KeyboardInterrupt
comes in between. Who waits can be interrupted.

Invariants: `thread` and `holder` are set by who has the lock; a transaction is not kept alive by having the
turn, so that one that nobody holds any more ends and gives it back.

Thread safety: all of it, from any thread.
"""

import threading

import cython
from cython.cimports.cpython.pythread import PyThread_get_thread_ident
from cython.cimports.fjeld.kernel.coding import fj_spin_lock, fj_spin_unlock
from cython.cimports.fjeld.kernel.short_lock import take_short

from fjeld.errors import MisuseError


@cython.final
@cython.cclass
class Turn:
    """See the module. `with turn:` is for a single operation."""

    def __cinit__(self):
        self.lock = threading.Lock()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def take(self, holder: cython.size_t) -> cython.int:
        """Wait for the turn. MisuseError where this thread has it: it would wait for ever."""
        me: cython.ulong = cython.cast(cython.ulong, PyThread_get_thread_ident())
        if self.thread == me:
            self.refuse()
        take_short(self.lock)
        self.holder = holder
        self.thread = me
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def refuse(self) -> cython.int:
        if self.holder:
            raise MisuseError(
                "this thread has a write transaction open: write through it, or commit or roll it back first"
            )
        raise MisuseError("a function that decides over a value must not write to the keyspace itself")

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def try_take(self, holder: cython.size_t) -> cython.bint:
        """As `take`, without waiting: whether it was free. Also where this thread has it."""
        if not self.lock.acquire(False):
            return False
        self.holder = holder
        self.thread = cython.cast(cython.ulong, PyThread_get_thread_ident())
        return True

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def give(self, holder: cython.size_t) -> cython.int:
        """Give the turn back; nothing where this holder has it no more."""
        had: cython.bint
        fj_spin_lock(cython.address(self.guard))
        had = self.thread != 0 and self.holder == holder
        if had:
            self.thread = 0
            self.holder = 0
        fj_spin_unlock(cython.address(self.guard))
        if had:
            self.lock.release()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def follow(self, holder: cython.size_t, thread: cython.ulong) -> cython.int:
        """The transaction that has the turn goes on in this thread. Nothing where it has it no more."""
        fj_spin_lock(cython.address(self.guard))
        if self.thread != 0 and self.holder == holder:
            self.thread = thread
        fj_spin_unlock(cython.address(self.guard))
        return 0

    def __enter__(self):
        self.take(0)

    def __exit__(self, kind, error, trace):
        self.give(0)

    def check(self):
        """MisuseError where this thread has the turn: to take it would be to wait for ever."""
        if self.thread == cython.cast(cython.ulong, PyThread_get_thread_ident()):
            self.refuse()

    def take_from_transaction(self):
        """The keyspace was closed: an open transaction loses its turn, so that those who wait learn of it."""
        if self.holder:
            self.give(self.holder)
