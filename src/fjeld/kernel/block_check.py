"""What a survey of a table (`table_check`) looks for in one data block: checksum, lengths, order, filter, counts.

A block is parsed where it lies, or was decompressed to; nothing is built for look-ups, and memory is used again
and again.
"""

import cython
from cython.cimports.fjeld.kernel.blob_refs import refs_count
from cython.cimports.fjeld.kernel.checksum import XXH3_64bits_withSeed, fj_xxh64
from cython.cimports.fjeld.kernel.coding import (
    KIND_BLOB,
    KIND_TOMBSTONE,
    KIND_WEAK_TOMBSTONE,
    MAX_KEY_BYTES,
    POINTER_BYTES,
    cbytes,
    fj_compare,
    fj_get_varint,
    fj_load32,
    fj_load64,
)
from cython.cimports.fjeld.kernel.compression import CODEC_NONE, CODEC_ZSTD, decompress, raw_size_plausible
from cython.cimports.fjeld.kernel.failure import ST_CORRUPT, ST_NOMEM, ST_OK
from cython.cimports.fjeld.kernel.filter import filter_may_contain
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.trailer import BLOCK_DATA, TRAILER_BYTES
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy


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
    prefix_bytes: uint64_t = 0
    e: Parsed
    why: cython.p_const_char
    p = fj_get_varint(p, end, cython.address(count))
    if p == cython.NULL or count == 0 or count > cython.cast(uint64_t, end - p) // 3:
        return "a block with an impossible number of entries"
    p = fj_get_varint(p, end, cython.address(prefix_bytes))
    if p == cython.NULL or prefix_bytes > MAX_KEY_BYTES or prefix_bytes > cython.cast(uint64_t, end - p):
        return "a block with an impossible prefix"
    if prefix_bytes > 0:
        if not reserve(cython.address(s.key), cython.address(s.key_capacity_bytes), MAX_KEY_BYTES + 1):
            nomem[0] = True
            return cython.NULL
        memcpy(s.key, p, prefix_bytes)
        p += prefix_bytes
    e.prefix_bytes = prefix_bytes
    for i in range(count):
        why = parse_entry(t, cython.address(p), end, cython.address(e))
        if why == cython.NULL:
            why = visit(t, s, cython.address(e), i == 0, block_index == 0)
            if e.tag & 0xFF == KIND_BLOB and not refs_count(
                cython.address(s.blobs), e.suffix + e.suffix_bytes, e.prefix_bytes + e.suffix_bytes
            ):
                nomem[0] = True
                return cython.NULL
        if why != cython.NULL:
            return why
    if p != end:
        return "bytes behind the last entry of a block"
    return keep_last(t, s, block_index, cython.address(e), nomem)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def parse_entry(
    t: cython.pointer[Table], at: cython.pointer[cbytes], end: cbytes, e: cython.pointer[Parsed]
) -> cython.p_const_char:
    """The entry at *at, which is moved behind it. NULL, or what is wrong."""
    p: cbytes = at[0]
    packed: uint64_t = 0
    p = fj_get_varint(p, end, cython.address(e.suffix_bytes))
    if p == cython.NULL or e.suffix_bytes > MAX_KEY_BYTES - e.prefix_bytes:
        return "an entry with an impossible key length"
    p = fj_get_varint(p, end, cython.address(e.value_bytes))
    if p == cython.NULL:
        return "an entry with an impossible value length"
    p = fj_get_varint(p, end, cython.address(packed))
    if p == cython.NULL or packed >> 59 != 0 or packed & 7 > KIND_BLOB:
        return "an entry with an impossible tag"
    # The first test keeps the sum of the second from wrapping around.
    if e.value_bytes > cython.cast(uint64_t, end - p) or e.suffix_bytes + e.value_bytes > cython.cast(
        uint64_t, end - p
    ):
        return "an entry that does not end within its block"
    if t.seqno_tag != 0:
        if packed >> 3 != 0 and packed >> 3 != t.seqno_tag >> 8:
            return "an entry with another seqno than the manifest says"
        packed = t.seqno_tag >> 8 << 3 | packed & 7
    if packed & 7 == KIND_BLOB and e.value_bytes != POINTER_BYTES:
        return "a value in a blob file without its place"
    e.tag = packed >> 3 << 8 | packed & 7
    e.suffix = p
    at[0] = p + e.suffix_bytes + e.value_bytes
    return cython.NULL


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def visit(
    t: cython.pointer[Table],
    s: cython.pointer[Survey],
    e: cython.pointer[Parsed],
    first_of_block: cython.bint,
    first_block: cython.bint,
) -> cython.p_const_char:
    """Order, filter and counts of one entry. NULL, or what is wrong."""
    key: cbytes = e.suffix
    key_bytes: cython.size_t = e.prefix_bytes + e.suffix_bytes
    order: cython.int = -1
    seqno: uint64_t = e.tag >> 8
    kind: uint64_t = e.tag & 0xFF
    if not first_of_block:  # the prefix is the same
        order = fj_compare(s.before, s.before_bytes, e.suffix, e.suffix_bytes)
    if e.prefix_bytes > 0 and order != 0:
        memcpy(s.key + e.prefix_bytes, e.suffix, e.suffix_bytes)
        key = s.key
    if first_of_block and s.has_previous:
        order = fj_compare(s.previous, s.previous_bytes, key, key_bytes)
    if order > 0 or (order == 0 and s.before_tag <= e.tag):
        return "entries out of order"
    if order != 0:
        if t.filter_lines != 0 and not filter_may_contain(
            t.filter, t.filter_lines, t.filter_probes, fj_xxh64(key, key_bytes)
        ):
            return "a key that the filter does not know"
        s.keys += 1
    if first_block and first_of_block and fj_compare(t.smallest, t.smallest_bytes, key, key_bytes) != 0:
        return "the smallest key is not that of the properties"
    if s.entries == 0 or seqno < s.min_seqno:
        s.min_seqno = seqno
    if seqno > s.max_seqno:
        s.max_seqno = seqno
    s.entries += 1
    s.tombstones += kind == KIND_TOMBSTONE
    s.weak_tombstones += kind == KIND_WEAK_TOMBSTONE
    s.raw_bytes += key_bytes + e.value_bytes
    s.before = e.suffix
    s.before_bytes = e.suffix_bytes
    s.before_tag = e.tag
    return cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def keep_last(
    t: cython.pointer[Table],
    s: cython.pointer[Survey],
    block_index: uint32_t,
    e: cython.pointer[Parsed],
    nomem: cython.pointer[cython.bint],
) -> cython.p_const_char:
    """The last key of a block must be that of the index, which knows the largest; the next block goes on from
    it.
    """
    start: uint32_t = t.key_offsets[block_index]
    n: uint32_t = t.key_offsets[block_index + 1] - start
    key_bytes: cython.size_t = e.prefix_bytes + e.suffix_bytes
    if not reserve(cython.address(s.previous), cython.address(s.previous_capacity_bytes), key_bytes + 1):
        nomem[0] = True
        return cython.NULL
    if e.prefix_bytes > 0:
        memcpy(s.previous, s.key, e.prefix_bytes)
    memcpy(s.previous + e.prefix_bytes, e.suffix, e.suffix_bytes)
    if fj_compare(t.keys + start, n, s.previous, key_bytes) != 0:
        return "a block whose last key is not that of the index"
    s.previous_bytes = key_bytes
    s.has_previous = True
    return cython.NULL
