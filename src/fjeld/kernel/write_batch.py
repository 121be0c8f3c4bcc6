"""Atomic batches, and the commit of single entries: where writes meet the journal and the memtables.

Under the commit lock, in this order: journal record, memtables, seqno published. See commit.py for the whole
picture.
"""

import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.coding import (
    KIND_TOMBSTONE,
    KIND_VALUE,
    KIND_WEAK_TOMBSTONE,
    cbytes,
    fj_atomic_store64,
)
from cython.cimports.fjeld.kernel.commit import ATTEND_DURABLE, ATTEND_PRESSURE, ATTEND_REFUSE, Commit
from cython.cimports.fjeld.kernel.core import Access, TreeCore, check_key, check_value, coerce
from cython.cimports.fjeld.kernel.failure import ST_NOMEM, ST_OK
from cython.cimports.fjeld.kernel.journal_reader import JournalEntry, entry_next
from cython.cimports.fjeld.kernel.journal_record import (
    RECORD_HEADER_BYTES,
    Stamp,
    entry_bytes,
    entry_put,
    journal_entries,
    journal_fits,
    journal_put,
    journal_put_entries,
)
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.memtable import FAR_BYTES, memtable_insert
from cython.cimports.fjeld.kernel.view import NOT_NOW
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.stdlib import free

from fjeld.errors import ClosedError

MAX_BATCH_BYTES = cython.declare(cython.size_t, 0xFFFF0000)  # a record's length is 32 bits


@cython.cfunc
def out_of_memory(commit: Commit) -> cython.int:
    """The record is in the journal, but not all of it in the memtables: only reopening makes them agree."""
    error: object = MemoryError(
        "no memory for the memtable: the keyspace refuses writes until it is reopened"
    )
    commit.control.poison(error)
    raise error


@cython.cfunc
def journal_failed(core: TreeCore, errnum: cython.int) -> cython.int:
    raise OSError(-errnum, os.strerror(-errnum), core.commit.writer.path)


@cython.cfunc
def is_free(commit: Commit, core: TreeCore, needed: cython.size_t) -> cython.bint:
    """Could an entry be written now, and nothing would have to be waited for? A guess, which the commit lock proves."""
    return not (
        commit.attention or core.refused or core.is_full() or not journal_fits(commit.journal, needed)
    )


@cython.cfunc
def lock_for(core: TreeCore, needed: cython.size_t, wait: cython.bint) -> cython.int:
    """Take the commit lock with room for a record of `needed` bytes and for its entries; or, without waiting,
    NOT_NOW.
    """
    commit: Commit = core.commit
    while True:
        if not wait and not is_free(commit, core, needed):
            return NOT_NOW
        if commit.attention & (ATTEND_REFUSE | ATTEND_PRESSURE):
            commit.admit()
        if core.refused:
            core.check()
        commit.lock()
        if commit.attention & ATTEND_REFUSE or core.refused:
            commit.unlock()
        elif not journal_fits(commit.journal, needed):
            commit.unlock()
            commit.control.switch_journal(needed)
        elif core.is_full():
            commit.unlock()
            commit.control.seal_memtable(core)
        else:
            return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def put_one(
    core: TreeCore,
    kind: cython.int,
    key: bytes,
    value: bytes | None,
    wait: cython.bint,
    reached: cython.pointer[uint64_t],
) -> cython.int:
    commit: Commit = core.commit
    seqno: uint64_t
    stamp: Stamp
    status: cython.int
    k: cbytes = cython.cast(cbytes, PyBytes_AS_STRING(key))
    kn: cython.size_t = PyBytes_GET_SIZE(key)
    v: cbytes = cython.NULL
    vn: cython.size_t = 0
    if value is not None:
        v = cython.cast(cbytes, PyBytes_AS_STRING(value))
        vn = PyBytes_GET_SIZE(value)
    needed: cython.size_t = RECORD_HEADER_BYTES + entry_bytes(core.id, kn, vn)
    if needed > MAX_BATCH_BYTES:
        raise ValueError("an entry has at most 4,294,901,760 bytes in the journal: store a smaller value")
    stamp.time_ns = commit.now_ns()
    if lock_for(core, needed, wait) == NOT_NOW:
        return NOT_NOW
    seqno = commit.seqno + 1
    stamp.seqno = seqno
    stamp.persisted = commit.persisted
    status = journal_put(commit.journal, kind, core.id, k, kn, v, vn, cython.address(stamp))
    if status != 0:
        commit.unlock()
        return journal_failed(core, status)
    lent: cython.bint = vn >= FAR_BYTES and core.can_lend()
    if lent:
        # An entry ends with its value.
        v = journal_entries(commit.journal) + (needed - RECORD_HEADER_BYTES - vn)
    status = memtable_insert(core.active, k, kn, (seqno << 8) | cython.cast(uint64_t, kind), v, vn, lent)
    commit.seqno = seqno
    core.written_bytes += kn + vn
    commit.written_bytes += kn + vn
    if status == ST_OK:
        fj_atomic_store64(cython.address(commit.visible), seqno)
    commit.unlock()
    if status == ST_NOMEM:
        return out_of_memory(commit)
    reached[0] = seqno
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def write_one(
    core: TreeCore, kind: cython.int, key: bytes, value: bytes | None, wait: cython.bint
) -> cython.int:
    seqno: uint64_t = 0
    if put_one(core, kind, key, value, wait, cython.address(seqno)) == NOT_NOW:
        return NOT_NOW
    return persist_due(core.commit, -1, seqno)


