"""Point look-ups of blocks that are not in the block cache but in the page cache of the system.

To let go of the GIL and get it back costs a look-up nothing while no other thread wants it, and a turn of every
other thread where they do: four readers of five million records were slower than one. A block that is in the page
cache is read, checked and decompressed in two to four microseconds, less than one such turn. So it is read with
the GIL, by a system call that gives up rather than wait for the disk; then the GIL is let go of as ever.

What is wrong with a block is not said here: the reader that may wait meets it again, and says it.
"""

import cython
from cython.cimports.fjeld.kernel.block import Block, Entry, block_release
from cython.cimports.fjeld.kernel.cache import cache_count_miss, cache_insert
from cython.cimports.fjeld.kernel.coding import cbytes, fj_atomic_load
from cython.cimports.fjeld.kernel.failure import ST_COLD, ST_END, ST_OK, Failure, failure_clear
from cython.cimports.fjeld.kernel.table import (
    ABSENT,
    FOUND,
    Table,
    find_in_block,
    table_cached_block,
    table_cook,
    table_find_block,
)
from cython.cimports.fjeld.kernel.table_file import table_read_now
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc

# Larger blocks take long enough to decompress that others should have their turn.
_WARM_MAX_BYTES = cython.declare(cython.size_t, 16 << 10)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_now(t: cython.pointer[Table], i: uint32_t) -> cython.pointer[Block]:
    """The block, cached; a reference. NULL: it would have to be waited for, or something is wrong."""
    offset: uint64_t = t.block_offsets[i]
    n: cython.size_t = t.block_offsets[i + 1] - offset
    b: cython.pointer[Block] = cython.NULL
    ignored: Failure
    if n > _WARM_MAX_BYTES:
        return cython.NULL
    raw: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], malloc(n))
    if raw == cython.NULL:
        return cython.NULL
    if table_read_now(t, raw, n, offset):
        failure_clear(cython.address(ignored))
        b = table_cook(t, raw, n, offset, cython.address(ignored))
    free(raw)
    if b == cython.NULL:
        return cython.NULL
    cache_count_miss(t.cache)
    return cache_insert(t.cache, b, t.slots + i, cython.address(t.slot_lock))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_get_warm(
    t: cython.pointer[Table],
    key: cbytes,
    key_bytes: cython.size_t,
    max_tag: uint64_t,
    out: cython.pointer[Entry],
    block: cython.pointer[cython.pointer[Block]],
) -> cython.int:
    i: uint32_t
    b: cython.pointer[Block]
    status: cython.int
    if not fj_atomic_load(cython.address(t.opened)):
        return ST_COLD
    i = table_find_block(t, key, key_bytes)
    while i < t.blocks:
        b = table_cached_block(t, i)
        if b == cython.NULL:
            b = load_now(t, i)
        if b == cython.NULL:
            return ST_COLD
        status = find_in_block(b, key, key_bytes, max_tag, out)
        if status == FOUND:
            block[0] = b
            return ST_OK
        block_release(b)
        if status == ABSENT:
            return ST_END
        i += 1  # the versions of the key go on in the next block
    return ST_END
