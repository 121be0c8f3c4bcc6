"""The write side of a keyspace: the commit lock, the active journal and the counter of seqnos.

A write, in the kernel, under the commit lock: a record in the mapped journal (its checksum last), the entries
into their memtables, then the seqno is published to readers. Nothing in between runs Python code, so no
signal or exception can come between journal and memtable. Whatever is rare (a full journal or memtable, a
closed keyspace, pressure, durability) is the control plane's: it is called without the lock, and the write
tries again.

Thread safety: all methods may be called from any thread. A thread that has to wait for the lock lets go of
the GIL first.
"""

import os

import cython
from cython.cimports.fjeld.kernel.coding import (
    fj_atomic_add,
    fj_atomic_load,
    fj_atomic_load64,
    fj_atomic_store,
    fj_atomic_store64,
)
from cython.cimports.fjeld.kernel.files import file_sync, file_sync_all
from cython.cimports.fjeld.kernel.journal import JournalWriter
from cython.cimports.fjeld.kernel.journal_pages import fj_atomic_raise64
from cython.cimports.fjeld.kernel.mutex import (
    fj_cond_init,
    fj_cond_wait_until,
    fj_monotonic_ns,
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_signal,
    pthread_cond_wait,
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

# Of share_sync.
NOT_SHARED = cython.declare(cython.int, 1)
# No write waits longer than this for others to join it, however slow the disk is.
MAX_GATHER_NS = cython.declare(uint64_t, 500_000)


@cython.cclass
class Commit:
    """See the module. `control` is the control plane; `clock` gives ns since the epoch (None: the system's)."""

    def __cinit__(self, control: object, clock: object = None):
        pthread_mutex_init(cython.address(self.mutex), cython.NULL)
        pthread_mutex_init(cython.address(self.sync_mutex), cython.NULL)
        fj_cond_init(cython.address(self.synced))
        fj_cond_init(cython.address(self.arrived))
        self.control = control
        self.clock = clock

    def __dealloc__(self):
        pthread_cond_destroy(cython.address(self.arrived))
        pthread_cond_destroy(cython.address(self.synced))
        pthread_mutex_destroy(cython.address(self.sync_mutex))
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

    # ---- durability ----

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def persist(self, seqno: uint64_t) -> cython.int:
        """Wait until everything up to `seqno` is on disk: for one's own sync, or for that of another thread."""
        status: cython.int
        with cython.nogil:
            status = self.share_sync(seqno)
        if status == NOT_SHARED:
            self.control.persist_write(seqno)
        elif status < 0:
            self.control.sync_failed(OSError(-status, os.strerror(-status)))
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def share_sync(self, seqno: uint64_t) -> cython.int:
        """0, -errno of a sync that failed, or NOT_SHARED: more than the active journal is to be synced.

        Group commit without the GIL: the first thread leads and syncs for all that have appended by then; those
        that come meanwhile wait for its end, and one of them leads the next.
        """
        status: cython.int = 0
        pthread_mutex_lock(cython.address(self.sync_mutex))
        self.waiting += 1
        if self.waiting == self.expected:
            pthread_cond_signal(cython.address(self.arrived))
        while status == 0 and fj_atomic_load64(cython.address(self.persisted)) < seqno:
            if self.sync_errnum:
                status = -self.sync_errnum
            elif self.syncing:
                pthread_cond_wait(cython.address(self.synced), cython.address(self.sync_mutex))
            else:
                self.syncing = True
                self.gather()
                status = self.lead()
                self.syncing = False
                pthread_cond_broadcast(cython.address(self.synced))
        self.waiting -= 1
        pthread_mutex_unlock(cython.address(self.sync_mutex))
        return status

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def gather(self) -> cython.void:
        """Wait a moment for those whom the last sync served: they are on their way, and a sync for all of them
        costs what one for the first of them does. The time of a sync at most. Requires: sync mutex.
        """
        until_ns: uint64_t = 0
        while self.waiting < self.expected:
            if until_ns == 0:
                until_ns = fj_monotonic_ns() + min(self.last_sync_ns, MAX_GATHER_NS)
            if fj_cond_wait_until(cython.address(self.arrived), cython.address(self.sync_mutex), until_ns):
                break

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def lead(self) -> cython.int:
        """Sync for all who have appended: as share_sync. Requires: sync mutex, which is let go of meanwhile."""
        status: cython.int = 0
        pthread_mutex_lock(cython.address(self.mutex))
        j: cython.pointer[Journal] = self.journal
        reached: uint64_t = self.visible
        if j != cython.NULL and not self.unfinished:
            fj_atomic_add(cython.address(j.syncers), 1)  # its descriptor stays open for as long
        else:
            status = NOT_SHARED
        pthread_mutex_unlock(cython.address(self.mutex))
        if status == NOT_SHARED:
            return status
        self.expected = self.waiting
        pthread_mutex_unlock(cython.address(self.sync_mutex))
        started_ns: uint64_t = fj_monotonic_ns()
        status = file_sync_all(j.fd) if self.everything else file_sync(j.fd)
        took_ns: uint64_t = fj_monotonic_ns() - started_ns
        fj_atomic_add(cython.address(j.syncers), -1)
        pthread_mutex_lock(cython.address(self.sync_mutex))
        self.last_sync_ns = took_ns
        if status < 0:
            self.sync_errnum = -status
        else:
            fj_atomic_raise64(cython.address(self.persisted), reached)
            status = 0
        return status

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
        """Everything up to `seqno` is on disk."""
        fj_atomic_raise64(cython.address(self.persisted), seqno)

    def note_unfinished(self, journals: int):
        """So many sealed journals may not be on disk. Requires: commit lock."""
        self.unfinished = journals

    def sync_everything(self, everything: bool):
        """Whether the syncs of writes bring the file's times and attributes to disk too."""
        self.everything = everything

    def attend(self, bits: int, on: bool):
        """Set or clear bits of Attention. Requires: the GIL or the control plane's lock."""
        value: cython.int = self.attention
        if on:
            value |= cython.cast(cython.int, bits)
        else:
            value &= ~cython.cast(cython.int, bits)
        fj_atomic_store(cython.address(self.attention), value)
