"""A data block in memory: made from its payload, searched by look-ups.

    payload =  v  entries (> 0)
               v  prefix length; then the prefix that all keys of the block share
               then per entry
               v  suffix length (key without the prefix)
               v  value length
               v  seqno << 3 | kind
               -  suffix, value

(docs/FORMATS.md, *Table*.) Invariants of a block in memory:

1. Every length was checked when it was cooked: reading an entry needs no check and cannot fail.
2. `heads[i]` is the big-endian head of suffix i, so heads ascend as the keys do.
3. All but `refs`, `visited` and the cache's links is constant: any thread that holds a reference may read.
"""

import cython
from cython.cimports.fjeld.kernel.coding import (
    KIND_BLOB,
    KIND_MAX,
    MAX_KEY_BYTES,
    POINTER_BYTES,
    cbytes,
    fj_atomic_add,
    fj_compare,
    fj_get_varint,
    fj_head32,
)
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcmp, memcpy, memset

from fjeld.errors import CorruptionError

MAX_UINT32 = cython.declare(uint32_t, 0xFFFFFFFF)

# ---- the block in memory ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def block_cook(
    payload: cython.pointer[uint8_t],
    payload_bytes: uint32_t,
    why: cython.pointer[cython.p_const_char],
) -> cython.pointer[Block]:
    end: cbytes = payload + payload_bytes
    p: cbytes = payload
    count: uint64_t = 0
    prefix_bytes: uint64_t = 0
    b: cython.pointer[Block]
    p = fj_get_varint(p, end, cython.address(count))
    # An entry takes three bytes at least, so a count that is believed cannot ask for too much memory.
    if p == cython.NULL or count == 0 or count > cython.cast(uint64_t, end - p) // 3:
        why[0] = "a block with an impossible number of entries"
        free(payload)
        return cython.NULL
    p = fj_get_varint(p, end, cython.address(prefix_bytes))
    if p == cython.NULL or prefix_bytes > MAX_KEY_BYTES or prefix_bytes > cython.cast(uint64_t, end - p):
        why[0] = "a block with an impossible prefix"
        free(payload)
        return cython.NULL
    # One piece of memory: the struct, a copy of the prefix, the heads, the offsets. What a search touches
    # before it knows its entry lies together; the payload costs one cache miss more, not two.
    padded_bytes: uint64_t = (prefix_bytes + 3) // 4 * 4
    total: uint64_t = cython.sizeof(Block) + padded_bytes + 8 * count
    b = cython.cast(cython.pointer[Block], malloc(total))
    if b == cython.NULL:
        why[0] = cython.NULL
        free(payload)
        return cython.NULL
    memset(b, 0, cython.sizeof(Block))
    b.refs = 1
    b.count = cython.cast(uint32_t, count)
    b.prefix_bytes = cython.cast(uint32_t, prefix_bytes)
    b.prefix = cython.cast(cbytes, memcpy(b + 1, p, prefix_bytes))
    b.heads = cython.cast(cython.pointer[uint32_t], b.prefix + padded_bytes)
    b.offsets = b.heads + count
    b.payload = payload
    b.payload_bytes = payload_bytes
    total += payload_bytes
    if total > MAX_UINT32:
        total = MAX_UINT32
    b.charge_bytes = cython.cast(uint32_t, total)
    why[0] = cook_entries(b, p + prefix_bytes, end)
    if why[0] != cython.NULL:
        block_release(b)
        return cython.NULL
    return b


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cook_entries(
    b: cython.pointer[Block],
    p: cbytes,
    end: cbytes,
) -> cython.p_const_char:
    """Derive heads and offsets, and prove every length. NULL, or what is wrong."""
    i: uint32_t
    suffix_bytes: uint64_t = 0
    value_bytes: uint64_t = 0
    packed_tag: uint64_t = 0
    longest_bytes: uint64_t = MAX_KEY_BYTES - b.prefix_bytes
    head: uint32_t
    last_head: uint32_t = 0
    for i in range(b.count):
        b.offsets[i] = cython.cast(uint32_t, p - b.payload)
        p = fj_get_varint(p, end, cython.address(suffix_bytes))
        if p == cython.NULL or suffix_bytes > longest_bytes:
            return "an entry with an impossible key length"
        p = fj_get_varint(p, end, cython.address(value_bytes))
        if p == cython.NULL:
            return "an entry with an impossible value length"
        p = fj_get_varint(p, end, cython.address(packed_tag))
        if p == cython.NULL or packed_tag >> 59 != 0 or packed_tag & 7 > KIND_MAX:
            return "an entry with an impossible tag"
        if packed_tag & 7 == KIND_BLOB and value_bytes != POINTER_BYTES:
            return "an entry with an impossible pointer"
        # The first test keeps the sum of the second from wrapping around.
        if value_bytes > cython.cast(uint64_t, end - p) or suffix_bytes + value_bytes > cython.cast(
            uint64_t, end - p
        ):
            return "an entry that does not end within its block"
        head = fj_head32(p, suffix_bytes)
        if head < last_head:
            return "keys of a block out of order"
        b.heads[i] = last_head = head
        p += suffix_bytes + value_bytes
    if p != end:
        return "bytes behind the last entry of a block"
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def block_release(b: cython.pointer[Block]) -> cython.void:
    if fj_atomic_add(cython.address(b.refs), -1) == 0:
        free(b.payload)
        free(b)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def block_entry(
    b: cython.pointer[cython.const[Block]], i: uint32_t, out: cython.pointer[Entry]
) -> cython.void:
    end: cbytes = b.payload + b.payload_bytes
    p: cbytes = b.payload + b.offsets[i]
    number: uint64_t = 0
    p = fj_get_varint(p, end, cython.address(number))
    out.suffix_bytes = cython.cast(uint32_t, number)
    p = fj_get_varint(p, end, cython.address(number))
    out.value_bytes = cython.cast(uint32_t, number)
    p = fj_get_varint(p, end, cython.address(number))
    out.tag = number >> 3 << 8 | number & 7 | b.seqno_tag
    out.suffix = p
    out.value = p + out.suffix_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def block_guess(b: cython.pointer[cython.const[Block]], key: cbytes, key_bytes: cython.size_t) -> uint32_t:
    prefix_bytes: cython.size_t = b.prefix_bytes
    if key_bytes < prefix_bytes or memcmp(key, b.prefix, prefix_bytes) != 0:
        return b.count
    return first_head_from(b.heads, b.count, fj_head32(key + prefix_bytes, key_bytes - prefix_bytes))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def block_seek(
    b: cython.pointer[cython.const[Block]],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
) -> uint32_t:
    """Search the heads without branches, then compare in full among entries of the same head: mostly one."""
    prefix_bytes: cython.size_t = b.prefix_bytes
    order: cython.int
    if prefix_bytes > 0:
        order = memcmp(key, b.prefix, key_bytes if key_bytes < prefix_bytes else prefix_bytes)
        if order != 0:
            return 0 if order < 0 else b.count
        if key_bytes < prefix_bytes:
            return 0
    suffix: cbytes = key + prefix_bytes
    suffix_bytes: cython.size_t = key_bytes - prefix_bytes
    head: uint32_t = fj_head32(suffix, suffix_bytes)
    low: uint32_t = first_head_from(b.heads, b.count, head)
    if low == b.count or b.heads[low] != head:
        return low
    high: uint32_t = low + 1
    if high < b.count and b.heads[high] == head:
        high = b.count
        if head < MAX_UINT32:
            high = first_head_from(b.heads, b.count, head + 1)
    middle: uint32_t
    while low < high:  # entries before low are smaller, entries from high on are not
        middle = low + (high - low) // 2
        if entry_precedes(b, middle, suffix, suffix_bytes, tag):
            low = middle + 1
        else:
            high = middle
    return low


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def first_head_from(
    heads: cython.pointer[cython.const[uint32_t]], count: uint32_t, head: uint32_t
) -> uint32_t:
    """The index of the first head that is not less; count > 0. No branches but the loop's."""
    base: cython.pointer[cython.const[uint32_t]] = heads
    n: uint32_t = count
    half: uint32_t
    while n > 1:
        half = n >> 1
        base += half & (0 - cython.cast(uint32_t, base[half - 1] < head))
        n -= half
    return cython.cast(uint32_t, base - heads) + cython.cast(uint32_t, base[0] < head)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def entry_precedes(
    b: cython.pointer[cython.const[Block]],
    i: uint32_t,
    suffix: cbytes,
    suffix_bytes: cython.size_t,
    tag: uint64_t,
) -> cython.bint:
    e: Entry
    block_entry(b, i, cython.address(e))
    order: cython.int = fj_compare(e.suffix, e.suffix_bytes, suffix, suffix_bytes)
    return order < 0 or (order == 0 and e.tag > tag)


