"""The writes of an open transaction.

They are a batch: what the commit writes as one record. Nothing of them is in a journal or a memtable of the
keyspace before, so whatever happens until then (a crash, a checkpoint, a close) they are as if never made.

What the transaction reads is merged with them. For that the batch is *indexed* when something is read (but for
single keys among the first few entries, which are looked for one by one): its entries go into a private memtable
for each partition. Who only writes pays for no index; who does both, once an entry. The n-th entry gets the tag
FJ_OWN_TAG + (n << 8) + kind, above every committed one, so it comes before all other versions of its key; a reader
sees own entries up to a number, and all else up to a seqno (`is_hidden` in merge.pxd).

Going back to a savepoint cuts the batch; an index that reaches beyond is dropped and made anew when it is
needed. Who still reads the old one keeps it.

Invariants:
  1. Entry i of the batch is in an index exactly if i < indexed_count; indexes are as `cores`.
  2. `ended` is set once, and nothing is added after it; the turn is given back at that moment.

Thread safety: one thread, checked at each call; `adopt` hands over. Others may only drop it.
"""

import cython
from cython.cimports.cpython.pythread import PyThread_get_thread_ident
from cython.cimports.fjeld.kernel.coding import cbytes, fj_atomic_load64
from cython.cimports.fjeld.kernel.commit import ATTEND_DURABLE, ATTEND_REFUSE, Commit
from cython.cimports.fjeld.kernel.core import TreeCore
from cython.cimports.fjeld.kernel.failure import ST_OK
from cython.cimports.fjeld.kernel.journal_reader import JournalEntry, entry_next
from cython.cimports.fjeld.kernel.memtable import (
    MemEntry,
    MemtableOwner,
    entry_value,
    memtable_get,
    memtable_insert,
)
from cython.cimports.fjeld.kernel.merge import FJ_OWN_TAG
from cython.cimports.fjeld.kernel.read_set import ReadSet
from cython.cimports.fjeld.kernel.turn import Turn
from cython.cimports.fjeld.kernel.view import NOT_NOW
from cython.cimports.fjeld.kernel.write_batch import WriteBatch
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcmp

from fjeld.errors import ClosedError, MisuseError

# Up to so many entries are searched one by one: as fast as making an index, and mostly there are no more.
FEW = cython.declare(uint32_t, 16)
FEW_BYTES = cython.declare(cython.size_t, 4096)

# Of what was read, for a commit that must not wait: checking more takes above a tenth of a millisecond.
LIGHT_BYTES = cython.declare(uint64_t, 32 << 10)


