"""The write side of a keyspace: the commit lock, the active journal and the counter of seqnos.

A write, in the kernel, under the commit lock: a record in the mapped journal (its checksum last), the entries
into their memtables, then the seqno is published to readers. Nothing in between runs Python code, so no
signal or exception can come between journal and memtable. Whatever is rare (a full journal or memtable, a
closed keyspace, pressure, durability) is the control plane's: it is called without the lock, and the write
tries again.

Thread safety: all methods may be called from any thread. A thread that has to wait for the lock lets go of
the GIL first.
"""

import cython
from cython.cimports.fjeld.kernel.coding import (
    fj_atomic_load,
    fj_atomic_load64,
    fj_atomic_store,
    fj_atomic_store64,
)
from cython.cimports.fjeld.kernel.journal import JournalWriter
from cython.cimports.fjeld.kernel.mutex import (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_trylock,
    pthread_mutex_unlock,
)
from cython.cimports.libc.stdint import uint64_t

# For the control plane, which cannot see the enum.
REFUSE = ATTEND_REFUSE
DURABLE = ATTEND_DURABLE
PRESSURE = ATTEND_PRESSURE


@cython.cclass
class Commit:
    """See the module. `control` is the control plane; `clock` gives ns since the epoch (None: the system's)."""

    def __cinit__(self, control: object, clock: object = None):
        pthread_mutex_init(cython.address(self.mutex), cython.NULL)
        self.control = control
        self.clock = clock

    def __dealloc__(self):
        pthread_mutex_destroy(cython.address(self.mutex))

    @cython.cfunc
    @cython.exceptval(check=False)
    def lock(self) -> cython.void:
        """Take the commit lock; where it is taken, wait for it without the GIL."""
        if pthread_mutex_trylock(cython.address(self.mutex)) != 0:
            with cython.nogil:
                pthread_mutex_lock(cython.address(self.mutex))

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def unlock(self) -> cython.void:
        pthread_mutex_unlock(cython.address(self.mutex))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def admit(self) -> cython.int:
        """Called before a write when there is something to attend to; raises where writing is refused."""
        bits: cython.int = fj_atomic_load(cython.address(self.attention))
        if bits & ATTEND_REFUSE:
            self.control.refuse()
        if bits & ATTEND_PRESSURE:
            self.control.relieve()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def now_ns(self) -> uint64_t:
        t: timespec
        if self.clock is not None:
            return self.clock()
        clock_gettime(CLOCK_REALTIME_COARSE, cython.address(t))
        return cython.cast(uint64_t, t.tv_sec) * 1_000_000_000 + cython.cast(uint64_t, t.tv_nsec)

    # ---- for the control plane ----

    def acquire(self):
        """Take the commit lock."""
        self.lock()

    def release(self):
        """Let go of the commit lock."""
        self.unlock()

    def __enter__(self):
        """As acquire. In Python code always `with commit:`, so that no KeyboardInterrupt comes between lock
        and unlock.
        """
        self.lock()

    def __exit__(self, kind, error, trace):
        self.unlock()

    def replace_journal(self, writer: JournalWriter | None):
        """Seal the active journal and write to `writer` from here on; the sealed one, or None. Requires:
        commit lock.
        """
        sealed: object = self.writer
        if sealed is not None:
            sealed.seal()
        self.writer = writer
        self.journal = writer.journal if writer is not None else cython.NULL
        return sealed

    @property
    def active_journal(self):
        """The journal that is written to."""
        return self.writer

    @property
    def last_seqno(self) -> int:
        """The newest seqno that readers may see."""
        return fj_atomic_load64(cython.address(self.visible))

    @property
    def persisted_seqno(self) -> int:
        """Every seqno up to this is known to be on disk."""
        return fj_atomic_load64(cython.address(self.persisted))

    def start_at(self, seqno: int):
        """Recovery: writing goes on after this seqno."""
        self.seqno = seqno
        self.visible = seqno

    def note_persisted(self, seqno: int):
        """Everything up to `seqno` is on disk. Requires: the lock of persisting."""
        if cython.cast(uint64_t, seqno) > self.persisted:
            fj_atomic_store64(cython.address(self.persisted), seqno)

    def attend(self, bits: int, on: bool):
        """Set or clear bits of Attention. Requires: the GIL or the control plane's lock."""
        value: cython.int = self.attention
        if on:
            value |= cython.cast(cython.int, bits)
        else:
            value &= ~cython.cast(cython.int, bits)
        fj_atomic_store(cython.address(self.attention), value)