# ---- the Python face: for tests, fuzzing and tools ----


@cython.cfunc
def open_payload(payload: bytes) -> cython.pointer[Block]:
    why: cython.p_const_char = cython.NULL
    copy: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], malloc(len(payload) + 1))
    if copy == cython.NULL:
        raise MemoryError()
    memcpy(copy, cython.cast(cython.p_char, payload), len(payload))
    b: cython.pointer[Block] = block_cook(copy, len(payload), cython.address(why))
    if b == cython.NULL:
        if why == cython.NULL:
            raise MemoryError()
        raise CorruptionError(cython.cast(bytes, why).decode())
    return b


def decode_block(payload: bytes) -> list:
    """The (key, tag, value)s of a payload. CorruptionError where it is not one."""
    b: cython.pointer[Block] = open_payload(payload)
    found: list = []
    e: Entry
    i: uint32_t
    try:
        prefix: bytes = cython.cast(cython.p_char, b.prefix)[: b.prefix_bytes]
        for i in range(b.count):
            block_entry(b, i, cython.address(e))
            key: bytes = prefix + cython.cast(cython.p_char, e.suffix)[: e.suffix_bytes]
            value: bytes = cython.cast(cython.p_char, e.value)[: e.value_bytes]
            found.append((key, e.tag, value))
        return found
    finally:
        block_release(b)


def seek_in_block(payload: bytes, key: bytes, tag: uint64_t) -> int:
    """The index of the first entry at or after (key, tag)."""
    b: cython.pointer[Block] = open_payload(payload)
    try:
        return block_seek(b, key, len(key), tag)
    finally:
        block_release(b)
