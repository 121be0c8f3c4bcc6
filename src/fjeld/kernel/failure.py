"""Status codes of functions that run without the GIL, and the one funnel that turns them into exceptions."""

import os

import cython
from cython.cimports.libc.stdint import uint64_t

from fjeld.errors import CorruptionError


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def failure_clear(f: cython.pointer[Failure]) -> cython.void:
    f.status = ST_OK
    f.errnum = 0
    f.offset = 0
    f.what = cython.NULL
    f.path = cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fail_corrupt(
    f: cython.pointer[Failure],
    path: cython.pointer[cython.const[cython.char]],
    offset: uint64_t,
    what: cython.pointer[cython.const[cython.char]],
) -> cython.int:
    f.status = ST_CORRUPT
    f.path = path
    f.offset = offset
    f.what = what
    return ST_CORRUPT


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fail_io(
    f: cython.pointer[Failure], path: cython.pointer[cython.const[cython.char]], errnum: cython.int
) -> cython.int:
    f.status = ST_IO
    f.path = path
    f.errnum = errnum
    return ST_IO


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def fail_nomem(f: cython.pointer[Failure]) -> cython.int:
    f.status = ST_NOMEM
    return ST_NOMEM


@cython.cfunc
def raise_failure(f: cython.pointer[Failure]) -> object:
    """Raise the exception that the failure stands for."""
    path: object = None
    if f.path != cython.NULL:
        path = os.fsdecode(cython.cast(bytes, f.path))
    if f.status == ST_CORRUPT:
        what: object = "damaged"
        if f.what != cython.NULL:
            what = cython.cast(bytes, f.what).decode()
        raise CorruptionError(what, path=path, offset=f.offset)
    if f.status == ST_IO:
        raise OSError(f.errnum, os.strerror(f.errnum), path)
    if f.status == ST_NOMEM:
        raise MemoryError()
    raise AssertionError(f"no failure to raise: status {f.status}")
