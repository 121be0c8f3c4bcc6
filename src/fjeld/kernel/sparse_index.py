"""The sparse index of a table: encoding, and the arrays that a look-up searches.

payload =  v  blocks
           then per block, in order
           v  length of its last key shared with the previous block's last key
           v  length of the rest; then the rest
           v  length of the block in the file, trailer included      (offsets follow by adding up)
"""

import cython
from cython.cimports.fjeld.kernel.coding import (
    MAX_KEY_BYTES,
    cbytes,
    fj_common_prefix,
    fj_compare,
    fj_get_varint,
    fj_head64,
    fj_put_varint,
    fj_varint_bytes,
)
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.trailer import TRAILER_BYTES
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcpy, memmove, memset

from fjeld.errors import CorruptionError

VARINT_BYTES = cython.declare(cython.size_t, 10)  # the longest


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def index_decode(
    payload: cbytes,
    n: cython.size_t,
    blocks: uint32_t,
    data_bytes: uint64_t,
    index: cython.pointer[SparseIndex],
    why: cython.pointer[cython.p_const_char],
) -> cython.int:
    """Twice over the payload: first prove every length and add them up, then copy."""
    keys_bytes: uint64_t = 0
    entries: cbytes = cython.NULL
    why[0] = measure(
        payload, payload + n, blocks, data_bytes, cython.address(entries), cython.address(keys_bytes)
    )
    if why[0] != cython.NULL:
        return ST_CORRUPT
    memory_bytes: uint64_t = (cython.cast(uint64_t, blocks) + 1) * 20 + keys_bytes
    memory: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], malloc(memory_bytes))
    if memory == cython.NULL:
        return ST_NOMEM
    index.blocks = blocks
    index.memory_bytes = memory_bytes
    index.block_offsets = cython.cast(cython.pointer[uint64_t], memory)
    index.heads = index.block_offsets + blocks + 1
    index.key_offsets = cython.cast(cython.pointer[uint32_t], index.heads + blocks + 1)
    index.keys = cython.cast(cython.pointer[uint8_t], index.key_offsets + blocks + 1)
    if fill(entries, payload + n, index):
        return ST_OK
    free(memory)
    index.block_offsets = cython.NULL
    why[0] = "an index whose keys are out of order"
    return ST_CORRUPT


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def measure(
    p: cbytes,
    end: cbytes,
    blocks: uint32_t,
    data_bytes: uint64_t,
    entries: cython.pointer[cbytes],
    keys_bytes: cython.pointer[uint64_t],
) -> cython.p_const_char:
    """NULL, or what is wrong."""
    i: uint32_t
    count: uint64_t = 0
    shared: uint64_t = 0
    rest: uint64_t = 0
    block_bytes: uint64_t = 0
    key_bytes: uint64_t = 0
    left_bytes: uint64_t = data_bytes
    p = fj_get_varint(p, end, cython.address(count))
    if p == cython.NULL or count != blocks:
        return "an index of another number of blocks than the footer's"
    entries[0] = p
    for i in range(blocks):
        p = fj_get_varint(p, end, cython.address(shared))
        if p == cython.NULL or shared > key_bytes:
            return "an index with an impossible shared length"
        p = fj_get_varint(p, end, cython.address(rest))
        if p == cython.NULL or rest > MAX_KEY_BYTES - shared or rest > cython.cast(uint64_t, end - p):
            return "an index with an impossible key length"
        p = fj_get_varint(p + rest, end, cython.address(block_bytes))
        if p == cython.NULL or block_bytes <= TRAILER_BYTES or block_bytes > left_bytes:
            return "an index with an impossible block length"
        key_bytes = shared + rest
        keys_bytes[0] += key_bytes
        left_bytes -= block_bytes
    if p != end or left_bytes != 0 or keys_bytes[0] > MAX_INDEX_KEYS_BYTES:
        return "an index that does not add up to the file's size"
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fill(
    p: cbytes,
    end: cbytes,
    index: cython.pointer[SparseIndex],
) -> cython.bint:
    """Whether the keys ascend; two are equal where the versions of a key span blocks. Requires: measured."""
    i: uint32_t
    shared: uint64_t = 0
    rest: uint64_t = 0
    block_bytes: uint64_t = 0
    key: cython.pointer[uint8_t] = index.keys
    previous: cython.pointer[uint8_t] = index.keys
    previous_bytes: uint64_t = 0
    offset: uint64_t = 0
    for i in range(index.blocks):
        p = fj_get_varint(p, end, cython.address(shared))
        p = fj_get_varint(p, end, cython.address(rest))
        memmove(key, previous, shared)
        memcpy(key + shared, p, rest)
        p = fj_get_varint(p + rest, end, cython.address(block_bytes))
        if fj_compare(previous, previous_bytes, key, shared + rest) > 0:
            return False
        index.key_offsets[i] = cython.cast(uint32_t, key - index.keys)
        index.block_offsets[i] = offset
        offset += block_bytes
        previous = key
        previous_bytes = shared + rest
        key += previous_bytes
    index.key_offsets[index.blocks] = cython.cast(uint32_t, key - index.keys)
    index.block_offsets[index.blocks] = offset
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def index_heads(index: cython.pointer[SparseIndex], prefix_bytes: uint32_t) -> cython.void:
    """Requires: every last key has prefix_bytes at least."""
    i: uint32_t
    start: uint32_t
    for i in range(index.blocks):
        start = index.key_offsets[i] + prefix_bytes
        index.heads[i] = fj_head64(index.keys + start, index.key_offsets[i + 1] - start)


