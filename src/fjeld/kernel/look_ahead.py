"""Looking ahead: many point look-ups share the time that memory takes to answer.

A look-up in a table follows a chain: filter line, index, slot, block, heads, offsets, entry. In a store
larger than the processor's caches each link costs about a hundred nanoseconds of waiting. Here the chains of
up to PROBES keys advance together, a link at a time, and each link is prefetched for all of them before the
first one needs it (Chen, Ailamaki, Gibbons, Mowry: *Improving Hash Join Performance through Prefetching*,
ICDE 2004: group prefetching). What is found at the end of a chain is the answer; where a block is not in memory, or
does not have the key that its table's filter let through, the ordinary look-up goes on from that table.

Thread safety: under the GIL or beside other readers; blocks are held by a reference.
"""

import cython
from cython.cimports.fjeld.kernel.block import Block, Entry, block_guess, block_release
from cython.cimports.fjeld.kernel.coding import fj_atomic_load, fj_atomic_load64, fj_prefetch
from cython.cimports.fjeld.kernel.filter import LINE_BYTES, filter_fetch
from cython.cimports.fjeld.kernel.table import (
    FOUND,
    find_in_block,
    table_cached_block,
    table_covers,
    table_find_block,
    table_may_contain,
)
from cython.cimports.fjeld.kernel.view import count, found_in_block, level_find
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t

# Of a block: struct, prefix, heads and offsets lie in a row, for 4 KiB of small entries in as many lines.
BLOCK_LINES = cython.declare(uint32_t, 6)
# Of an entry: lengths, suffix, and a value of a hundred bytes.
ENTRY_LINES = cython.declare(uint32_t, 3)


@cython.cfunc
@cython.exceptval(check=False)
def look_ahead(view: View, probes: cython.pointer[Probe], n: uint32_t) -> cython.void:
    i: uint32_t
    asking: uint32_t = 0
    for i in range(n):
        probes[i].place = 0
        probes[i].table = cython.NULL
        probes[i].block = cython.NULL
        probes[i].asking = probes[i].wanted and aim(view, cython.address(probes[i]))
        asking += probes[i].asking
    while asking > 0:
        asking = 0
        for i in range(n):
            if probes[i].asking:
                probes[i].asking = not through(cython.address(probes[i])) and aim(
                    view, cython.address(probes[i])
                )
                asking += probes[i].asking
    for i in range(n):
        if probes[i].table != cython.NULL:
            choose_block(cython.address(probes[i]))
    for i in range(n):
        if probes[i].table != cython.NULL:
            fetch_block(cython.address(probes[i]))
    for i in range(n):
        if probes[i].table != cython.NULL:
            probes[i].block = table_cached_block(probes[i].table, probes[i].block_index)
    for i in range(n):
        if probes[i].block != cython.NULL:
            fetch_entry(cython.address(probes[i]))


@cython.cfunc
@cython.exceptval(check=False)
def aim(view: View, p: cython.pointer[Probe]) -> cython.bint:
    """Go on to the next table, newest first, that the key may be in by its range, and ask for its filter. False where
    there is none, or none that is open.
    """
    t: cython.pointer[Table] = cython.NULL
    while p.place < view.level0_count + view.run_count:
        p.reads = view.counted
        if p.place < view.level0_count:
            t = view.level0[p.place]
            if not table_covers(t, p.key, p.key_bytes):
                t = cython.NULL
        else:
            t = level_find(cython.address(view.runs[p.place - view.level0_count]), p.key, p.key_bytes)
            p.reads += view.runs[p.place - view.level0_count].number
        if t != cython.NULL:
            break
        p.place += 1
    if t == cython.NULL or not fj_atomic_load(cython.address(t.opened)):
        return False
    p.table = t
    if t.filter_lines > 0:
        filter_fetch(t.filter, t.filter_lines, p.hashed)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def through(p: cython.pointer[Probe]) -> cython.bint:
    """Whether the filter lets the key through; else the table is done with."""
    if table_may_contain(p.table, p.hashed):
        return True
    count(cython.address(p.reads.filter_negatives))
    p.table = cython.NULL
    p.place += 1
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def choose_block(p: cython.pointer[Probe]) -> cython.void:
    p.block_index = table_find_block(p.table, p.key, p.key_bytes)
    if p.block_index < p.table.blocks:
        fj_prefetch(p.table.slots + p.block_index)
    else:
        p.table = cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fetch_block(p: cython.pointer[Probe]) -> cython.void:
    """Without a reference: only the address is used, and a wrong one would do no harm."""
    i: uint32_t
    slot: cython.pointer[cython.pointer[Block]] = p.table.slots + p.block_index
    start: uint64_t = fj_atomic_load64(cython.cast(cython.pointer[uint64_t], slot))
    for i in range(BLOCK_LINES):
        fj_prefetch(cython.cast(cython.pointer[uint8_t], start) + i * LINE_BYTES)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fetch_entry(p: cython.pointer[Probe]) -> cython.void:
    """Search the block's heads, which have arrived, and ask for the entry."""
    k: uint32_t
    i: uint32_t = block_guess(p.block, p.key, p.key_bytes)
    if i < p.block.count:
        for k in range(ENTRY_LINES):
            fj_prefetch(p.block.payload + p.block.offsets[i] + k * LINE_BYTES)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_found(p: cython.pointer[Probe], max_tag: uint64_t, out: cython.pointer[Found]) -> cython.bint:
    e: Entry
    if p.block == cython.NULL:
        return False
    if find_in_block(p.block, p.key, p.key_bytes, max_tag, cython.address(e)) != FOUND:
        return False
    count(cython.address(p.reads.found))
    found_in_block(out, cython.address(e))
    out.block = cython.NULL
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_release(p: cython.pointer[Probe]) -> cython.void:
    if p.block != cython.NULL:
        block_release(p.block)
        p.block = cython.NULL
