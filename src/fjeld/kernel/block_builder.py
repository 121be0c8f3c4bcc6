"""Builds the payload of a data block (the picture is in block.py).

Entries are kept with whole keys until the block is full: only then is it known what prefix they share.
"""

import cython
from cython.cimports.fjeld.kernel.coding import (
    cbytes,
    fj_common_prefix,
    fj_load32,
    fj_load64,
    fj_put_varint,
    fj_store32,
    fj_store64,
    fj_varint_bytes,
)
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.trailer import TRAILER_BYTES
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memcpy, memset

# The block's own two varints, at their longest.
BLOCK_OVERHEAD_BYTES = cython.declare(cython.size_t, 20)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def builder_init(b: cython.pointer[BlockBuilder]) -> cython.int:
    memset(b, 0, cython.sizeof(BlockBuilder))
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def builder_free(b: cython.pointer[BlockBuilder]) -> cython.void:
    free(b.entries)
    free(b.out)
    memset(b, 0, cython.sizeof(BlockBuilder))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def builder_add(
    b: cython.pointer[BlockBuilder],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    value: cbytes,
    value_bytes: cython.size_t,
) -> cython.int:
    end_bytes: cython.size_t = b.bytes + ENTRY_HEADER_BYTES + key_bytes + value_bytes
    if end_bytes > b.capacity_bytes and not reserve(
        cython.address(b.entries), cython.address(b.capacity_bytes), end_bytes
    ):
        return ST_NOMEM
    p: cython.pointer[uint8_t] = b.entries + b.bytes
    fj_store32(p, cython.cast(uint32_t, key_bytes))
    fj_store32(p + 4, cython.cast(uint32_t, value_bytes))
    fj_store64(p + 8, tag)
    p += ENTRY_HEADER_BYTES
    memcpy(p, key, key_bytes)
    memcpy(p + key_bytes, value, value_bytes)
    if b.count == 0:
        b.first_bytes = key_bytes
        b.prefix_bytes = cython.cast(uint32_t, key_bytes)
    else:
        b.prefix_bytes = prefix_with(b, key, key_bytes)
    b.body_bytes += entry_bytes(key_bytes, tag, value_bytes)
    b.bytes = end_bytes
    b.count += 1
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def builder_bytes_with(
    b: cython.pointer[cython.const[BlockBuilder]],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    value_bytes: cython.size_t,
) -> cython.size_t:
    """An upper bound, off by the few bytes that shorter suffixes save in their own lengths."""
    prefix_bytes: cython.size_t = key_bytes if b.count == 0 else prefix_with(b, key, key_bytes)
    return (
        fj_varint_bytes(b.count + 1)
        + fj_varint_bytes(prefix_bytes)
        + b.body_bytes
        + entry_bytes(key_bytes, tag, value_bytes)
        - b.count * prefix_bytes
    )


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def prefix_with(
    b: cython.pointer[cython.const[BlockBuilder]],
    key: cbytes,
    key_bytes: cython.size_t,
) -> uint32_t:
    return cython.cast(
        uint32_t, fj_common_prefix(b.entries + ENTRY_HEADER_BYTES, b.prefix_bytes, key, key_bytes)
    )


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def entry_bytes(key_bytes: cython.size_t, tag: uint64_t, value_bytes: cython.size_t) -> cython.size_t:
    """Of an entry whose key is written in full."""
    return (
        fj_varint_bytes(key_bytes)
        + fj_varint_bytes(value_bytes)
        + fj_varint_bytes(tag >> 8 << 3)
        + key_bytes
        + value_bytes
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def builder_finish(
    b: cython.pointer[BlockBuilder], out: cython.pointer[cython.pointer[uint8_t]]
) -> cython.size_t:
    most_bytes: cython.size_t = BLOCK_OVERHEAD_BYTES + b.first_bytes + b.body_bytes + TRAILER_BYTES
    if most_bytes > b.out_capacity_bytes and not reserve(
        cython.address(b.out), cython.address(b.out_capacity_bytes), most_bytes
    ):
        return 0
    i: uint32_t
    key_bytes: uint32_t
    value_bytes: uint32_t
    tag: uint64_t
    prefix_bytes: uint32_t = b.prefix_bytes
    source: cbytes = b.entries
    p: cython.pointer[uint8_t] = fj_put_varint(b.out, b.count)
    p = fj_put_varint(p, prefix_bytes)
    memcpy(p, source + ENTRY_HEADER_BYTES, prefix_bytes)
    p += prefix_bytes
    for i in range(b.count):
        key_bytes = fj_load32(source)
        value_bytes = fj_load32(source + 4)
        tag = fj_load64(source + 8)
        p = fj_put_varint(p, key_bytes - prefix_bytes)
        p = fj_put_varint(p, value_bytes)
        p = fj_put_varint(p, tag >> 8 << 3 | tag & 7)
        source += ENTRY_HEADER_BYTES + prefix_bytes
        # Suffix and value lie together in both.
        memcpy(p, source, cython.cast(cython.size_t, key_bytes - prefix_bytes) + value_bytes)
        source += cython.cast(cython.size_t, key_bytes - prefix_bytes) + value_bytes
        p += cython.cast(cython.size_t, key_bytes - prefix_bytes) + value_bytes
    b.bytes = b.body_bytes = b.first_bytes = 0
    b.count = b.prefix_bytes = 0
    out[0] = b.out
    return p - b.out


def encode_block(entries: object) -> bytes:
    """The payload of a block of (key, tag, value)s in order."""
    b: BlockBuilder
    out: cython.pointer[uint8_t] = cython.NULL
    key: bytes
    value: bytes
    tag: uint64_t
    builder_init(cython.address(b))
    try:
        for key, tag, value in entries:
            if builder_add(cython.address(b), key, len(key), tag, value, len(value)) != ST_OK:
                raise MemoryError()
        if b.count == 0:
            raise ValueError("a block holds one entry at least")
        size: cython.size_t = builder_finish(cython.address(b), cython.address(out))
        if size == 0:
            raise MemoryError()
        return cython.cast(cython.p_char, out)[:size]
    finally:
        builder_free(cython.address(b))


def predicted_bytes(entries: object) -> int:
    """What the builder expects the payload to be before it encodes it: never less than it will be."""
    b: BlockBuilder
    expected: cython.size_t = 0
    key: bytes
    value: bytes
    tag: uint64_t
    builder_init(cython.address(b))
    try:
        for key, tag, value in entries:
            expected = builder_bytes_with(cython.address(b), key, len(key), tag, len(value))
            if builder_add(cython.address(b), key, len(key), tag, value, len(value)) != ST_OK:
                raise MemoryError()
        return expected
    finally:
        builder_free(cython.address(b))
