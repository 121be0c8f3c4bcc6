"""The filter of a table: a blocked Bloom filter (Putze, Sanders, Singler, 2007) over xxh64 of the user keys.

    line  = (high half of the hash * lines) >> 32                  multiply-shift: no division
    probe = the top 9 bits of the low half, multiplied by an odd constant once more for each probe

At 10 bits a key and 7 probes, one absent key in 100 is let through (0.96 % of a million, beside a million).
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.fjeld.kernel.coding import cbytes, fj_load64, fj_prefetch
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memset

# 2**32 / golden ratio, odd: remixes all 32 bits into the top ones.
GOLDEN = cython.declare(uint32_t, 0x9E3779B9)
MAX_LINES = cython.declare(uint64_t, (0xFFFFFFFF - 64) // 64)  # the payload's length is 32 bits wide


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def filter_lines_for(keys: uint64_t, bits_per_key: uint32_t) -> uint32_t:
    if bits_per_key == 0:
        return 0
    lines: uint64_t = (keys * bits_per_key + 8 * LINE_BYTES - 1) // (8 * LINE_BYTES)
    if lines > MAX_LINES:
        lines = MAX_LINES
    return 1 if lines == 0 else cython.cast(uint32_t, lines)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def filter_probes_for(bits_per_key: uint32_t) -> uint32_t:
    probes: uint32_t = (bits_per_key * 69 + 50) // 100  # ln 2 of the bits, rounded
    if probes < 1:
        return 1
    return MAX_PROBES if probes > MAX_PROBES else probes


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def line_of(h: uint64_t, lines: uint32_t) -> uint64_t:
    return ((h >> 32) * lines >> 32) * LINE_BYTES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def filter_fill(
    bits: cython.pointer[uint8_t],
    lines: uint32_t,
    probes: uint32_t,
    hashes: cython.pointer[cython.const[uint64_t]],
    n: uint64_t,
) -> cython.void:
    i: uint64_t
    k: uint32_t
    mix: uint32_t
    line: cython.pointer[uint8_t]
    for i in range(n):
        line = bits + line_of(hashes[i], lines)
        mix = cython.cast(uint32_t, hashes[i])
        for k in range(probes):
            mix *= GOLDEN
            line[mix >> 26] |= 1 << (mix >> 23 & 7)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def filter_may_contain(bits: cbytes, lines: uint32_t, probes: uint32_t, h: uint64_t) -> cython.bint:
    k: uint32_t
    line: cbytes = bits + line_of(h, lines)
    mix: uint32_t = cython.cast(uint32_t, h)
    for k in range(probes):
        mix *= GOLDEN
        if not line[mix >> 26] >> (mix >> 23 & 7) & 1:
            return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def filter_fetch(bits: cbytes, lines: uint32_t, h: uint64_t) -> cython.void:
    fj_prefetch(bits + line_of(h, lines))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def filter_holds(
    bits: cbytes,
    lines: uint32_t,
    probes: uint32_t,
    hashes: cython.pointer[cython.const[uint64_t]],
    n: cython.size_t,
) -> cython.bint:
    if fj_has_avx2():
        return fj_filter_holds_avx2(bits, lines, probes, GOLDEN, hashes, n)
    return filter_holds_portable(bits, lines, probes, hashes, n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def filter_holds_portable(
    bits: cbytes,
    lines: uint32_t,
    probes: uint32_t,
    hashes: cython.pointer[cython.const[uint64_t]],
    n: cython.size_t,
) -> cython.bint:
    """No early way out: the probes of one key do not wait for those of another, and almost always all keys are
    there.
    """
    i: cython.size_t
    k: uint32_t
    mix: uint32_t
    line: cbytes
    held: uint64_t = 1
    for i in range(n):
        line = bits + line_of(hashes[i], lines)
        mix = cython.cast(uint32_t, hashes[i])
        for k in range(probes):
            mix *= GOLDEN
            held &= fj_load64(line + (mix >> 29 << 3)) >> (
                mix >> 23 & 63
            )  # the same bit, of words of 8 bytes
    return held & 1


def build_filter(hashes: object, bits_per_key: uint32_t) -> tuple:
    """The probes a key and the lines of a filter over these hashes. bits_per_key > 0."""
    if bits_per_key == 0:
        raise ValueError("no bits, no filter")
    n: uint64_t = len(hashes)
    i: uint64_t
    lines: uint32_t = filter_lines_for(n, bits_per_key)
    probes: uint32_t = filter_probes_for(bits_per_key)
    array: cython.pointer[uint64_t] = cython.cast(cython.pointer[uint64_t], malloc(8 * n + 8))
    if array == cython.NULL:
        raise MemoryError()
    try:
        for i in range(n):
            array[i] = hashes[i]
        size: cython.size_t = cython.cast(cython.size_t, lines) * LINE_BYTES
        bits: bytes = PyBytes_FromStringAndSize(cython.NULL, size)
        p: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], PyBytes_AS_STRING(bits))
        memset(p, 0, size)
        filter_fill(p, lines, probes, array, n)
        return probes, bits
    finally:
        free(array)


def filter_contains_all(bits: bytes, probes: uint32_t, hashes: object, portable: bool = False) -> bool:
    """Whether all of the keys may be there. portable: without the vector instructions that the processor may have."""
    if len(bits) == 0 or len(bits) % LINE_BYTES != 0:
        raise ValueError("a filter is made of whole lines of 64 bytes")
    if not 1 <= probes <= MAX_PROBES:
        raise ValueError(f"a filter has 1 to {MAX_PROBES} probes")
    i: cython.size_t
    n: cython.size_t = len(hashes)
    array: cython.pointer[uint64_t] = cython.cast(cython.pointer[uint64_t], malloc(8 * n + 8))
    if array == cython.NULL:
        raise MemoryError()
    try:
        for i in range(n):
            array[i] = hashes[i]
        if portable:
            return filter_holds_portable(bits, len(bits) // LINE_BYTES, probes, array, n)
        return filter_holds(bits, len(bits) // LINE_BYTES, probes, array, n)
    finally:
        free(array)


def filter_contains(bits: bytes, probes: uint32_t, key_hash: uint64_t) -> bool:
    """Whether the key may be there; False is certain."""
    if len(bits) == 0 or len(bits) % LINE_BYTES != 0:
        raise ValueError("a filter is made of whole lines of 64 bytes")
    return filter_may_contain(bits, len(bits) // LINE_BYTES, probes, key_hash)
