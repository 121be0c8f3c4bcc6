"""Which blob files a table refers to, counted as its entries go by: what garbage is derived from.

A record that no table refers to is garbage. Nobody counts events: the manifest keeps these sums of each table, and
what a blob file holds beyond them is not needed any more.
"""

import cython
from cython.cimports.fjeld.kernel.blob_format import BlobPointer, pointer_decode, record_bytes
from cython.cimports.fjeld.kernel.coding import cbytes
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memmove


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refs_count(r: cython.pointer[BlobRefs], pointer: cbytes, key_bytes: cython.size_t) -> cython.bint:
    p: BlobPointer
    i: uint32_t
    pointer_decode(pointer, cython.address(p))
    if r.count == 0 or r.refs[r.last].number != p.number:
        i = place_of(r, p.number)
        if i == r.count or r.refs[i].number != p.number:
            if not insert(r, i, p.number):
                return False
        r.last = i
    r.refs[r.last].entries += 1
    r.refs[r.last].bytes += record_bytes(cython.address(p), key_bytes)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def place_of(r: cython.pointer[BlobRefs], number: uint64_t) -> uint32_t:
    """The first that is not below the number."""
    low: uint32_t = 0
    high: uint32_t = r.count
    middle: uint32_t
    while low < high:
        middle = (low + high) >> 1
        if r.refs[middle].number < number:
            low = middle + 1
        else:
            high = middle
    return low


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def insert(r: cython.pointer[BlobRefs], i: uint32_t, number: uint64_t) -> cython.bint:
    one: cython.size_t = cython.sizeof(BlobRef)
    if not reserve(
        cython.cast(cython.pointer[cython.pointer[uint8_t]], cython.address(r.refs)),
        cython.address(r.capacity_bytes),
        (r.count + 1) * one,
    ):
        return False
    memmove(r.refs + i + 1, r.refs + i, (r.count - i) * one)
    r.refs[i].number = number
    r.refs[i].entries = 0
    r.refs[i].bytes = 0
    r.count += 1
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refs_free(r: cython.pointer[BlobRefs]) -> cython.void:
    free(r.refs)
    r.refs = cython.NULL
    r.count = 0


@cython.cfunc
def refs_tuple(r: cython.pointer[cython.const[BlobRefs]]) -> tuple:
    i: uint32_t
    found: list = []
    for i in range(r.count):
        found.append((r.refs[i].number, r.refs[i].entries, r.refs[i].bytes))
    return tuple(found)
