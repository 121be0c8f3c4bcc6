"""What a survey of a table (`table_check`) looks for in one data block: checksum, lengths, order, filter, counts.

A block is parsed where it lies, or was decompressed to; nothing is built for look-ups, and memory is used again
and again. Three things keep an entry at a few nanoseconds:

- neighbours are compared by their first 8 bytes behind the prefix, and in full only where those are equal;
- keys are put together, hashed and looked up in the filter KEYS at a time. To hash a key right after its two halves
  were written means to wait until they have reached the cache, and then for the filter, with the next entry
  behind it: one by one this took as long as all the rest;
- what is counted stands in a `Walk` of this block, which the compiler keeps in registers, and is added up behind it.

So the filter's word on a key comes later than the order of those next to it; a block has one finding all the same.
"""

import cython
from cython.cimports.fjeld.kernel.blob_refs import refs_count
from cython.cimports.fjeld.kernel.checksum import XXH3_64bits_withSeed, fj_xxh64
from cython.cimports.fjeld.kernel.coding import (
    FJ_SPILL,
    KIND_BLOB,
    KIND_TOMBSTONE,
    KIND_WEAK_TOMBSTONE,
    MAX_KEY_BYTES,
    POINTER_BYTES,
    cbytes,
    fj_compare,
    fj_copy_spilling,
    fj_get_varint,
    fj_head64_within,
    fj_load32,
    fj_load64,
)
from cython.cimports.fjeld.kernel.compression import CODEC_NONE, CODEC_ZSTD, decompress, raw_size_plausible
from cython.cimports.fjeld.kernel.failure import ST_CORRUPT, ST_NOMEM, ST_OK
from cython.cimports.fjeld.kernel.filter import filter_holds
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.trailer import BLOCK_DATA, TRAILER_BYTES
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def note(s: cython.pointer[Survey], offset: uint64_t, what: cython.p_const_char) -> cython.int:
    """Keep a finding. ST_OK or ST_NOMEM."""
    needed: cython.size_t = (s.finding_count + 1) * cython.sizeof(Finding)
    memory: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], s.findings)
    if not reserve(cython.address(memory), cython.address(s.finding_capacity_bytes), needed):
        s.findings = cython.cast(cython.pointer[Finding], memory)
        return ST_NOMEM
    s.findings = cython.cast(cython.pointer[Finding], memory)
    s.findings[s.finding_count].offset = offset
    s.findings[s.finding_count].what = what
    s.finding_count += 1
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def survey_block(
    t: cython.pointer[Table], s: cython.pointer[Survey], i: uint32_t, block: cbytes, n: cython.size_t
) -> cython.int:
    """ST_OK or ST_NOMEM."""
    plain: cbytes = cython.NULL
    plain_bytes: uint32_t = 0
    nomem: cython.bint = False
    why: cython.p_const_char = open_block(
        s,
        block,
        n,
        t.block_offsets[i],
        cython.address(plain),
        cython.address(plain_bytes),
        cython.address(nomem),
    )
    if why == cython.NULL and not nomem:
        why = survey_entries(t, s, i, plain, plain + plain_bytes, cython.address(nomem))
    if nomem:
        return ST_NOMEM
    if why == cython.NULL:
        return ST_OK
    s.whole = False
    s.has_previous = False
    return note(s, t.block_offsets[i], why)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_block(
    s: cython.pointer[Survey],
    block: cbytes,
    n: cython.size_t,
    offset: uint64_t,
    plain: cython.pointer[cbytes],
    plain_bytes: cython.pointer[uint32_t],
    nomem: cython.pointer[cython.bint],
) -> cython.p_const_char:
    """As trailer_open, but without memory of its own: NULL, or what is wrong."""
    if n < TRAILER_BYTES:
        return "a block too short for its trailer"
    stored_bytes: cython.size_t = n - TRAILER_BYTES
    trailer: cbytes = block + stored_bytes
    raw_bytes: uint32_t = fj_load32(trailer)
    codec: cython.int = trailer[4]
    if fj_load64(trailer + 8) != XXH3_64bits_withSeed(block, stored_bytes + 8, offset):
        return "the checksum of a block does not match"
    if trailer[5] != BLOCK_DATA or trailer[6] != 0 or trailer[7] != 0:
        return "a block of another kind than expected"
    if codec > CODEC_ZSTD or not raw_size_plausible(codec, stored_bytes, raw_bytes):
        return "a block with an impossible size or an unknown codec"
    plain_bytes[0] = raw_bytes
    if codec == CODEC_NONE:
        plain[0] = block
        if raw_bytes != stored_bytes:
            return "a block of another size than it says"
        return cython.NULL
    if not reserve(cython.address(s.plain), cython.address(s.plain_capacity_bytes), raw_bytes):
        nomem[0] = True
        return cython.NULL
    plain[0] = s.plain
    status: cython.int = decompress(codec, block, stored_bytes, s.plain, raw_bytes)
    nomem[0] = status == ST_NOMEM
    if status == ST_CORRUPT:
        return "a block that does not decompress"
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def survey_entries(
    t: cython.pointer[Table],
    s: cython.pointer[Survey],
    block_index: uint32_t,
    p: cbytes,
    end: cbytes,
    nomem: cython.pointer[cython.bint],
) -> cython.p_const_char:
    """NULL, or what is wrong."""
    i: uint64_t
    count: uint64_t = 0
    w: Walk
    e: Parsed
    why: cython.p_const_char
    memset(cython.address(w), 0, cython.sizeof(Walk))
    w.end = end
    w.told_seqno = t.seqno_tag >> 8
    w.min_seqno = ~cython.cast(uint64_t, 0)
    p = fj_get_varint(p, end, cython.address(count))
    if p == cython.NULL or count == 0 or count > cython.cast(uint64_t, end - p) // 3:
        return "a block with an impossible number of entries"
    p = fj_get_varint(p, end, cython.address(w.prefix_bytes))
    if p == cython.NULL or w.prefix_bytes > MAX_KEY_BYTES or w.prefix_bytes > cython.cast(uint64_t, end - p):
        return "a block with an impossible prefix"
    w.prefix = p
    p += w.prefix_bytes
    if not reserve(cython.address(s.together), cython.address(s.together_capacity_bytes), KEYS_BYTES):
        nomem[0] = True
        return cython.NULL
    s.together_bytes = s.key_count = 0
    for i in range(count):
        why = parse_entry(cython.address(w), cython.address(p), cython.address(e))
        if why == cython.NULL and i == 0:
            why = visit_first(t, s, cython.address(w), cython.address(e), block_index == 0)
        elif why == cython.NULL:
            why = visit(t, s, cython.address(w), cython.address(e))
        if why != cython.NULL:
            return why
        if e.tag & 7 == KIND_BLOB and not refs_count(
            cython.address(s.blobs), e.suffix + e.suffix_bytes, w.prefix_bytes + e.suffix_bytes
        ):
            nomem[0] = True
            return cython.NULL
    if p != end:
        return "bytes behind the last entry of a block"
    if not look_up(t, s):
        return "a key that the filter does not know"
    add_up(s, cython.address(w), count)
    return keep_last(t, s, block_index, cython.address(w), nomem)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def parse_entry(
    w: cython.pointer[Walk], at: cython.pointer[cbytes], e: cython.pointer[Parsed]
) -> cython.p_const_char:
    """The entry at *at, which is moved behind it. NULL, or what is wrong."""
    p: cbytes = at[0]
    end: cbytes = w.end
    p = fj_get_varint(p, end, cython.address(e.suffix_bytes))
    if p == cython.NULL or e.suffix_bytes > MAX_KEY_BYTES - w.prefix_bytes:
        return "an entry with an impossible key length"
    p = fj_get_varint(p, end, cython.address(e.value_bytes))
    if p == cython.NULL:
        return "an entry with an impossible value length"
    p = fj_get_varint(p, end, cython.address(e.tag))
    if p == cython.NULL or e.tag >> 59 != 0 or e.tag & 7 > KIND_BLOB:
        return "an entry with an impossible tag"
    # The first test keeps the sum of the second from wrapping around.
    if e.value_bytes > cython.cast(uint64_t, end - p) or e.suffix_bytes + e.value_bytes > cython.cast(
        uint64_t, end - p
    ):
        return "an entry that does not end within its block"
    if w.told_seqno != 0:
        if e.tag >> 3 != 0 and e.tag >> 3 != w.told_seqno:
            return "an entry with another seqno than the manifest says"
        e.tag = w.told_seqno << 3 | e.tag & 7
    if e.tag & 7 == KIND_BLOB and e.value_bytes != POINTER_BYTES:
        return "a value in a blob file without its place"
    e.suffix = p
    at[0] = p + e.suffix_bytes + e.value_bytes
    return cython.NULL


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def visit(
    t: cython.pointer[Table], s: cython.pointer[Survey], w: cython.pointer[Walk], e: cython.pointer[Parsed]
) -> cython.p_const_char:
    """Order, filter and counts of an entry that has one before it in its block. NULL, or what is wrong."""
    order: cython.int = -1
    head: uint64_t = fj_head64_within(e.suffix, e.suffix_bytes, w.end)
    if head <= w.head:  # the prefix is the same; heads order as keys do
        order = fj_compare(w.suffix, w.suffix_bytes, e.suffix, e.suffix_bytes)
        if order > 0 or (order == 0 and w.tag <= e.tag):
            return "entries out of order"
    if order != 0:
        w.keys += 1
        if t.filter_lines != 0 and take_key(t, s, w, e) == cython.NULL:
            return "a key that the filter does not know"
    pass_by(w, e, head)
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def visit_first(
    t: cython.pointer[Table],
    s: cython.pointer[Survey],
    w: cython.pointer[Walk],
    e: cython.pointer[Parsed],
    first_block: cython.bint,
) -> cython.p_const_char:
    """The same of the first entry of a block, which follows the last of the block before."""
    order: cython.int = -1
    key: cbytes = take_key(t, s, w, e)
    key_bytes: cython.size_t = w.prefix_bytes + e.suffix_bytes
    if s.has_previous:
        order = fj_compare(s.previous, s.previous_bytes, key, key_bytes)
        if order > 0 or (order == 0 and s.previous_tag <= e.tag):
            return "entries out of order"
    w.keys += order != 0
    if first_block and fj_compare(t.smallest, t.smallest_bytes, key, key_bytes) != 0:
        return "the smallest key is not that of the properties"
    pass_by(w, e, fj_head64_within(e.suffix, e.suffix_bytes, w.end))
    return cython.NULL


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pass_by(w: cython.pointer[Walk], e: cython.pointer[Parsed], head: uint64_t) -> cython.void:
    """Count the entry; it is now the one before."""
    seqno: uint64_t = e.tag >> 3
    kind: uint64_t = e.tag & 7
    w.min_seqno = seqno if seqno < w.min_seqno else w.min_seqno
    w.max_seqno = seqno if seqno > w.max_seqno else w.max_seqno
    w.tombstones += kind == KIND_TOMBSTONE
    w.weak_tombstones += kind == KIND_WEAK_TOMBSTONE
    w.raw_bytes += e.suffix_bytes + e.value_bytes
    w.head = head
    w.suffix = e.suffix
    w.suffix_bytes = e.suffix_bytes
    w.tag = e.tag


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def take_key(
    t: cython.pointer[Table], s: cython.pointer[Survey], w: cython.pointer[Walk], e: cython.pointer[Parsed]
) -> cbytes:
    """The key in one piece, kept to be looked up in the filter; NULL: one of those kept before is not there."""
    key: cbytes = e.suffix
    key_bytes: cython.size_t = w.prefix_bytes + e.suffix_bytes
    if s.key_count == KEYS or s.together_bytes + key_bytes + FJ_SPILL > KEYS_BYTES:
        if not look_up(t, s):
            return cython.NULL
    if w.prefix_bytes > 0:
        key = s.together + s.together_bytes
        fj_copy_spilling(s.together + s.together_bytes, w.prefix, w.prefix_bytes, w.end)
        fj_copy_spilling(s.together + s.together_bytes + w.prefix_bytes, e.suffix, e.suffix_bytes, w.end)
        s.together_bytes += key_bytes
    s.key_at[s.key_count] = key
    s.key_lengths[s.key_count] = cython.cast(uint32_t, key_bytes)
    s.key_count += 1
    return key


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def look_up(t: cython.pointer[Table], s: cython.pointer[Survey]) -> cython.bint:
    """Does the filter let all keys through that were kept? They are let go of."""
    i: uint32_t
    n: uint32_t = s.key_count
    s.key_count = 0
    s.together_bytes = 0
    if t.filter_lines == 0:
        return True
    for i in range(n):
        s.hashes[i] = fj_xxh64(s.key_at[i], s.key_lengths[i])
    return filter_holds(t.filter, t.filter_lines, t.filter_probes, s.hashes, n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def add_up(s: cython.pointer[Survey], w: cython.pointer[Walk], entries: uint64_t) -> cython.void:
    if s.entries == 0 or w.min_seqno < s.min_seqno:
        s.min_seqno = w.min_seqno
    if w.max_seqno > s.max_seqno:
        s.max_seqno = w.max_seqno
    s.entries += entries
    s.keys += w.keys
    s.tombstones += w.tombstones
    s.weak_tombstones += w.weak_tombstones
    s.raw_bytes += w.raw_bytes + entries * w.prefix_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def keep_last(
    t: cython.pointer[Table],
    s: cython.pointer[Survey],
    block_index: uint32_t,
    w: cython.pointer[Walk],
    nomem: cython.pointer[cython.bint],
) -> cython.p_const_char:
    """The last key of a block must be that of the index, which knows the largest; the next block goes on from
    it.
    """
    start: uint32_t = t.key_offsets[block_index]
    n: uint32_t = t.key_offsets[block_index + 1] - start
    key_bytes: cython.size_t = w.prefix_bytes + w.suffix_bytes
    if not reserve(cython.address(s.previous), cython.address(s.previous_capacity_bytes), key_bytes + 1):
        nomem[0] = True
        return cython.NULL
    memcpy(s.previous, w.prefix, w.prefix_bytes)
    memcpy(s.previous + w.prefix_bytes, w.suffix, w.suffix_bytes)
    if fj_compare(t.keys + start, n, s.previous, key_bytes) != 0:
        return "a block whose last key is not that of the index"
    s.previous_bytes = key_bytes
    s.previous_tag = w.tag
    s.has_previous = True
    return cython.NULL
