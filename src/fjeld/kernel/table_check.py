"""Reads a whole table and asserts what a reader relies on:

1. every checksum matches and every length is sound (RUN_STREAM sees to that);
2. keys ascend, and the versions of a key descend;
3. the index names the last key of every block, and leads to every key;
4. the filter lets every key through;
5. smallest, largest and the counts are those of the properties.
"""

import cython
from cython.cimports.fjeld.kernel.checksum import fj_xxh64
from cython.cimports.fjeld.kernel.coding import KIND_TOMBSTONE, KIND_WEAK_TOMBSTONE, fj_compare
from cython.cimports.fjeld.kernel.failure import (
    ST_END,
    ST_OK,
    fail_corrupt,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.run import run_close, run_first, run_init, run_next
from cython.cimports.fjeld.kernel.table import (
    RUN_STREAM,
    table_covers,
    table_find_block,
    table_may_contain,
)
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memcpy, memset

from fjeld.errors import CorruptionError


def check_table(reader: TableReader) -> dict:
    """CorruptionError, or what was counted."""
    f: Failure
    census: Census
    status: cython.int
    failure_clear(cython.address(f))
    memset(cython.address(census), 0, cython.sizeof(Census))
    with cython.nogil:
        status = walk(reader.table, cython.address(census), cython.address(f))
    if status != ST_OK:
        raise_failure(cython.address(f))
    found: dict = {
        "entries": census.entries,
        "keys": census.keys,
        "tombstones": census.tombstones,
        "weak_tombstones": census.weak_tombstones,
        "min_seqno": census.min_seqno,
        "max_seqno": census.max_seqno,
        "raw_bytes": census.raw_bytes,
    }
    if reader.table.seqno_tag and reader.properties.get("max_seqno") == 0:
        found["min_seqno"] = found["max_seqno"] = 0  # ingested: what was counted is what the manifest says
    for name, count in found.items():
        if reader.properties.get(name) != count:
            raise CorruptionError(
                f"the properties say {reader.properties.get(name)} {name}, there are {count}",
                path=reader.path,
                offset=reader.table.footer.properties_offset,
            )
    return found


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def walk(t: cython.pointer[Table], census: cython.pointer[Census], f: cython.pointer[Failure]) -> cython.int:
    c: RunCursor
    run_init(cython.address(c), cython.address(t), 1, RUN_STREAM)
    status: cython.int = run_first(cython.address(c), f)
    while status == ST_OK:
        status = visit(t, cython.address(c), census, f)
        if status == ST_OK:
            status = run_next(cython.address(c), f)
    run_close(cython.address(c))
    free(census.previous)
    return ST_OK if status == ST_END else status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def visit(
    t: cython.pointer[Table],
    c: cython.pointer[RunCursor],
    census: cython.pointer[Census],
    f: cython.pointer[Failure],
) -> cython.int:
    offset: uint64_t = t.block_offsets[c.block_index]
    order: cython.int = -1
    seqno: uint64_t = c.tag >> 8
    if census.entries > 0:
        order = fj_compare(census.previous, census.previous_bytes, c.key, c.key_bytes)
        if order > 0 or (order == 0 and census.previous_tag <= c.tag):
            return fail_corrupt(f, t.path, offset, "entries out of order")
    elif fj_compare(t.smallest, t.smallest_bytes, c.key, c.key_bytes) != 0:
        return fail_corrupt(f, t.path, offset, "the smallest key is not that of the properties")
    if order != 0:
        if not table_covers(t, c.key, c.key_bytes):
            return fail_corrupt(f, t.path, offset, "a key outside the range of the table")
        if not table_may_contain(t, fj_xxh64(c.key, c.key_bytes)):
            return fail_corrupt(f, t.path, offset, "a key that the filter does not know")
        if table_find_block(t, c.key, c.key_bytes) != c.block_index:
            return fail_corrupt(f, t.path, offset, "a key that the index does not lead to")
        if not reserve(
            cython.address(census.previous), cython.address(census.previous_capacity_bytes), c.key_bytes
        ):
            return fail_nomem(f)
        memcpy(census.previous, c.key, c.key_bytes)
        census.previous_bytes = c.key_bytes
        census.keys += 1
    if c.entry_index + 1 == c.block.count and not is_last_key(t, c):
        return fail_corrupt(f, t.path, offset, "a block whose last key is not that of the index")
    if census.entries == 0 or seqno < census.min_seqno:
        census.min_seqno = seqno
    if seqno > census.max_seqno:
        census.max_seqno = seqno
    census.previous_tag = c.tag
    census.entries += 1
    census.tombstones += (c.tag & 0xFF) == KIND_TOMBSTONE
    census.weak_tombstones += (c.tag & 0xFF) == KIND_WEAK_TOMBSTONE
    census.raw_bytes += c.key_bytes + c.value_bytes
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_last_key(t: cython.pointer[Table], c: cython.pointer[RunCursor]) -> cython.bint:
    start: uint32_t = t.key_offsets[c.block_index]
    n: uint32_t = t.key_offsets[c.block_index + 1] - start
    return fj_compare(t.keys + start, n, c.key, c.key_bytes) == 0
