"""The B+-tree of the memtable: entries in an arena, searched by key heads.

    inner   heads    h0 h1 h2 ...      8-byte big-endian key heads, searched without touching a key
            entries  s0 s1 s2 ...      the smallest entry of each child: decides where heads are equal
            children c0 c1 c2 ...
    leaf    heads    h0 h1 h2 ...
            entries  e0 e1 e2 ...      -> what mem_entry.py describes, in the arena
            next, prev

Order: key ascending, then tag descending (the newest version first). Invariants (`MemtableOwner.check` in
memtable.py):

1. Entries are never changed, moved or freed before the memtable is: a pointer to one is good for its life.
2. heads[i] is the head of entries[i]'s key behind the memtable's common prefix. When a key arrives that does
   not share that prefix, the prefix shrinks and all heads are made anew (rare: the prefix can only shrink).
3. entries[0] of an inner node stands for minus infinity: it is never compared.
4. Every node but the root holds at least one entry; a full node is split in half, or, at the right edge, kept
   full: keys that arrive in order fill their leaves.

Thread safety: one inserter at a time (commit lock); readers take the spin lock for the length of one descent
or step, and none at all once the memtable is sealed. B+-tree: Bayer, Unterauer, *Prefix B-Trees*, 1977; key
heads:
Graefe, Larson, *B-Tree Indexes and CPU Caches*, 2001.
"""

import cython
from cython.cimports.fjeld.kernel.arena import arena_free, arena_take
from cython.cimports.fjeld.kernel.coding import (
    KIND_VALUE,
    cbytes,
    fj_common_prefix,
    fj_compare,
    fj_head64,
    fj_spin_lock,
    fj_spin_unlock,
)
from cython.cimports.fjeld.kernel.failure import ST_NOMEM, ST_OK
from cython.cimports.fjeld.kernel.mem_entry import FAR_BYTES, MemEntry, entry_new
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcmp, memcpy, memmove

# After this many shrinkings of the prefix it is given up: keys are then too varied for it to pay.
MAX_REHEADS = cython.declare(cython.int, 4)


# ---- nodes -------------------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def node_new(m: cython.pointer[Memtable], level: uint32_t) -> cython.pointer[Node]:
    size: cython.size_t = cython.sizeof(Node)
    if level == 0:
        size -= NODE_ENTRIES * cython.sizeof(cython.pointer[Node])  # `children` is the last member
    node: cython.pointer[Node] = cython.cast(cython.pointer[Node], arena_take(cython.address(m.arena), size))
    if node != cython.NULL:
        node.count = 0
        node.level = level
        node.next = cython.NULL
        node.prev = cython.NULL
    return node


# ---- search ------------------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def entry_before(
    e: cython.pointer[MemEntry], key: cbytes, key_bytes: cython.size_t, tag: uint64_t
) -> cython.bint:
    """Does the entry stand before (key, tag)?"""
    c: cython.int = fj_compare(cython.address(e.data[0]), e.key_bytes, key, key_bytes)
    return c < 0 or (c == 0 and e.tag > tag)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def heads_below(heads: cython.pointer[uint64_t], count: uint32_t, head: uint64_t) -> uint32_t:
    """How many of the ascending heads are less than `head`. Compiles to conditional moves: no branch to
    predict.
    """
    base: cython.pointer[uint64_t] = heads
    half: uint32_t
    n: uint32_t = count
    if n == 0:
        return 0
    while n > 1:
        half = n >> 1
        base += half * cython.cast(uint32_t, base[half - 1] < head)
        n -= half
    return cython.cast(uint32_t, base - heads) + cython.cast(uint32_t, base[0] < head)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def node_seek(
    node: cython.pointer[Node],
    start: uint32_t,
    head: uint64_t,
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
) -> uint32_t:
    """The first index from `start` on whose entry is not before (key, tag); count if there is none."""
    low: uint32_t = start + heads_below(cython.address(node.heads[0]) + start, node.count - start, head)
    high: uint32_t
    middle: uint32_t
    if low == node.count or node.heads[low] != head:
        return low
    high = low + 1
    while high < node.count and node.heads[high] == head:
        high += 1
    while low < high:
        middle = (low + high) >> 1
        if entry_before(node.entries[middle], key, key_bytes, tag):
            low = middle + 1
        else:
            high = middle
    return low


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def prefix_compare(m: cython.pointer[Memtable], key: cbytes, key_bytes: cython.size_t) -> cython.int:
    """0: the key shares the memtable's prefix; -1: it stands before all keys; 1: behind all."""
    shorter: cython.size_t = m.prefix_bytes
    c: cython.int
    if shorter == 0:
        return 0
    if key_bytes < shorter:
        shorter = key_bytes
    c = memcmp(key, m.prefix, shorter)
    if c == 0:
        return -1 if key_bytes < m.prefix_bytes else 0
    return -1 if c < 0 else 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def tree_seek(
    m: cython.pointer[Memtable],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    index: cython.pointer[uint32_t],
) -> cython.pointer[Node]:
    """Leaf and index of the first entry not before (key, tag); NULL where there is none."""
    node: cython.pointer[Node] = m.root
    head: uint64_t
    side: cython.int = prefix_compare(m, key, key_bytes)
    if m.entries == 0 or side > 0:
        return cython.NULL
    if side < 0:
        index[0] = 0
        return m.first_leaf
    head = fj_head64(key + m.prefix_bytes, key_bytes - m.prefix_bytes)
    while node.level:
        node = node.children[node_seek(node, 1, head, key, key_bytes, tag) - 1]
    index[0] = node_seek(node, 0, head, key, key_bytes, tag)
    if index[0] == node.count:
        index[0] = 0
        node = node.next
    return node


