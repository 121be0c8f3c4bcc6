"""The memtable: what a partition has not flushed yet, as a sorted map of versions. Its tree is in btree.py.

A cursor remembers its entry (which never moves) and where it lay; if there were inserts since, it looks for
the place again. So a reader needs the lock for one step at a time, and none once the memtable is sealed.
"""

import cython
from cython.cimports.fjeld.kernel.coding import cbytes, fj_head64, fj_spin_lock, fj_spin_unlock
from cython.cimports.fjeld.kernel.failure import ST_OK
from cython.cimports.libc.stdint import uint32_t, uint64_t


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mem_init(c: cython.pointer[MemCursor], m: cython.pointer[Memtable]) -> cython.void:
    c.memtable = m
    c.leaf = cython.NULL
    c.index = 0
    c.changes = 0
    c.entry = cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def mem_enter(c: cython.pointer[MemCursor]) -> cython.bint:
    if c.memtable.sealed:
        return False
    fj_spin_lock(cython.address(c.memtable.lock))
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def mem_stand(c: cython.pointer[MemCursor], locked: cython.bint) -> cython.void:
    """Take the entry at leaf and index, and let go of the lock."""
    c.changes = c.memtable.changes
    c.entry = cython.NULL if c.leaf == cython.NULL else c.leaf.entries[c.index]
    if locked:
        fj_spin_unlock(cython.address(c.memtable.lock))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def mem_find_again(c: cython.pointer[MemCursor]) -> cython.void:
    e: cython.pointer[MemEntry] = c.entry
    if c.changes != c.memtable.changes:
        c.leaf = tree_seek(c.memtable, cython.address(e.data[0]), e.key_bytes, e.tag, cython.address(c.index))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def mem_step_back(c: cython.pointer[MemCursor]) -> cython.void:
    if c.index > 0:
        c.index -= 1
    else:
        c.leaf = c.leaf.prev
        if c.leaf != cython.NULL:
            c.index = c.leaf.count - 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mem_first(c: cython.pointer[MemCursor]) -> cython.void:
    locked: cython.bint = mem_enter(c)
    c.leaf = c.memtable.first_leaf if c.memtable.entries else cython.NULL
    c.index = 0
    mem_stand(c, locked)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mem_last(c: cython.pointer[MemCursor]) -> cython.void:
    locked: cython.bint = mem_enter(c)
    c.leaf = c.memtable.last_leaf if c.memtable.entries else cython.NULL
    if c.leaf != cython.NULL:
        c.index = c.leaf.count - 1
    mem_stand(c, locked)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mem_seek(
    c: cython.pointer[MemCursor], key: cbytes, key_bytes: cython.size_t, tag: uint64_t
) -> cython.void:
    locked: cython.bint = mem_enter(c)
    c.leaf = tree_seek(c.memtable, key, key_bytes, tag, cython.address(c.index))
    mem_stand(c, locked)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mem_seek_before(
    c: cython.pointer[MemCursor], key: cbytes, key_bytes: cython.size_t, tag: uint64_t
) -> cython.void:
    locked: cython.bint = mem_enter(c)
    c.leaf = tree_seek(c.memtable, key, key_bytes, tag, cython.address(c.index))
    if c.leaf != cython.NULL:
        mem_step_back(c)
    elif c.memtable.entries:
        c.leaf = c.memtable.last_leaf
        c.index = c.leaf.count - 1
    mem_stand(c, locked)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mem_next(c: cython.pointer[MemCursor]) -> cython.void:
    """Requires: on an entry."""
    locked: cython.bint = mem_enter(c)
    mem_find_again(c)
    c.index += 1
    if c.index == c.leaf.count:
        c.leaf = c.leaf.next
        c.index = 0
    mem_stand(c, locked)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mem_prev(c: cython.pointer[MemCursor]) -> cython.void:
    """Requires: on an entry."""
    locked: cython.bint = mem_enter(c)
    mem_find_again(c)
    mem_step_back(c)
    mem_stand(c, locked)


# ---- owner -------------------------------------------------------------------------------------------


