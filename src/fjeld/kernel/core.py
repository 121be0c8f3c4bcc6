"""What the kernel keeps of one partition: its identity, its view and the memtable that is written to."""

import cython
from cython.cimports.cpython.bytes import PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.coding import (
    MAX_KEY_BYTES,
    fj_atomic_load,
    fj_atomic_load64,
    fj_atomic_store,
    fj_spin_lock,
    fj_spin_unlock,
)
from cython.cimports.fjeld.kernel.journal_map import JournalMap
from cython.cimports.fjeld.kernel.memtable import MemtableOwner
from cython.cimports.fjeld.kernel.read_counters import ReadCounters
from cython.cimports.fjeld.kernel.view import View
from cython.cimports.libc.stdint import uint64_t

from fjeld.errors import ClosedError

# A memtable may point to so many times its memory in journals. They are written already and cost no memory that the
# system cannot take back; the more there is of them, the larger, and the fewer, tables a flush makes.
LENT_FACTOR = cython.declare(uint64_t, 6)

MAX_VALUE_BYTES = cython.declare(cython.longlong, 0xFFFFFFFF)


@cython.cfunc
def coerce(given: object, what: str) -> bytes:
    """`given` as bytes of our own (a bytearray may change under us); TypeError where it holds no bytes."""
    if isinstance(given, bytes):
        return bytes(given)
    if isinstance(given, str):
        raise TypeError(f"a {what} is bytes, not str: encode it, for example with .encode()")
    try:
        return bytes(memoryview(given))
    except TypeError:
        raise TypeError(f"a {what} is bytes or bytes-like, not {type(given).__name__}") from None


@cython.cfunc
@cython.exceptval(-1, check=False)
def check_key(key: object) -> cython.int:
    if PyBytes_GET_SIZE(key) > MAX_KEY_BYTES:
        raise ValueError(f"a key has at most 65,535 bytes, this one has {len(key):,}")
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def check_value(value: object) -> cython.int:
    if PyBytes_GET_SIZE(value) > MAX_VALUE_BYTES:
        raise ValueError(f"a value has at most 4,294,967,295 bytes, this one has {len(value):,}")
    return 0


@cython.cclass
class TreeCore:
    """Shared by the partition and by every snapshot and iterator of it.

    Thread safety: `take_view` from any thread; `replace` by the control plane under its install lock, and
    also under the commit lock when the active memtable changes.
    """

    def __cinit__(self, commit: Commit, id: int, name: str, memtable_bytes: int, view: View):
        self.commit = commit
        self.id = id
        self.name = name
        self.memtable_bytes = memtable_bytes
        self.lent_bytes = LENT_FACTOR * self.memtable_bytes
        self.reads = ReadCounters()
        self.replace(view)

    @cython.cfunc
    def take_view(self) -> View:
        view: View
        fj_spin_lock(cython.address(self.view_lock))
        view = self.view
        fj_spin_unlock(cython.address(self.view_lock))
        return view

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def check(self) -> cython.int:
        if fj_atomic_load(cython.address(self.refused)):
            self.commit.control.refuse_partition(self)
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def is_full(self) -> cython.bint:
        if self.active.arena.bytes < self.memtable_bytes and self.active.lent_bytes < self.lent_bytes:
            return False
        return self.active.entries != 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def can_lend(self) -> cython.bint:
        """Whether the active memtable may point to values in the active journal. Requires: commit lock."""
        mapping: JournalMap = self.commit.writer.mapping
        return mapping is not None and self.owner.borrow_from(mapping)

    # ---- for the control plane ----

    def current_view(self) -> View:
        """The view that readers get just now."""
        return self.take_view()

    def replace(self, view: View):
        """Put a new view in place. Requires: the install lock; the commit lock too where memtables[0]
        changes.
        """
        before: object
        owner: MemtableOwner = view.memtables[0]
        view.count_into(self.reads)
        fj_spin_lock(cython.address(self.view_lock))
        before = self.view
        self.view = view
        self.active = owner.memtable
        self.owner = owner
        fj_spin_unlock(cython.address(self.view_lock))
        del before  # outside the lock: this may close tables

    def full(self) -> bool:
        """Has the active memtable reached its size? Requires: commit lock."""
        return self.is_full()

    def active_part(self) -> float:
        """How much of its size the active memtable has: 0, empty, to 1, full."""
        owner: MemtableOwner = self.take_view().memtables[0]
        held: cython.double = owner.memtable.arena.bytes
        lent: cython.double = owner.memtable.lent_bytes
        return max(held / self.memtable_bytes, lent / self.lent_bytes)

    def refuse(self, refused: bool = True):
        """From here on every call raises what control.refuse_partition raises."""
        fj_atomic_store(cython.address(self.refused), 1 if refused else 0)

    @property
    def is_refused(self) -> bool:
        return fj_atomic_load(cython.address(self.refused)) != 0


@cython.cclass
class Access:
    """A right to read one partition: the newest state, or that of a snapshot until it is closed."""

    def __cinit__(self, core: TreeCore, *args, **kwargs):
        self.core = core

    @cython.cfunc
    @cython.exceptval(check=False)
    def read_tag(self) -> uint64_t:
        """The newest tag that may be seen."""
        if self.fixed_tag:
            return self.fixed_tag
        return (fj_atomic_load64(cython.address(self.core.commit.visible)) << 8) | 0xFF

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def check(self) -> cython.int:
        """Raise where the partition, its keyspace or the snapshot is closed."""
        if self.core.refused:
            self.core.check()
        if fj_atomic_load(cython.address(self.released)):
            raise ClosedError("this snapshot was closed: open a new one")
        return 0

    @cython.cfunc
    def take_view(self) -> View:
        """What to read."""
        return self.core.take_view() if self.kept is None else self.kept

    @cython.cfunc
    def join_merge(self, m: cython.pointer[Merge]) -> object:
        """Give a merge of the view what this reader sees besides: a transaction, its own writes."""
        return None

    # ---- for the control plane ----

    def keep_view(self, view: View):
        """Read this view from here on: the partition was cleared, the snapshot was not. Requires: the GIL."""
        self.kept = view

    def fix(self, seqno: int):
        """Make this the reader of a snapshot: it sees what was written up to `seqno`."""
        self.fixed_tag = (cython.cast(uint64_t, seqno) << 8) | 0xFF

    def release(self):
        """The snapshot was closed: reads raise ClosedError from here on."""
        self.released = 1