@cython.cfunc
@cython.inline
@cython.exceptval(-1, check=False)
def persist_due(commit: Commit, durable: cython.int, seqno: uint64_t) -> cython.int:
    if durable > 0 or (durable < 0 and commit.attention & ATTEND_DURABLE):
        commit.persist(seqno)
    return 0


@cython.cfunc
def writable(partition: Access) -> TreeCore:
    if partition.fixed_tag:
        raise TypeError("a snapshot is read-only: write to the partition itself")
    return partition.core


@cython.cclass
class WriteBatch:
    """Entries for one or more partitions of one keyspace, written as one atomic record.

    Not thread-safe. What it holds was copied: the caller's buffers may change.
    """

    def __cinit__(self, commit: Commit, *args, **kwargs):
        self.commit = commit
        self.cores = []

    def __dealloc__(self):
        free(self.data)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def grow(self, needed: cython.size_t) -> cython.int:
        if needed > MAX_BATCH_BYTES:
            raise ValueError("a batch has at most 4 GiB: split it")
        if not reserve(cython.address(self.data), cython.address(self.capacity_bytes), needed):
            raise MemoryError
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def add(self, core: TreeCore, kind: cython.int, key: object, value: object) -> cython.int:
        k: cbytes
        v: cbytes = cython.NULL
        kn: cython.size_t
        vn: cython.size_t = 0
        needed: cython.size_t
        if self.finished:
            raise ClosedError("this batch was committed or discarded: begin a new one")
        if not PyBytes_CheckExact(key):
            key = coerce(key, "key")
        check_key(key)
        k = cython.cast(cbytes, PyBytes_AS_STRING(key))
        kn = PyBytes_GET_SIZE(key)
        if value is not None:
            if not PyBytes_CheckExact(value):
                value = coerce(value, "value")
            check_value(value)
            v = cython.cast(cbytes, PyBytes_AS_STRING(value))
            vn = PyBytes_GET_SIZE(value)
        if core is not self.recent:
            if core.commit is not self.commit:
                raise ValueError(f"partition {core.name!r} belongs to another keyspace than this batch")
            if core.refused:
                core.check()
            if core not in self.cores:
                self.cores.append(core)
            self.recent = core
        needed = self.bytes + entry_bytes(core.id, kn, vn)
        if needed > self.capacity_bytes:
            self.grow(needed)
        entry_put(self.data + self.bytes, kind, core.id, k, kn, v, vn)
        self.bytes = needed
        self.count += 1
        return 0

    @cython.cfunc
    def find_obstacle(self, needed: cython.size_t) -> object:
        """Requires: commit lock. None where the batch can be written now; else what to attend to first."""
        core: TreeCore
        if self.commit.attention & ATTEND_REFUSE:
            return self
        if not journal_fits(self.commit.journal, needed):
            return self.commit
        for core in self.cores:
            if core.refused:
                return self
            if core.is_full():
                return core
        return None

    @cython.cfunc
    @cython.exceptval(check=False)
    def apply(self, seqno: uint64_t) -> cython.int:
        """Requires: commit lock, and that they are the journal's last record. Put the entries into their memtables."""
        p: cbytes = self.data
        end: cbytes = self.data + self.bytes
        lent: cython.bint
        entry: JournalEntry
        core: TreeCore = None
        status: cython.int = ST_OK
        while p < end and status == ST_OK:
            entry_next(cython.address(p), end, cython.address(entry))
            if core is None or core.id != entry.partition:
                for core in self.cores:
                    if core.id == entry.partition:
                        break
            lent = entry.value_bytes >= FAR_BYTES and core.can_lend()
            if lent:
                entry.value = journal_entries(self.commit.journal) + (entry.value - self.data)
            status = memtable_insert(
                core.active,
                entry.key,
                entry.key_bytes,
                (seqno << 8) | cython.cast(uint64_t, entry.kind),
                entry.value,
                entry.value_bytes,
                lent,
            )
            core.written_bytes += entry.key_bytes + entry.value_bytes
            self.commit.written_bytes += entry.key_bytes + entry.value_bytes
            seqno += 1
        return status

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def write(self, durable: cython.int, wait: cython.bint) -> cython.int:
        commit: Commit = self.commit
        core: TreeCore
        needed: cython.size_t = RECORD_HEADER_BYTES + self.bytes
        status: cython.int
        seqno: uint64_t
        obstacle: object
        stamp: Stamp
        stamp.time_ns = commit.now_ns()
        while True:
            if not wait and commit.attention & (ATTEND_REFUSE | ATTEND_PRESSURE):
                return NOT_NOW
            if commit.attention & (ATTEND_REFUSE | ATTEND_PRESSURE):
                commit.admit()
            for core in self.cores:
                if core.refused:
                    core.check()
            commit.lock()
            obstacle = self.find_obstacle(needed)
            if obstacle is None:
                break
            commit.unlock()
            if not wait:
                return NOT_NOW
            if obstacle is commit:
                commit.control.switch_journal(needed)
            elif obstacle is not self:
                commit.control.seal_memtable(obstacle)
        seqno = commit.seqno + 1
        stamp.seqno = seqno
        stamp.persisted = commit.persisted
        status = journal_put_entries(commit.journal, self.data, self.bytes, self.count, cython.address(stamp))
        if status != 0:
            commit.unlock()
            return journal_failed(self.cores[0], status)
        status = self.apply(seqno)
        commit.seqno = seqno + self.count - 1
        if status == ST_OK:
            fj_atomic_store64(cython.address(commit.visible), commit.seqno)
        seqno = commit.seqno
        commit.unlock()
        if status == ST_NOMEM:
            return out_of_memory(commit)
        return persist_due(commit, durable, seqno)

    # ---- the public face ----

    def insert(self, partition: Access, key, value):
        """Put key = value into the batch."""
        if value is None:
            coerce(value, "value")
        self.add(writable(partition), KIND_VALUE, key, value)

    def remove(self, partition: Access, key):
        """Put the removal of key into the batch; it need not exist."""
        self.add(writable(partition), KIND_TOMBSTONE, key, None)

    def remove_weak(self, partition: Access, key):
        """Put the removal of a key into the batch that was inserted once since it was last removed."""
        self.add(writable(partition), KIND_WEAK_TOMBSTONE, key, None)

    def __len__(self):
        return self.count

    def clear(self):
        """Forget what was put in; the batch can be used on."""
        self.bytes = 0
        self.count = 0
        self.cores = []
        self.recent = None

    def write_now(self, durable=None):
        """Write all of it, atomically; the batch is finished then.

        durable: persist before returning, yes or no; None: as the keyspace's option says.
        """
        if self.finished:
            raise ClosedError("this batch was committed or discarded: begin a new one")
        if self.count:
            self.write(-1 if durable is None else bool(durable), True)
        else:
            self.commit.admit()
        self.finish()

    def write_without_waiting(self):
        """Write all of it, not persisted: True, and the batch is finished; or False, and nothing has happened,
        where it would have to wait.
        """
        if self.finished:
            raise ClosedError("this batch was committed or discarded: begin a new one")
        if self.count == 0 or self.write(0, False) == NOT_NOW:
            return False
        self.finish()
        return True

    def finish(self):
        """No more use; memory goes."""
        self.clear()
        self.finished = True
        free(self.data)
        self.data = cython.NULL
        self.capacity_bytes = 0
