"""Looking ahead: many point look-ups share the time that memory takes to answer.

A look-up in a table follows a chain: filter line, index, slot, block, heads, offsets, entry. In a store
larger than the processor's caches each link costs about a hundred nanoseconds of waiting. Here the chains of
up to PROBES keys advance together, a link at a time, and each link is prefetched for all of them before the
first one needs it (Chen, Ailamaki, Gibbons, Mowry: *Improving Hash Join Performance through Prefetching*,
ICDE 2004: group prefetching).

Thread safety: under the GIL or beside other readers; blocks are held by a reference.
"""

import cython
from cython.cimports.fjeld.kernel.block import block_seek
from cython.cimports.fjeld.kernel.coding import fj_atomic_load, fj_prefetch
from cython.cimports.fjeld.kernel.table import (
    table_cached_block,
    table_covers,
    table_find_block,
    table_may_contain,
)
from cython.cimports.fjeld.kernel.view import level_find
from cython.cimports.libc.stdint import uint32_t


@cython.cfunc
@cython.exceptval(check=False)
def look_ahead(view: View, probes: cython.pointer[Probe], count: uint32_t) -> cython.void:
    i: uint32_t
    for i in range(count):
        if probes[i].wanted:
            choose_table(view, cython.address(probes[i]))
    for i in range(count):
        if probes[i].table != cython.NULL:
            take_block(cython.address(probes[i]))
    for i in range(count):
        if probes[i].block != cython.NULL:
            fj_prefetch(probes[i].block.heads)
            fj_prefetch(probes[i].block.prefix)
    for i in range(count):
        if probes[i].block != cython.NULL:
            fetch_entry(cython.address(probes[i]))


@cython.cfunc
@cython.exceptval(check=False)
def choose_table(view: View, p: cython.pointer[Probe]) -> cython.void:
    """The first table, newest first, that the key may be in, and the block of it."""
    i: uint32_t
    t: cython.pointer[Table] = cython.NULL
    for i in range(view.level0_count + view.run_count):
        if i < view.level0_count:
            t = view.level0[i]
            if not table_covers(t, p.key, p.key_bytes):
                continue
        else:
            t = level_find(cython.address(view.runs[i - view.level0_count]), p.key, p.key_bytes)
            if t == cython.NULL:
                continue
        if not fj_atomic_load(cython.address(t.opened)):
            return
        if table_may_contain(t, p.hashed):
            p.block_index = table_find_block(t, p.key, p.key_bytes)
            if p.block_index < t.blocks:
                p.table = t
                fj_prefetch(t.slots + p.block_index)
            return


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_block(p: cython.pointer[Probe]) -> cython.void:
    p.block = table_cached_block(p.table, p.block_index)  # takes a reference: touches the block's first line


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fetch_entry(p: cython.pointer[Probe]) -> cython.void:
    """Search the block's heads, which have arrived, and ask for the entry."""
    i: uint32_t = block_seek(p.block, p.key, p.key_bytes, ~cython.cast(cython.ulonglong, 0))
    if i < p.block.count:
        fj_prefetch(p.block.payload + p.block.offsets[i])
        fj_prefetch(p.block.payload + p.block.offsets[i] + 64)
