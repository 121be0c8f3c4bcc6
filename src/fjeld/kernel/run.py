"""The cursor over a run: forward, backward and seeking over the tables of a level, one entry at a time.

A movement within a block parses one entry. A movement out of it enters another block with a Movement, which
says where to stand in it; `settle` carries it out, and goes on to further blocks where it has to. In
RUN_CACHED a block that is not in memory stops the movement with ST_COLD; `run_load` reads the block and lets
the movement go on.

Invariants:

1. `block` is NULL, or it is block `block_index` of table `table_index`, and the cursor has a reference to it.
2. While valid: `entry_index < block.count`; key and value point into the block, but for a key whose block has
   a common prefix: that is put together in `key_buffer`, whose first prefix_bytes are the prefix for as long
   as `prefix_of` is the block.

A cursor is for one thread. Its tables are borrowed and outlive it.
"""

import cython
from cython.cimports.fjeld.kernel.block import block_release, block_seek
from cython.cimports.fjeld.kernel.coding import (
    cbytes,
    fj_atomic_add,
    fj_atomic_load,
    fj_compare,
    fj_get_varint,
    fj_head64,
)
from cython.cimports.fjeld.kernel.failure import (
    ST_COLD,
    ST_END,
    ST_OK,
    fail_nomem,
)
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.run_ahead import ahead_free, ahead_init, read_block, take_warm, warm_up
from cython.cimports.fjeld.kernel.table import (
    LOOK_WAIT,
    RUN_STREAM,
    table_cached_block,
    table_find_block,
    table_load_block,
)
from cython.cimports.fjeld.kernel.table_file import table_ensure
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memcpy, memset

# Blocks whose index is known only once their table is open: tables are opened where they are first read.
AT_LAST_BLOCK = cython.declare(uint32_t, 0xFFFFFFFF)
AT_TARGET_BLOCK = cython.declare(uint32_t, 0xFFFFFFFE)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_init(
    c: cython.pointer[RunCursor],
    tables: cython.pointer[cython.pointer[Table]],
    table_count: uint32_t,
    mode: cython.int,
) -> cython.int:
    """Allocates nothing; always ST_OK."""
    memset(c, 0, cython.sizeof(RunCursor))
    c.tables = tables
    c.table_count = table_count
    c.mode = mode
    ahead_init(c)
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_close(c: cython.pointer[RunCursor]) -> cython.void:
    leave_block(c)
    ahead_free(c)
    free(c.key_buffer)
    free(c.target_copy)
    c.key_buffer = cython.NULL
    c.target_copy = cython.NULL
    c.key_buffer_bytes = c.target_capacity_bytes = 0


