"""One write of bytes that lie in two places: the head of a record, and a value that nobody wants to copy first."""

import cython
from cython.cimports.fjeld.kernel import file_probe as probe
from cython.cimports.fjeld.kernel.file_calls import file_pwrite
from cython.cimports.libc import errno as e
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcpy

text_t = cython.typedef(cython.pointer[cython.const[cython.char]])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_write_two(
    fd: cython.int,
    head: text_t,
    head_bytes: cython.size_t,
    body: text_t,
    body_bytes: cython.size_t,
    zeros: cython.size_t,
    offset: uint64_t,
) -> cython.int:
    done: int64_t = 0
    if not probe.probe_on:
        done = fj_pwrite_two(fd, head, head_bytes, body, body_bytes, zeros, offset)
        while done == -e.EINTR:
            done = fj_pwrite_two(fd, head, head_bytes, body, body_bytes, zeros, offset)
    if done < 0:
        return cython.cast(cython.int, done)
    if done == cython.cast(int64_t, head_bytes + body_bytes + zeros):
        return 0
    return _write_joined(fd, head, head_bytes, body, body_bytes, zeros, offset)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _write_joined(
    fd: cython.int,
    head: text_t,
    head_bytes: cython.size_t,
    body: text_t,
    body_bytes: cython.size_t,
    zeros: cython.size_t,
    offset: uint64_t,
) -> cython.int:
    """All of it in one piece: for faults and the trace, the one write that it is; and again where a write stopped half-way."""
    total: cython.size_t = head_bytes + body_bytes + zeros
    joined: cython.p_char = cython.cast(cython.p_char, calloc(1, total + 1))
    if joined == cython.NULL:
        return -e.ENOMEM
    memcpy(joined, head, head_bytes)
    if body_bytes:
        memcpy(joined + head_bytes, body, body_bytes)
    status: cython.int = file_pwrite(fd, joined, total, offset)
    free(joined)
    return status
