"""The block cache: all tables of a keyspace share one budget of memory.

There is no hash table: a table has a slot for each of its blocks, which points to the block while that is
cached. The cache is the list of these blocks, newest to oldest, and the SIEVE hand that walks it from oldest
to newest. A block that was used since the hand last passed is spared once; the first that was not is evicted.

Locks (spin locks, held for some hundred nanoseconds; nothing is freed and nothing waits under them):

    cache.lock        the list, the hand, used_bytes, blocks, evictions
    slot lock         one for each table: its slots, and taking references through them. A hit takes no other.
    order             cache.lock before a slot lock; never two slot locks

A block in a slot has a reference of the cache's own: it is not freed between finding it and referring to it.
"""

import cython
from cython.cimports.fjeld.kernel.block import Block, block_release
from cython.cimports.fjeld.kernel.coding import (
    cbytes,
    fj_atomic_add,
    fj_atomic_load,
    fj_atomic_load64,
    fj_atomic_store,
    fj_atomic_store64,
    fj_prefetch,
    fj_spin_lock,
    fj_spin_unlock,
)
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free

# A table that goes gives back the lock this often, so that nobody spins while 100,000 blocks are taken out.
FORGET_BATCH = cython.declare(uint32_t, 64)
# These stay whatever the budget says: who loads a cold block and looks again must find it.
LEAST_BLOCKS = cython.declare(uint64_t, 8)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cache_lookup(
    slot: cython.pointer[cython.pointer[Block]], slot_lock: cython.p_int
) -> cython.pointer[Block]:
    near: cbytes
    fj_spin_lock(slot_lock)
    b: cython.pointer[Block] = slot[0]
    if b != cython.NULL:
        # Prefix, heads and offsets lie behind the struct: fetched while its own line is waited for.
        # Random look-ups in 23 MB of blocks: 640 ns without, 570 ns with.
        near = cython.cast(cbytes, b)
        fj_prefetch(near + 64)
        fj_prefetch(near + 128)
        fj_prefetch(near + 192)
        fj_prefetch(near + 256)
        fj_prefetch(near + 320)
        fj_atomic_add(cython.address(b.refs), 1)
        fj_atomic_store(cython.address(b.visited), 1)
    fj_spin_unlock(slot_lock)
    return b


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cache_insert(
    c: cython.pointer[Cache],
    b: cython.pointer[Block],
    slot: cython.pointer[cython.pointer[Block]],
    slot_lock: cython.p_int,
) -> cython.pointer[Block]:
    fj_spin_lock(cython.address(c.lock))
    fj_spin_lock(slot_lock)
    first: cython.pointer[Block] = slot[0]
    if first != cython.NULL:
        fj_atomic_add(cython.address(first.refs), 1)
        fj_spin_unlock(slot_lock)
        fj_spin_unlock(cython.address(c.lock))
        block_release(b)
        return first
    b.slot = slot
    b.slot_lock = slot_lock
    fj_atomic_add(cython.address(b.refs), 1)
    slot[0] = b
    fj_spin_unlock(slot_lock)
    link_newest(c, b)
    evicted: cython.pointer[Block] = evict(c)
    fj_spin_unlock(cython.address(c.lock))
    release_chain(evicted)
    return b


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cache_forget(
    c: cython.pointer[Cache],
    slots: cython.pointer[cython.pointer[Block]],
    n: uint32_t,
    slot_lock: cython.p_int,
) -> cython.void:
    i: uint32_t = 0
    stop: uint32_t
    b: cython.pointer[Block]
    gone: cython.pointer[Block]
    while i < n:
        stop = n if n - i < FORGET_BATCH else i + FORGET_BATCH
        gone = cython.NULL
        fj_spin_lock(cython.address(c.lock))
        while i < stop:
            b = slots[i]  # only holders of the cache's lock write slots
            if b != cython.NULL:
                gone = take_out(c, b, gone)
            i += 1
        fj_spin_unlock(cython.address(c.lock))
        release_chain(gone)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def link_newest(c: cython.pointer[Cache], b: cython.pointer[Block]) -> cython.void:
    """Requires: the cache's lock."""
    b.newer = cython.NULL
    b.older = c.newest
    if c.newest != cython.NULL:
        c.newest.newer = b
    else:
        c.oldest = b
    c.newest = b
    c.blocks += 1
    fj_atomic_store64(cython.address(c.used_bytes), c.used_bytes + b.charge_bytes)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_out(
    c: cython.pointer[Cache], b: cython.pointer[Block], chain: cython.pointer[Block]
) -> cython.pointer[Block]:
    """Out of its slot and the list, in front of the chain of those to release. Requires: the cache's lock."""
    fj_spin_lock(b.slot_lock)
    b.slot[0] = cython.NULL
    fj_spin_unlock(b.slot_lock)
    if c.hand == b:
        c.hand = b.newer
    if b.newer != cython.NULL:
        b.newer.older = b.older
    else:
        c.newest = b.older
    if b.older != cython.NULL:
        b.older.newer = b.newer
    else:
        c.oldest = b.newer
    c.blocks -= 1
    fj_atomic_store64(cython.address(c.used_bytes), c.used_bytes - b.charge_bytes)
    b.slot = cython.NULL
    b.slot_lock = cython.NULL
    b.newer = cython.NULL
    b.older = chain
    return b


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def evict(c: cython.pointer[Cache]) -> cython.pointer[Block]:
    """SIEVE, down to the budget. The chain of those to release. Requires: the cache's lock."""
    chain: cython.pointer[Block] = cython.NULL
    b: cython.pointer[Block]
    # Readers may set the bits again as fast as the hand clears them: after one round it takes what it finds.
    spared: uint64_t = 0
    most: uint64_t = c.blocks
    while c.used_bytes > c.budget_bytes and c.blocks > LEAST_BLOCKS:
        b = c.hand if c.hand != cython.NULL else c.oldest
        if b == c.newest:  # it has just come: the hand goes back to the oldest
            c.hand = cython.NULL
        elif spared < most and fj_atomic_load(cython.address(b.visited)):
            fj_atomic_store(cython.address(b.visited), 0)
            c.hand = b.newer
            spared += 1
        else:
            c.hand = b
            chain = take_out(c, b, chain)
            c.evictions += 1
    return chain


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def release_chain(chain: cython.pointer[Block]) -> cython.void:
    b: cython.pointer[Block]
    while chain != cython.NULL:
        b = chain
        chain = b.older
        b.older = cython.NULL
        block_release(b)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cache_count_hit(c: cython.pointer[Cache]) -> cython.void:
    fj_atomic_store64(cython.address(c.hits), fj_atomic_load64(cython.address(c.hits)) + 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cache_count_miss(c: cython.pointer[Cache]) -> cython.void:
    fj_atomic_store64(cython.address(c.misses), fj_atomic_load64(cython.address(c.misses)) + 1)


@cython.final
@cython.cclass
class BlockCache:
    """Owns a Cache. Any thread. Tables keep it alive, and take their blocks out when they go."""

    def __cinit__(self, budget_bytes: uint64_t):
        self.cache = cython.cast(cython.pointer[Cache], calloc(1, cython.sizeof(Cache)))
        if self.cache == cython.NULL:
            raise MemoryError()
        self.cache.budget_bytes = budget_bytes

    def __dealloc__(self):
        free(self.cache)

    @property
    def budget_bytes(self) -> int:
        return self.cache.budget_bytes

    @property
    def used_bytes(self) -> int:
        return fj_atomic_load64(cython.address(self.cache.used_bytes))

    def stats(self) -> dict:
        c: cython.pointer[Cache] = self.cache
        copy: Cache
        fj_spin_lock(cython.address(c.lock))
        copy = c[0]
        fj_spin_unlock(cython.address(c.lock))
        return {
            "budget_bytes": copy.budget_bytes,
            "used_bytes": copy.used_bytes,
            "blocks": copy.blocks,
            "hits": copy.hits,
            "misses": copy.misses,
            "evictions": copy.evictions,
        }

    def check(self) -> None:
        """Assert the invariants of the list and the sums."""
        c: cython.pointer[Cache] = self.cache
        broken: cython.p_const_char
        fj_spin_lock(cython.address(c.lock))
        broken = broken_invariant(c)
        fj_spin_unlock(cython.address(c.lock))
        if broken != cython.NULL:
            raise AssertionError(cython.cast(bytes, broken).decode())


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def broken_invariant(c: cython.pointer[Cache]) -> cython.p_const_char:
    """Requires: the cache's lock."""
    b: cython.pointer[Block] = c.newest
    newer: cython.pointer[Block] = cython.NULL
    used_bytes: uint64_t = 0
    blocks: uint64_t = 0
    hand_seen: cython.bint = c.hand == cython.NULL
    while b != cython.NULL:
        if b.newer != newer:
            return "a block that does not link back"
        if b.slot == cython.NULL or b.slot[0] != b:
            return "a block whose slot does not point to it"
        if fj_atomic_load(cython.address(b.refs)) < 1:
            return "a cached block without a reference"
        used_bytes += b.charge_bytes
        blocks += 1
        hand_seen = hand_seen or c.hand == b
        newer = b
        b = b.older
    if c.oldest != newer:
        return "the oldest block is not the last of the list"
    if used_bytes != c.used_bytes or blocks != c.blocks:
        return "the sums do not match the list"
    if used_bytes > c.budget_bytes and blocks > LEAST_BLOCKS:
        return "more in the cache than its budget"
    if not hand_seen:
        return "the hand points to a block that is not in the list"
    return cython.NULL