# ---- movements ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_first(c: cython.pointer[RunCursor], f: cython.pointer[Failure]) -> cython.int:
    if c.table_count == 0:
        return at_end(c)
    return settle(c, 0, 0, TO_FIRST, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_last(c: cython.pointer[RunCursor], f: cython.pointer[Failure]) -> cython.int:
    if c.table_count == 0:
        return at_end(c)
    last: uint32_t = c.table_count - 1
    return settle(c, last, AT_LAST_BLOCK, TO_LAST, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_seek(
    c: cython.pointer[RunCursor],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    f: cython.pointer[Failure],
) -> cython.int:
    table_index: uint32_t = find_table(c, key, key_bytes)
    if table_index == c.table_count:
        return at_end(c)
    return settle_at(c, key, key_bytes, tag, table_index, TO_TARGET, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_seek_before(
    c: cython.pointer[RunCursor],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    f: cython.pointer[Failure],
) -> cython.int:
    table_index: uint32_t = find_table(c, key, key_bytes)
    if table_index == c.table_count:
        return run_last(c, f)
    return settle_at(c, key, key_bytes, tag, table_index, BEFORE_TARGET, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_next(c: cython.pointer[RunCursor], f: cython.pointer[Failure]) -> cython.int:
    if not c.valid:
        return ST_END
    if c.entry_index + 1 < c.block.count:
        return stand_on(c, c.entry_index + 1, f)
    if c.block_index + 1 < c.tables[c.table_index].blocks:
        return settle(c, c.table_index, c.block_index + 1, TO_FIRST, f)
    if c.table_index + 1 < c.table_count:
        return settle(c, c.table_index + 1, 0, TO_FIRST, f)
    return at_end(c)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_prev(c: cython.pointer[RunCursor], f: cython.pointer[Failure]) -> cython.int:
    if not c.valid:
        return ST_END
    if c.entry_index > 0:
        return stand_on(c, c.entry_index - 1, f)
    return go_before(c, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_load(c: cython.pointer[RunCursor], f: cython.pointer[Failure]) -> cython.int:
    """Also loads what stands in the way of the rest of the movement: never ST_COLD."""
    status: cython.int = ST_COLD
    while status == ST_COLD:
        status = table_ensure(c.tables[c.table_index], f)
        if status != ST_OK:
            return status
        c.block_index = which_block(c, c.table_index, c.block_index)
        c.block = table_load_block(c.tables[c.table_index], c.block_index, LOOK_WAIT, f)
        if c.block == cython.NULL:
            return f.status
        if c.pending == TO_FIRST or c.pending == TO_LAST:
            warm_up(c, c.pending == TO_FIRST)
        status = settle(c, c.table_index, c.block_index, c.pending, f)
    return status


# ---- inside ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def settle_at(
    c: cython.pointer[RunCursor],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    table_index: uint32_t,
    movement: cython.int,
    f: cython.pointer[Failure],
) -> cython.int:
    held: cython.pointer[Block] = c.block  # the key may lie in it: keep it until the movement is done
    if held != cython.NULL:
        fj_atomic_add(cython.address(held.refs), 1)
    c.target = key
    c.target_bytes = key_bytes
    c.target_tag = tag
    status: cython.int = settle(c, table_index, AT_TARGET_BLOCK, movement, f)
    if held != cython.NULL:
        block_release(held)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def settle(
    c: cython.pointer[RunCursor],
    table_index: uint32_t,
    block_index: uint32_t,
    movement: cython.int,
    f: cython.pointer[Failure],
) -> cython.int:
    """Carry out a movement that begins in this block."""
    i: uint32_t
    status: cython.int
    while True:
        status = enter_block(c, table_index, block_index, movement, f)
        if status != ST_OK:
            return status
        block_index = c.block_index
        if movement == TO_FIRST:
            return stand_on(c, 0, f)
        if movement == TO_LAST:
            return stand_on(c, c.block.count - 1, f)
        i = block_seek(c.block, c.target, c.target_bytes, c.target_tag)
        if i < c.block.count:
            break
        # All versions of the key in this block are newer than the target: they may go on in the next block,
        # but never in the next table.
        if block_index + 1 < c.tables[table_index].blocks:
            block_index += 1
        elif movement == BEFORE_TARGET:
            return stand_on(c, c.block.count - 1, f)
        elif table_index + 1 < c.table_count:
            table_index += 1
            block_index = 0
            movement = TO_FIRST
        else:
            return at_end(c)
    if movement == TO_TARGET:
        return stand_on(c, i, f)
    if i > 0:
        return stand_on(c, i - 1, f)
    return go_before(c, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def go_before(c: cython.pointer[RunCursor], f: cython.pointer[Failure]) -> cython.int:
    """To the last entry before the current block."""
    if c.block_index > 0:
        return settle(c, c.table_index, c.block_index - 1, TO_LAST, f)
    if c.table_index > 0:
        return settle(c, c.table_index - 1, AT_LAST_BLOCK, TO_LAST, f)
    return at_end(c)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def enter_block(
    c: cython.pointer[RunCursor],
    table_index: uint32_t,
    block_index: uint32_t,
    movement: cython.int,
    f: cython.pointer[Failure],
) -> cython.int:
    """Make this the current block: ST_OK, ST_COLD or a failure."""
    t: cython.pointer[Table] = c.tables[table_index]
    b: cython.pointer[Block] = cython.NULL
    status: cython.int = ST_OK
    c.valid = False
    if not fj_atomic_load(cython.address(t.opened)):
        status = table_ensure(t, f) if c.mode == RUN_STREAM else keep_target(c, movement, f)
    if status == ST_OK:
        block_index = which_block(c, table_index, block_index)
        if c.block != cython.NULL and c.table_index == table_index and c.block_index == block_index:
            return ST_OK
    if status != ST_OK:
        pass  # which block it is will be known once the table is open
    elif c.mode == RUN_STREAM:
        b = read_block(c, table_index, block_index, movement == TO_FIRST, f)
        if b == cython.NULL:
            status = f.status
    else:
        b = take_warm(c, table_index, block_index)
        if b == cython.NULL:
            b = table_cached_block(t, block_index)
        if b == cython.NULL:
            status = keep_target(c, movement, f)
    leave_block(c)
    c.table_index = table_index
    c.block_index = block_index
    c.block = b
    return status


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def which_block(c: cython.pointer[RunCursor], table_index: uint32_t, block_index: uint32_t) -> uint32_t:
    """The index that is meant. Requires: the table is open."""
    if block_index == AT_LAST_BLOCK:
        return c.tables[table_index].blocks - 1
    if block_index == AT_TARGET_BLOCK:
        return table_find_block(c.tables[table_index], c.target, c.target_bytes)
    return block_index


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def keep_target(c: cython.pointer[RunCursor], movement: cython.int, f: cython.pointer[Failure]) -> cython.int:
    """Remember a movement that cannot go on yet: ST_COLD, or no memory."""
    c.pending = movement
    if (movement == TO_TARGET or movement == BEFORE_TARGET) and c.target != c.target_copy:
        if not reserve(
            cython.address(c.target_copy), cython.address(c.target_capacity_bytes), c.target_bytes
        ):
            return fail_nomem(f)
        memcpy(c.target_copy, c.target, c.target_bytes)
        c.target = c.target_copy
    return ST_COLD


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def leave_block(c: cython.pointer[RunCursor]) -> cython.void:
    c.valid = False
    if c.block != cython.NULL:
        block_release(c.block)
        c.block = cython.NULL
    c.prefix_of = cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def at_end(c: cython.pointer[RunCursor]) -> cython.int:
    leave_block(c)
    return ST_END


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def stand_on(c: cython.pointer[RunCursor], i: uint32_t, f: cython.pointer[Failure]) -> cython.int:
    """Make entry i of the current block the current entry."""
    b: cython.pointer[Block] = c.block
    end: cbytes = b.payload + b.payload_bytes
    p: cbytes = b.payload + b.offsets[i]
    suffix_bytes: uint64_t = 0
    value_bytes: uint64_t = 0
    packed_tag: uint64_t = 0
    p = fj_get_varint(p, end, cython.address(suffix_bytes))
    p = fj_get_varint(p, end, cython.address(value_bytes))
    p = fj_get_varint(p, end, cython.address(packed_tag))
    c.entry_index = i
    c.tag = packed_tag >> 3 << 8 | packed_tag & 7 | b.seqno_tag
    c.value = p + suffix_bytes
    c.value_bytes = cython.cast(uint32_t, value_bytes)
    c.key_bytes = b.prefix_bytes + cython.cast(uint32_t, suffix_bytes)
    if b.prefix_bytes == 0:
        c.key = p
    else:
        if (c.prefix_of != b or c.key_buffer_bytes < c.key_bytes) and not ready_prefix(c):
            c.valid = False
            return fail_nomem(f)
        memcpy(c.key_buffer + b.prefix_bytes, p, suffix_bytes)
        c.key = c.key_buffer
    c.head = fj_head64(c.key, c.key_bytes)
    c.valid = True
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def ready_prefix(c: cython.pointer[RunCursor]) -> cython.bint:
    """The block's prefix at the front of key_buffer, and room for the key behind it. False: no memory."""
    if not reserve(cython.address(c.key_buffer), cython.address(c.key_buffer_bytes), c.key_bytes):
        return False
    memcpy(c.key_buffer, c.block.prefix, c.block.prefix_bytes)
    c.prefix_of = c.block
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_table(c: cython.pointer[RunCursor], key: cbytes, key_bytes: cython.size_t) -> uint32_t:
    """The first table whose largest key is not less than key; table_count if there is none."""
    low: uint32_t = 0
    high: uint32_t = c.table_count
    middle: uint32_t
    while low < high:
        middle = low + (high - low) // 2
        if fj_compare(c.tables[middle].largest, c.tables[middle].largest_bytes, key, key_bytes) < 0:
            low = middle + 1
        else:
            high = middle
    return low