# ---- the builder ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def index_init(b: cython.pointer[IndexBuilder]) -> cython.void:
    memset(b, 0, cython.sizeof(IndexBuilder))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def index_free(b: cython.pointer[IndexBuilder]) -> cython.void:
    free(b.entries)
    free(b.last_key)
    memset(b, 0, cython.sizeof(IndexBuilder))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def index_add(
    b: cython.pointer[IndexBuilder],
    last_key: cbytes,
    key_bytes: cython.size_t,
    block_bytes: uint64_t,
) -> cython.int:
    shared: cython.size_t = fj_common_prefix(b.last_key, b.last_bytes, last_key, key_bytes)
    rest: cython.size_t = key_bytes - shared
    p: cython.pointer[uint8_t]
    if not reserve(
        cython.address(b.entries), cython.address(b.capacity_bytes), b.bytes + 3 * VARINT_BYTES + rest
    ) or not reserve(cython.address(b.last_key), cython.address(b.last_capacity_bytes), key_bytes):
        return ST_NOMEM
    p = fj_put_varint(b.entries + b.bytes, shared)
    p = fj_put_varint(p, rest)
    memcpy(p, last_key + shared, rest)
    p = fj_put_varint(p + rest, block_bytes)
    memcpy(b.last_key + shared, last_key + shared, rest)
    b.bytes = p - b.entries
    b.last_bytes = key_bytes
    b.keys_bytes += key_bytes
    b.blocks += 1
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def index_finish(
    b: cython.pointer[IndexBuilder], out: cython.pointer[cython.pointer[uint8_t]]
) -> cython.size_t:
    count_bytes: cython.size_t = fj_varint_bytes(b.blocks)
    wanted_bytes: cython.size_t = b.bytes + count_bytes + TRAILER_BYTES
    if not reserve(cython.address(b.entries), cython.address(b.capacity_bytes), wanted_bytes):
        return 0
    memmove(b.entries + count_bytes, b.entries, b.bytes)
    fj_put_varint(b.entries, b.blocks)
    b.bytes += count_bytes
    out[0] = b.entries
    return b.bytes


# ---- the Python face: for tests, fuzzing and tools ----


def encode_index(blocks: object) -> bytes:
    """The payload for (last key, length of the block)s."""
    b: IndexBuilder
    out: cython.pointer[uint8_t] = cython.NULL
    key: bytes
    length: uint64_t
    index_init(cython.address(b))
    try:
        for key, length in blocks:
            if index_add(cython.address(b), key, len(key), length) != ST_OK:
                raise MemoryError()
        size: cython.size_t = index_finish(cython.address(b), cython.address(out))
        if size == 0:
            raise MemoryError()
        return cython.cast(cython.p_char, out)[:size]
    finally:
        index_free(cython.address(b))


def decode_index(payload: bytes, blocks: uint32_t, data_bytes: uint64_t) -> list:
    """The (last key, offset)s of a payload. CorruptionError where it is not that of an index."""
    index: SparseIndex
    why: cython.p_const_char = cython.NULL
    status: cython.int = index_decode(
        payload, len(payload), blocks, data_bytes, cython.address(index), cython.address(why)
    )
    if status == ST_NOMEM:
        raise MemoryError()
    if status != ST_OK:
        raise CorruptionError(cython.cast(bytes, why).decode())
    try:
        return [(last_key(cython.address(index), i), index.block_offsets[i]) for i in range(blocks)]
    finally:
        free(index.block_offsets)


@cython.cfunc
def last_key(index: cython.pointer[SparseIndex], i: uint32_t) -> bytes:
    start: cython.p_char = cython.cast(cython.p_char, index.keys + index.key_offsets[i])
    return start[: index.key_offsets[i + 1] - index.key_offsets[i]]