# ---- insert ------------------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rehead(node: cython.pointer[Node], prefix_bytes: uint32_t) -> cython.void:
    """Make all heads below `node` anew for a prefix of another length."""
    i: uint32_t
    e: cython.pointer[MemEntry]
    for i in range(node.count):
        e = node.entries[i]
        node.heads[i] = fj_head64(cython.address(e.data[0]) + prefix_bytes, e.key_bytes - prefix_bytes)
        if node.level:
            rehead(node.children[i], prefix_bytes)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def prefix_shrink(m: cython.pointer[Memtable], key: cbytes, key_bytes: cython.size_t) -> cython.void:
    """A key that does not share the prefix arrives: keep what it shares, or give up after a few times."""
    shared: cython.size_t = fj_common_prefix(m.prefix, m.prefix_bytes, key, key_bytes)
    m.reheads += 1
    if m.reheads > cython.cast(uint32_t, MAX_REHEADS):
        shared = 0
    m.prefix_bytes = cython.cast(uint32_t, shared)
    rehead(m.root, m.prefix_bytes)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def prefix_choose(m: cython.pointer[Memtable], key: cbytes, key_bytes: cython.size_t) -> cython.void:
    """The first leaf is full: what its keys and the new one share becomes the prefix."""
    leaf: cython.pointer[Node] = m.root
    first: cython.pointer[MemEntry] = leaf.entries[0]
    last: cython.pointer[MemEntry] = leaf.entries[leaf.count - 1]
    shared: cython.size_t = fj_common_prefix(
        cython.address(first.data[0]), first.key_bytes, cython.address(last.data[0]), last.key_bytes
    )
    shared = fj_common_prefix(cython.address(first.data[0]), shared, key, key_bytes)
    if shared:
        m.prefix = cython.address(first.data[0])
        m.prefix_bytes = cython.cast(uint32_t, shared)
        rehead(leaf, m.prefix_bytes)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def node_put(
    node: cython.pointer[Node],
    i: uint32_t,
    head: uint64_t,
    entry: cython.pointer[MemEntry],
    child: cython.pointer[Node],
) -> cython.void:
    """Put an entry at index i of a node that has room."""
    behind: uint32_t = node.count - i
    if behind:
        memmove(
            cython.address(node.heads[0]) + i + 1,
            cython.address(node.heads[0]) + i,
            behind * cython.sizeof(uint64_t),
        )
        memmove(
            cython.address(node.entries[0]) + i + 1,
            cython.address(node.entries[0]) + i,
            behind * cython.sizeof(cython.pointer[MemEntry]),
        )
        if node.level:
            memmove(
                cython.address(node.children[0]) + i + 1,
                cython.address(node.children[0]) + i,
                behind * cython.sizeof(cython.pointer[Node]),
            )
    node.heads[i] = head
    node.entries[i] = entry
    if node.level:
        node.children[i] = child
    node.count += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def node_split(m: cython.pointer[Memtable], node: cython.pointer[Node], i: uint32_t) -> cython.pointer[Node]:
    """Split a full node that is about to get an entry at index i; the new right one, or NULL without memory.

    An insert at the very end leaves the node full and the right one empty (leaf) or with its last child
    (inner): so keys that arrive in order fill their nodes.
    """
    right: cython.pointer[Node] = node_new(m, node.level)
    kept: uint32_t = NODE_ENTRIES // 2
    moved: uint32_t
    if right == cython.NULL:
        return cython.NULL
    if i == NODE_ENTRIES:
        kept = NODE_ENTRIES if node.level == 0 else NODE_ENTRIES - 1
    moved = NODE_ENTRIES - kept
    if moved:
        memcpy(right.heads, cython.address(node.heads[0]) + kept, moved * cython.sizeof(uint64_t))
        memcpy(
            right.entries,
            cython.address(node.entries[0]) + kept,
            moved * cython.sizeof(cython.pointer[MemEntry]),
        )
        if node.level:
            memcpy(
                right.children,
                cython.address(node.children[0]) + kept,
                moved * cython.sizeof(cython.pointer[Node]),
            )
    node.count = kept
    right.count = moved
    if node.level == 0:
        right.next = node.next
        right.prev = node
        node.next = right
        if right.next != cython.NULL:
            right.next.prev = right
        else:
            m.last_leaf = right
    return right


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def insert_splitting(
    m: cython.pointer[Memtable],
    path: cython.pointer[cython.pointer[Node]],
    slots: cython.pointer[uint32_t],
    depth: cython.int,
    head: uint64_t,
    entry: cython.pointer[MemEntry],
) -> cython.int:
    """Put the entry into path[depth] (a leaf) at slots[depth], splitting full nodes on the way up."""
    node: cython.pointer[Node]
    right: cython.pointer[Node]
    root: cython.pointer[Node]
    child: cython.pointer[Node] = cython.NULL
    i: uint32_t
    while depth >= 0:
        node = path[depth]
        i = slots[depth]
        if node.count < NODE_ENTRIES:
            node_put(node, i, head, entry, child)
            return ST_OK
        right = node_split(m, node, i)
        if right == cython.NULL:
            return ST_NOMEM
        if i > node.count or right.count == 0:
            node_put(right, i - node.count, head, entry, child)
        else:
            node_put(node, i, head, entry, child)
        head = right.heads[0]
        entry = right.entries[0]
        child = right
        depth -= 1
        if depth >= 0:
            slots[depth] += 1
    root = node_new(m, path[0].level + 1)
    if root == cython.NULL:
        return ST_NOMEM
    node_put(root, 0, path[0].heads[0], path[0].entries[0], path[0])
    node_put(root, 1, head, entry, child)
    m.root = root
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def insert_entry(m: cython.pointer[Memtable], e: cython.pointer[MemEntry]) -> cython.int:
    path: cython.pointer[Node][16]
    slots: uint32_t[16]
    depth: cython.int = 0
    key: cbytes = cython.address(e.data[0])
    head: uint64_t
    i: uint32_t
    node: cython.pointer[Node] = m.last_leaf
    if node.level == 0 and node == m.root and node.count == NODE_ENTRIES:
        prefix_choose(m, key, e.key_bytes)
    if m.prefix_bytes and prefix_compare(m, key, e.key_bytes) != 0:
        prefix_shrink(m, key, e.key_bytes)
    head = fj_head64(key + m.prefix_bytes, e.key_bytes - m.prefix_bytes)
    if node.count and node.count < NODE_ENTRIES and node.heads[node.count - 1] < head:
        node_put(node, node.count, head, e, cython.NULL)  # behind everything: keys that arrive in order
        return ST_OK
    node = m.root
    while node.level:
        i = node_seek(node, 1, head, key, e.key_bytes, e.tag)
        path[depth] = node
        slots[depth] = i - 1
        depth += 1
        node = node.children[i - 1]
    i = node_seek(node, 0, head, key, e.key_bytes, e.tag)
    if node.count < NODE_ENTRIES:
        node_put(node, i, head, e, cython.NULL)
        return ST_OK
    path[depth] = node
    slots[depth] = i
    return insert_splitting(m, path, slots, depth, head, e)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def memtable_insert(
    m: cython.pointer[Memtable],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    value: cbytes,
    value_bytes: cython.size_t,
    lent: cython.bint,
) -> cython.int:
    status: cython.int
    entry: cython.pointer[MemEntry]
    fj_spin_lock(cython.address(m.lock))
    entry = entry_new(cython.address(m.arena), key, key_bytes, tag, value, value_bytes, lent)
    status = ST_NOMEM if entry == cython.NULL else insert_entry(m, entry)
    if status == ST_OK:
        if lent and value_bytes >= FAR_BYTES:
            m.lent_bytes += value_bytes
        m.changes += 1
        m.entries += 1
        if (tag & 0xFF) != KIND_VALUE:
            m.tombstones += 1
        if m.first_seqno == 0:
            m.first_seqno = tag >> 8
        m.last_seqno = tag >> 8
    fj_spin_unlock(cython.address(m.lock))
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def memtable_get(
    m: cython.pointer[Memtable], key: cbytes, key_bytes: cython.size_t, max_tag: uint64_t
) -> cython.pointer[MemEntry]:
    leaf: cython.pointer[Node]
    found: cython.pointer[MemEntry] = cython.NULL
    i: uint32_t = 0
    locked: cython.bint = not m.sealed
    if locked:
        fj_spin_lock(cython.address(m.lock))
    leaf = tree_seek(m, key, key_bytes, max_tag, cython.address(i))
    if leaf != cython.NULL:
        found = leaf.entries[i]
    if locked:
        fj_spin_unlock(cython.address(m.lock))
    if found != cython.NULL and (
        found.key_bytes != key_bytes or memcmp(cython.address(found.data[0]), key, key_bytes) != 0
    ):
        return cython.NULL
    return found


# ---- life --------------------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def memtable_new() -> cython.pointer[Memtable]:
    m: cython.pointer[Memtable] = cython.cast(cython.pointer[Memtable], calloc(1, cython.sizeof(Memtable)))
    if m == cython.NULL:
        return cython.NULL
    m.root = node_new(m, 0)
    if m.root == cython.NULL:
        memtable_free(m)
        return cython.NULL
    m.first_leaf = m.root
    m.last_leaf = m.root
    return m


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def memtable_free(m: cython.pointer[Memtable]) -> cython.void:
    if m == cython.NULL:
        return
    arena_free(cython.address(m.arena))
    free(m)
