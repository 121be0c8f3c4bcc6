"""Values out of blob files, as Python objects: one, or several with one release of the GIL.

A value that is not compressed is read straight into the `bytes` that the user gets; what was read behind it, key and
trailer, is cut off. What is small altogether is first tried with the GIL, from the system's page cache only, as
blocks of tables are (`find_in_table`); the rest is read without it.
"""

import cython
from cython.cimports.fjeld.kernel.blob import blob_read, blob_room
from cython.cimports.fjeld.kernel.blob_format import pointer_decode
from cython.cimports.fjeld.kernel.coding import cbytes
from cython.cimports.fjeld.kernel.failure import ST_COLD, ST_OK, Failure, failure_clear, raise_failure
from cython.cimports.libc.stdint import uint8_t, uint32_t

# About 20 us of copying and hashing: as long as others may wait for their turn.
_WARM_MAX_BYTES = cython.declare(cython.size_t, 128 << 10)


@cython.cfunc
@cython.exceptval(-1, check=False)
def wanted_take(
    w: cython.pointer[Wanted], pointer: cbytes, key: cbytes, key_bytes: cython.size_t
) -> cython.int:
    pointer_decode(pointer, cython.address(w.pointer))
    w.key = key
    w.key_bytes = key_bytes
    w.room_bytes = blob_room(cython.address(w.pointer), key_bytes)
    w.status = ST_COLD
    w.value = cython.NULL
    w.value = fj_bytes_new(w.room_bytes)
    return 0


@cython.cfunc
def wanted_done(w: cython.pointer[Wanted]) -> object:
    value: cython.pointer[PyObject] = w.value
    w.value = cython.NULL
    return fj_bytes_cut(value, w.pointer.raw_bytes)


@cython.cfunc
@cython.exceptval(check=False)
def wanted_drop(w: cython.pointer[Wanted]) -> cython.void:
    fj_bytes_drop(w.value)
    w.value = cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_one(
    s: cython.pointer[cython.const[BlobSet]],
    w: cython.pointer[Wanted],
    now: cython.bint,
    f: cython.pointer[Failure],
) -> cython.int:
    w.status = blob_read(
        s,
        cython.address(w.pointer),
        w.key,
        w.key_bytes,
        cython.cast(cython.pointer[uint8_t], fj_bytes_data(w.value)),
        now,
        f,
    )
    return w.status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_rest(
    s: cython.pointer[cython.const[BlobSet]],
    wanted: cython.pointer[Wanted],
    count: uint32_t,
    f: cython.pointer[Failure],
) -> uint32_t:
    i: uint32_t
    for i in range(count):
        if wanted[i].status != ST_OK and read_one(s, wanted + i, False, f) != ST_OK:
            return i
    return count


@cython.cfunc
@cython.exceptval(check=False)
def wanted_read(
    s: cython.pointer[cython.const[BlobSet]],
    wanted: cython.pointer[Wanted],
    count: uint32_t,
    wait: cython.bint,
    f: cython.pointer[Failure],
) -> uint32_t:
    i: uint32_t
    total_bytes: cython.size_t = 0
    cold: uint32_t = count
    for i in range(count):
        total_bytes += wanted[i].room_bytes
    if total_bytes <= _WARM_MAX_BYTES:
        cold = 0
        for i in range(count):
            cold += read_one(s, wanted + i, True, f) != ST_OK
    if cold == 0:
        return count
    if not wait:
        return WANTED_COLD
    failure_clear(f)
    with cython.nogil:
        i = read_rest(s, wanted, count, f)
    return i


@cython.cfunc
def blob_value(
    s: cython.pointer[cython.const[BlobSet]],
    pointer: cbytes,
    key: cbytes,
    key_bytes: cython.size_t,
    wait: cython.bint,
) -> object:
    w: Wanted
    f: Failure
    read: uint32_t
    wanted_take(cython.address(w), pointer, key, key_bytes)
    read = wanted_read(s, cython.address(w), 1, wait, cython.address(f))
    if read == 1:
        return wanted_done(cython.address(w))
    wanted_drop(cython.address(w))
    if read == WANTED_COLD:
        return None
    raise_failure(cython.address(f))
