"""What the cursor over a run reads before it gets there.

RUN_STREAM: a buffer of consecutive bytes of the file, out of which blocks are decoded for the cursor alone.
RUN_CACHED: blocks that come next, in either direction, loaded into the cache after the one that was missing, by one
            read where they are neighbours, and held.
"""

import cython
from cython.cimports.fjeld.kernel.block import Block, block_release
from cython.cimports.fjeld.kernel.failure import ST_OK, Failure, fail_nomem
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.run import MOST_WARM_BLOCKS, RunCursor
from cython.cimports.fjeld.kernel.table import Table, table_cached_block, table_cook, table_keep_block
from cython.cimports.fjeld.kernel.table_file import table_read
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import free

# The first read-ahead of a stream hides the disk's latency; the largest still fits the second-level cache.
LEAST_AHEAD_BYTES = cython.declare(cython.size_t, 256 << 10)
MOST_AHEAD_BYTES = cython.declare(cython.size_t, 1 << 20)
# What a cold walk through the cache loads at once is bounded in bytes too.
MOST_WARM_BYTES = cython.declare(uint64_t, 256 << 10)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ahead_init(c: cython.pointer[RunCursor]) -> cython.void:
    c.ahead_next_bytes = LEAST_AHEAD_BYTES
    c.warm_next = 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ahead_free(c: cython.pointer[RunCursor]) -> cython.void:
    drop_warm(c)
    free(c.ahead)
    c.ahead = cython.NULL
    c.ahead_bytes = c.ahead_capacity_bytes = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def warm_up(c: cython.pointer[RunCursor], forward: cython.bint) -> cython.void:
    """Load the blocks that come next too. Held, because a look-up would mark them as used: a scan must not.

    What cannot be read is no failure before the cursor gets there.
    """
    t: cython.pointer[Table] = c.tables[c.table_index]
    n: uint32_t = c.warm_next - 1
    left: uint32_t = t.blocks - 1 - c.block_index if forward else c.block_index
    drop_warm(c)
    if c.warm_next < MOST_WARM_BLOCKS:
        c.warm_next *= 2
    if n > left:
        n = left
    while n > 0 and stretch_bytes(c, t, n, forward) > MOST_WARM_BYTES:
        n -= 1
    c.warm_table = c.table_index
    c.warm_start = c.block_index + 1 if forward else c.block_index - n
    i: uint32_t
    for i in range(n):
        c.warm[i] = table_cached_block(t, c.warm_start + i)
    c.warm_count = n
    load_missing(c, t)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def stretch_bytes(
    c: cython.pointer[RunCursor], t: cython.pointer[Table], n: uint32_t, forward: cython.bint
) -> uint64_t:
    """In the file, of the n blocks that come next."""
    start: uint32_t = c.block_index + 1 if forward else c.block_index - n
    return t.block_offsets[start + n] - t.block_offsets[start]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_missing(c: cython.pointer[RunCursor], t: cython.pointer[Table]) -> cython.void:
    """The warm blocks that are not in memory: neighbours by one read."""
    ignored: Failure
    i: uint32_t = 0
    stop: uint32_t
    offset: uint64_t
    n: cython.size_t
    while i < c.warm_count:
        stop = i
        while stop < c.warm_count and c.warm[stop] == cython.NULL:
            stop += 1
        if stop == i:
            i += 1
            continue
        offset = t.block_offsets[c.warm_start + i]
        n = t.block_offsets[c.warm_start + stop] - offset
        if (
            not reserve(cython.address(c.ahead), cython.address(c.ahead_capacity_bytes), n)
            or table_read(t, c.ahead, n, offset, cython.address(ignored)) != ST_OK
        ):
            return
        while i < stop:
            c.warm[i] = table_keep_block(
                t,
                c.warm_start + i,
                c.ahead + (t.block_offsets[c.warm_start + i] - offset),
                cython.address(ignored),
            )
            i += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_warm(
    c: cython.pointer[RunCursor], table_index: uint32_t, block_index: uint32_t
) -> cython.pointer[Block]:
    """Hand over the cursor's reference. NULL: it is not there, and none of the others is kept."""
    b: cython.pointer[Block]
    if c.warm_count == 0:
        return cython.NULL
    # Unsigned: a block before the first is far behind the last.
    if table_index == c.warm_table and block_index - c.warm_start < c.warm_count:
        b = c.warm[block_index - c.warm_start]
        c.warm[block_index - c.warm_start] = cython.NULL
        if b != cython.NULL:
            return b
    drop_warm(c)
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_warm(c: cython.pointer[RunCursor]) -> cython.void:
    i: uint32_t
    for i in range(c.warm_count):
        if c.warm[i] != cython.NULL:
            block_release(c.warm[i])
    c.warm_count = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_block(
    c: cython.pointer[RunCursor],
    table_index: uint32_t,
    block_index: uint32_t,
    forward: cython.bint,
    f: cython.pointer[Failure],
) -> cython.pointer[Block]:
    """Decode a block of the cursor's own out of the read-ahead, which is filled first where it has to be."""
    t: cython.pointer[Table] = c.tables[table_index]
    offset: uint64_t = t.block_offsets[block_index]
    n: cython.size_t = t.block_offsets[block_index + 1] - offset
    if table_index != c.table_index:
        c.ahead_bytes = 0
    if offset < c.ahead_offset or offset + n > c.ahead_offset + c.ahead_bytes:
        if not fill_ahead(c, t, offset, n, forward, f):
            return cython.NULL
    return table_cook(t, c.ahead + (offset - c.ahead_offset), n, offset, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fill_ahead(
    c: cython.pointer[RunCursor],
    t: cython.pointer[Table],
    offset: uint64_t,
    n: cython.size_t,
    forward: cython.bint,
    f: cython.pointer[Failure],
) -> cython.bint:
    """Read n bytes from offset on at least; when going forward, more of the data blocks behind them."""
    wanted_bytes: cython.size_t = n
    left_bytes: uint64_t = t.block_offsets[t.blocks] - offset
    if forward and wanted_bytes < c.ahead_next_bytes:
        wanted_bytes = c.ahead_next_bytes
        if wanted_bytes > left_bytes:
            wanted_bytes = left_bytes
        if c.ahead_next_bytes < MOST_AHEAD_BYTES:
            c.ahead_next_bytes *= 2
    c.ahead_bytes = 0
    if c.ahead_capacity_bytes > 2 * MOST_AHEAD_BYTES and wanted_bytes <= MOST_AHEAD_BYTES:
        free(c.ahead)  # it was grown for one large block
        c.ahead = cython.NULL
        c.ahead_capacity_bytes = 0
    if not reserve(cython.address(c.ahead), cython.address(c.ahead_capacity_bytes), wanted_bytes):
        fail_nomem(f)
        return False
    if table_read(t, c.ahead, wanted_bytes, offset, f) != ST_OK:
        return False
    c.ahead_offset = offset
    c.ahead_bytes = wanted_bytes
    return True
