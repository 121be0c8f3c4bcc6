"""Buffers that grow: one place for the arithmetic of it."""

import cython
from cython.cimports.libc.stdint import uint8_t
from cython.cimports.libc.stdlib import realloc

LEAST_BYTES = cython.declare(cython.size_t, 1024)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def reserve(
    buffer: cython.pointer[cython.pointer[uint8_t]],
    capacity_bytes: cython.pointer[cython.size_t],
    wanted_bytes: cython.size_t,
) -> cython.bint:
    if wanted_bytes <= capacity_bytes[0] and buffer[0] != cython.NULL:
        return True
    room_bytes: cython.size_t = capacity_bytes[0] * 2
    if room_bytes < LEAST_BYTES:
        room_bytes = LEAST_BYTES
    if room_bytes < wanted_bytes:
        room_bytes = wanted_bytes
    p: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], realloc(buffer[0], room_bytes))
    if p == cython.NULL:
        return False
    buffer[0] = p
    capacity_bytes[0] = room_bytes
    return True