@cython.cclass
class MemtableOwner:
    """Owns a Memtable; whoever reads one holds its owner."""

    def __cinit__(self):
        self.memtable = memtable_new()
        self.lenders = []
        if self.memtable == cython.NULL:
            raise MemoryError

    def __dealloc__(self):
        memtable_free(self.memtable)

    @cython.cfunc
    @cython.exceptval(check=False)
    def borrow_from(self, mapping: JournalMap) -> cython.bint:
        if self.newest is not mapping:
            try:
                self.lenders.append(mapping)
            except MemoryError:
                return False
            self.newest = mapping
        return True

    def seal(self):
        """No more inserts from here on. Requires: commit lock."""
        self.memtable.sealed = 1

    @property
    def entries(self):
        """Versions held, tombstones included."""
        return self.memtable.entries

    @property
    def memory_bytes(self):
        """Memory held."""
        return self.memtable.arena.bytes

    @property
    def lent_bytes(self):
        """Bytes of values that are not in this memory but in the mapped journals."""
        return self.memtable.lent_bytes

    @property
    def first_seqno(self):
        """The oldest seqno, 0 where empty."""
        return self.memtable.first_seqno

    @property
    def last_seqno(self):
        """The newest seqno, 0 where empty."""
        return self.memtable.last_seqno

    @property
    def prefix_bytes(self):
        """Length of the prefix that the heads leave out."""
        return self.memtable.prefix_bytes

    def insert(self, key: bytes, seqno: int, kind: int, value: bytes):
        """For tests: insert without a journal."""
        tag: uint64_t = (cython.cast(uint64_t, seqno) << 8) | cython.cast(uint64_t, kind)
        k: cbytes = key
        v: cbytes = value
        if memtable_insert(self.memtable, k, len(key), tag, v, len(value), False) != ST_OK:
            raise MemoryError

    def get(self, key: bytes, seqno: int = (1 << 55)):
        """For tests: (seqno, kind, value) of the newest version up to seqno, or None."""
        k: cbytes = key
        e: cython.pointer[MemEntry] = memtable_get(
            self.memtable, k, len(key), (cython.cast(uint64_t, seqno) << 8) | 0xFF
        )
        return None if e == cython.NULL else entry_tuple(e)[1:]

    def scan(self, reverse: bool = False, start=None):
        """For tests: all (key, seqno, kind, value), in order or reversed; `start`: from the first entry of
        that key on.
        """
        c: MemCursor
        k: cbytes
        found: list = []
        mem_init(cython.address(c), self.memtable)
        if start is not None:
            k = start
            if reverse:
                mem_seek_before(cython.address(c), k, len(start), ~cython.cast(uint64_t, 0))
            else:
                mem_seek(cython.address(c), k, len(start), ~cython.cast(uint64_t, 0))
        elif reverse:
            mem_last(cython.address(c))
        else:
            mem_first(cython.address(c))
        while c.entry != cython.NULL:
            found.append(entry_tuple(c.entry))
            if reverse:
                mem_prev(cython.address(c))
            else:
                mem_next(cython.address(c))
        return found

    def check(self):
        """Assert every invariant of the structure."""
        counted: uint64_t = check_node(self.memtable, self.memtable.root)
        assert counted == self.memtable.entries
        rows: list = [(key, -seqno, -kind) for key, seqno, kind, _ in self.scan()]
        assert rows == sorted(rows)
        assert cython.cast(uint64_t, len(rows)) == self.memtable.entries


@cython.cfunc
def entry_tuple(e: cython.pointer[MemEntry]) -> tuple:
    data: cython.p_char = cython.cast(cython.p_char, cython.address(e.data[0]))
    value: cython.p_char = cython.cast(cython.p_char, entry_value(e))
    return (
        data[: e.key_bytes],
        e.tag >> 8,
        e.tag & 0xFF,
        value[: e.value_bytes],
    )


@cython.cfunc
def check_node(m: cython.pointer[Memtable], node: cython.pointer[Node]) -> uint64_t:
    i: uint32_t
    e: cython.pointer[MemEntry]
    counted: uint64_t = 0
    assert node.count <= NODE_ENTRIES
    assert node.count > 0 or node == m.root
    for i in range(node.count):
        e = node.entries[i]
        assert e.key_bytes >= m.prefix_bytes
        assert node.heads[i] == fj_head64(
            cython.address(e.data[0]) + m.prefix_bytes, e.key_bytes - m.prefix_bytes
        )
        if node.level:
            assert node.children[i].level == node.level - 1
            counted += check_node(m, node.children[i])
        else:
            counted += 1
    return counted
