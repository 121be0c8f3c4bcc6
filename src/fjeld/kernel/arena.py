"""An arena: memory that is taken in pieces, in order, and given back all at once. A zeroed one is empty.

Chunks double from a page up to MOST_CHUNK_BYTES. Not thread-safe: its user has a lock.
"""

import cython
from cython.cimports.libc.stdlib import free, malloc


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def arena_take(a: cython.pointer[Arena], size: cython.size_t) -> cython.p_void:
    chunk: cython.pointer[Chunk] = a.chunks
    taken: cython.p_char
    size = (size + 7) & ~cython.cast(cython.size_t, 7)
    if chunk == cython.NULL or chunk.used_bytes + size > chunk.capacity_bytes:
        chunk = chunk_add(a, size)
        if chunk == cython.NULL:
            return cython.NULL
    taken = cython.cast(cython.p_char, chunk) + chunk.used_bytes
    chunk.used_bytes += size
    return taken


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def chunk_add(a: cython.pointer[Arena], size: cython.size_t) -> cython.pointer[Chunk]:
    """A fresh chunk with room for `size` bytes, twice as large as the one before."""
    capacity: cython.size_t = FIRST_CHUNK_BYTES
    chunk: cython.pointer[Chunk]
    if a.chunks != cython.NULL:
        capacity = min(a.chunks.capacity_bytes * 2, cython.cast(cython.size_t, MOST_CHUNK_BYTES))
    if size + cython.sizeof(Chunk) > capacity:
        capacity = size + cython.sizeof(Chunk)
    chunk = cython.cast(cython.pointer[Chunk], malloc(capacity))
    if chunk == cython.NULL:
        return cython.NULL
    chunk.used_bytes = cython.sizeof(Chunk)
    chunk.capacity_bytes = capacity
    chunk.next = a.chunks
    a.chunks = chunk
    a.bytes += capacity
    return chunk


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def arena_free(a: cython.pointer[Arena]) -> cython.void:
    chunk: cython.pointer[Chunk] = a.chunks
    following: cython.pointer[Chunk]
    while chunk != cython.NULL:
        following = chunk.next
        free(chunk)
        chunk = following
    a.chunks = cython.NULL
    a.bytes = 0
