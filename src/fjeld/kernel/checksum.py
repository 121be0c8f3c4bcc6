"""Checksums: XXH3-64 (`xxh64`) for blocks, records and keys; XXH3-128 (`xxh128`) for whole files.

The 128-bit sums are written in canonical form: 32 hex digits, most significant first.
"""

import os

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.fjeld.kernel.files import file_close, file_open_read, file_pread
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc

# As much as a disk delivers in about a millisecond: longer reads gain nothing.
CHUNK_BYTES = cython.declare(cython.size_t, 1 << 20)


def xxh64(data: object, seed: uint64_t = 0) -> int:
    """XXH3-64 of a bytes-like object."""
    view: Py_buffer
    PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
    try:
        return XXH3_64bits_withSeed(view.buf, view.len, seed)
    finally:
        PyBuffer_Release(cython.address(view))


def xxh128_hex(data: object) -> str:
    """XXH3-128 of a bytes-like object, in hex."""
    view: Py_buffer
    PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
    try:
        return hash_hex(XXH3_128bits(view.buf, view.len))
    finally:
        PyBuffer_Release(cython.address(view))


@cython.cfunc
def hash_hex(h: XXH128_hash_t) -> object:
    canonical: XXH128_canonical_t
    XXH128_canonicalFromHash(cython.address(canonical), h)
    digest: bytes = cython.cast(cython.p_char, cython.address(canonical.digest[0]))[:16]
    return digest.hex()


@cython.final
@cython.cclass
class Xxh128:
    """A running XXH3-128. The GIL, or the object's critical section, keeps other threads out."""

    def __cinit__(self):
        self.state = XXH3_createState()
        if self.state == cython.NULL:
            raise MemoryError()
        XXH3_128bits_reset(self.state)

    def __dealloc__(self):
        XXH3_freeState(self.state)

    def update(self, data: object) -> None:
        view: Py_buffer
        PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
        try:
            with cython.critical_section(self):
                XXH3_128bits_update(self.state, view.buf, view.len)
        finally:
            PyBuffer_Release(cython.address(view))

    def hexdigest(self) -> str:
        with cython.critical_section(self):
            return hash_hex(XXH3_128bits_digest(self.state))


def file_xxh128(path: object) -> tuple:
    """The size in bytes and the XXH3-128 of a file, read from end to end without the GIL."""
    encoded: bytes = os.fsencode(path)
    name: cython.p_char = encoded
    total: uint64_t = 0
    digest: XXH128_hash_t
    outcome: cython.int
    with cython.nogil:
        outcome = hash_file(name, cython.address(total), cython.address(digest))
    if outcome < 0:
        raise OSError(-outcome, os.strerror(-outcome), os.fspath(path))
    return total, hash_hex(digest)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def hash_file(
    path: cython.p_char, total: cython.pointer[uint64_t], digest: cython.pointer[XXH128_hash_t]
) -> cython.int:
    """0, or -errno."""
    fd: cython.int = file_open_read(path)
    if fd < 0:
        return fd
    outcome: cython.int = -12  # ENOMEM
    chunk: cython.p_char = cython.cast(cython.p_char, malloc(CHUNK_BYTES))
    state: cython.pointer[XXH3_state_t] = XXH3_createState()
    if chunk != cython.NULL and state != cython.NULL:
        outcome = hash_descriptor(fd, chunk, state, total)
        digest[0] = XXH3_128bits_digest(state)
    XXH3_freeState(state)
    free(chunk)
    file_close(fd)
    return outcome


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def hash_descriptor(
    fd: cython.int,
    chunk: cython.p_char,
    state: cython.pointer[XXH3_state_t],
    total: cython.pointer[uint64_t],
) -> cython.int:
    got: int64_t
    XXH3_128bits_reset(state)
    while True:
        got = file_pread(fd, chunk, CHUNK_BYTES, total[0])
        if got < 0:
            return cython.cast(cython.int, got)
        XXH3_128bits_update(state, chunk, got)
        total[0] += got
        if cython.cast(cython.size_t, got) < CHUNK_BYTES:
            return 0