@cython.cclass
class OwnWrites:
    """A context manager: commits on a clean exit, rolls back on an exception."""

    def __cinit__(self, commit: Commit, turn: Turn, hold: bool, durable: object = None):
        """hold: wait for the turn and have it until the end. durable: as in `WriteBatch.write_now`."""
        self.batch = WriteBatch(commit)
        self.turn = turn
        self.durable = -1 if durable is None else bool(durable)
        self.thread = cython.cast(cython.ulong, PyThread_get_thread_ident())
        if hold:
            turn.take(cython.cast(cython.size_t, cython.cast(cython.pointer[cython.void], self)))
            self.holds_turn = True

    def __del__(self):
        """Nobody holds it any more: it is rolled back."""
        if self.ended is None and self.batch is not None:
            self.settle("rolled back, because nobody held it any more")

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def enter(self) -> cython.int:
        """Raise where it must not be used."""
        if self.ended is not None or self.thread != cython.cast(cython.ulong, PyThread_get_thread_ident()):
            self.refuse_use()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def refuse_use(self) -> cython.int:
        if self.ended is not None:
            raise ClosedError(f"this transaction was {self.ended}: begin a new one")
        raise MisuseError(
            "this transaction is used by the thread that has begun it, and by no other: begin one in each"
            " thread, or hand it over with adopt()"
        )

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def settle(self, how: str) -> cython.int:
        """The end: give everything back. The second time it does nothing."""
        if self.ended is not None:
            return 0
        self.ended = how
        self.batch.finish()
        self.indexes = None
        self.read_sets = None
        if self.holds_turn:
            self.holds_turn = False
            self.turn.give(cython.cast(cython.size_t, cython.cast(cython.pointer[cython.void], self)))
        if self.at_end is not None:
            at_end = self.at_end
            self.at_end = None
            at_end()
        return 0

    # ---- reading ----

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def find(
        self, core: TreeCore, key: cbytes, key_bytes: cython.size_t, out: cython.pointer[JournalEntry]
    ) -> cython.int:
        own: MemtableOwner
        e: cython.pointer[MemEntry]
        if self.batch.count == 0:
            return 0
        if self.indexed_count == 0 and self.batch.count <= FEW and self.batch.bytes <= FEW_BYTES:
            return self.find_unsorted(core, key, key_bytes, out)
        own = self.index_of(core)
        if own is None:
            return 0
        e = memtable_get(own.memtable, key, key_bytes, ~cython.cast(uint64_t, 0))
        if e == cython.NULL:
            return 0
        out.kind = e.tag & 0xFF
        out.value = entry_value(e)
        out.value_bytes = e.value_bytes
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def find_unsorted(
        self, core: TreeCore, key: cbytes, key_bytes: cython.size_t, out: cython.pointer[JournalEntry]
    ) -> cython.int:
        """As `find`, without an index: for a few entries."""
        p: cbytes = self.batch.data
        end: cbytes = self.batch.data + self.batch.bytes
        entry: JournalEntry
        found: cython.int = 0
        while p < end:
            entry_next(cython.address(p), end, cython.address(entry))
            if (
                entry.key_bytes == key_bytes
                and entry.partition == core.id
                and memcmp(entry.key, key, key_bytes) == 0
            ):
                out[0] = entry
                found = 1
        return found

    @cython.cfunc
    def index_of(self, core: TreeCore) -> MemtableOwner:
        """The entries of one partition so far, sorted; None where there are none."""
        i: cython.Py_ssize_t
        if self.indexed_bytes < self.batch.bytes:
            self.catch_up()
        if self.indexes is None:
            return None
        for i in range(len(self.indexes)):
            if self.batch.cores[i] is core:
                return self.indexes[i]
        return None

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def catch_up(self) -> cython.int:
        p: cbytes = self.batch.data + self.indexed_bytes
        end: cbytes = self.batch.data + self.batch.bytes
        entry: JournalEntry
        core: TreeCore = None
        owner: MemtableOwner = None
        i: cython.Py_ssize_t = 0
        if self.indexes is None:
            self.indexes = []
        while len(self.indexes) < len(self.batch.cores):
            self.indexes.append(None)
        while p < end:
            entry_next(cython.address(p), end, cython.address(entry))
            if core is None or core.id != entry.partition:
                for i in range(len(self.batch.cores)):
                    core = self.batch.cores[i]
                    if core.id == entry.partition:
                        break
                owner = self.indexes[i]
            if owner is None:
                owner = MemtableOwner()
                self.indexes[i] = owner
            if (
                memtable_insert(
                    owner.memtable,
                    entry.key,
                    entry.key_bytes,
                    own_tag(self.indexed_count + 1, entry.kind),
                    entry.value,
                    entry.value_bytes,
                    False,
                )
                != ST_OK
            ):
                raise MemoryError
            self.indexed_bytes = p - cython.cast(cbytes, self.batch.data)
            self.indexed_count += 1
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def cut(self, length: cython.size_t, count: uint32_t, cores: cython.Py_ssize_t) -> cython.int:
        """Forget what was added since the batch had this length."""
        if self.indexed_count > count:
            self.indexes = None
            self.indexed_bytes = 0
            self.indexed_count = 0
        self.batch.bytes = length
        self.batch.count = count
        if len(self.batch.cores) > cores:
            del self.batch.cores[cores:]
            if self.indexes is not None:
                del self.indexes[cores:]
            self.batch.recent = None
        return 0

    # ---- the end ----

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def check_reads(self, since: uint64_t) -> cython.int:
        reads: ReadSet
        for reads in self.read_sets:
            reads.check(since)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def write_in_turn(self) -> cython.int:
        """An optimistic commit: nothing that was read has changed, and until it is written nothing can."""
        reads: ReadSet
        since: uint64_t = self.since
        upto: uint64_t
        for reads in self.read_sets:
            if reads.may_need_disk(since):
                # What is in tables is checked before, so that others do not wait for a disk.
                upto = fj_atomic_load64(cython.address(self.batch.commit.visible))
                self.check_reads(since)
                since = upto
                break
        self.turn.take(0)
        try:
            self.check_reads(since)
            self.batch.write(0, True)
        finally:
            self.turn.give(0)
        return 0

    def commit(self):
        """Write all of it, atomically, and end; where that fails, nothing was written and it is rolled back.

        ConflictError: see `ReadSet.check`. Durable if it was asked for: not while others wait for the turn.
        """
        self.enter()
        written: cython.bint = False
        seqno: uint64_t = 0
        try:
            if self.batch.commit.attention & ATTEND_REFUSE:
                self.batch.commit.control.check_open()
            if self.batch.count:
                if self.holds_turn:
                    self.batch.write(0, True)
                else:
                    self.write_in_turn()
                written = True
                seqno = fj_atomic_load64(cython.address(self.batch.commit.visible))
        except BaseException:
            self.settle("rolled back, because its commit failed")
            raise
        self.settle("committed")
        if written and (
            self.durable > 0 or (self.durable < 0 and self.batch.commit.attention & ATTEND_DURABLE)
        ):
            self.batch.commit.persist(seqno)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def write_in_turn_now(self) -> cython.int:
        """As `write_in_turn`, or NOT_NOW: where it would have to wait, or check much."""
        reads: ReadSet
        weight: uint64_t = 0
        for reads in self.read_sets:
            weight += reads.weight
        if weight > LIGHT_BYTES or not self.turn.try_take(0):
            return NOT_NOW
        try:
            for reads in self.read_sets:
                if reads.may_need_disk(self.since):
                    return NOT_NOW
            self.check_reads(self.since)
            return self.batch.write(0, False)
        finally:
            self.turn.give(0)

    def commit_now(self):
        """As `commit`, not persisted, and it never waits: False, and nothing has happened, where it would."""
        self.enter()
        status: cython.int = 0
        try:
            if self.batch.commit.attention & ATTEND_REFUSE:
                self.batch.commit.control.check_open()
            if self.batch.count:
                status = self.batch.write(0, False) if self.holds_turn else self.write_in_turn_now()
        except BaseException:
            self.settle("rolled back, because its commit failed")
            raise
        if status == NOT_NOW:
            return False
        self.settle("committed")
        return True

    def rollback(self):
        """Forget all of it, and end."""
        self.enter()
        self.settle("rolled back")

    def __enter__(self):
        self.enter()
        return self

    def __exit__(self, kind, error, trace):
        if self.ended is not None:
            return
        if kind is None:
            self.commit()
        elif self.thread == cython.cast(cython.ulong, PyThread_get_thread_ident()):
            self.settle("rolled back")

    # ---- for the control plane ----

    def check_use(self):
        """Raise where it must not be used."""
        self.enter()

    def adopt(self):
        """The calling thread takes the transaction over: from here on it alone may use it.

        Requires: no other thread is using it at this moment.
        """
        if self.ended is not None:
            self.refuse_use()
        self.go_to(cython.cast(cython.ulong, PyThread_get_thread_ident()))

    def hand_to(self, thread: int):
        """The thread of this ident takes it over, as by `adopt`. Nothing where it has ended."""
        if self.ended is None:
            self.enter()
            self.go_to(thread)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def go_to(self, thread: cython.ulong) -> cython.int:
        self.thread = thread
        if self.holds_turn:
            self.turn.follow(
                cython.cast(cython.size_t, cython.cast(cython.pointer[cython.void], self)), thread
            )
        return 0

    def hold_now(self) -> bool:
        """Have the turn until the end, if it is free: whether it was. Requires: nothing was read or written yet."""
        self.enter()
        self.holds_turn = self.turn.try_take(
            cython.cast(cython.size_t, cython.cast(cython.pointer[cython.void], self))
        )
        return self.holds_turn

    def watch_reads(self, since: int, read_sets: list, at_end: object):
        """Make it an optimistic one: its commit checks that nothing in the read sets has changed after `since`."""
        self.since = since
        self.read_sets = read_sets
        self.at_end = at_end

    def mark(self) -> tuple:
        """Where the batch ends now, for `go_back`."""
        self.enter()
        return (self.batch.bytes, self.batch.count, len(self.batch.cores))

    def go_back(self, mark: tuple):
        """Forget what was added since `mark`."""
        self.enter()
        length, count, cores = mark
        self.cut(length, count, cores)

    @property
    def control(self):
        """The control plane of its keyspace."""
        return self.batch.commit.control

    @property
    def is_open(self) -> bool:
        """Neither committed nor rolled back."""
        return self.ended is None

    @property
    def writes(self) -> int:
        """How many entries the commit will write."""
        return self.batch.count


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def own_tag(number: uint32_t, kind: cython.int) -> uint64_t:
    """The tag of the number-th entry, from 1 on."""
    return FJ_OWN_TAG + (cython.cast(uint64_t, number) << 8) + cython.cast(uint64_t, kind)
