"""Sequential output to one new file (law 1: it is written once, synced and sealed)."""

import cython
from cython.cimports.fjeld.kernel.checksum import (
    XXH3_128bits_digest,
    XXH3_128bits_reset,
    XXH3_128bits_update,
    XXH3_createState,
    XXH3_freeState,
)
from cython.cimports.fjeld.kernel.coding import cbytes
from cython.cimports.fjeld.kernel.failure import ST_OK, fail_io, fail_nomem
from cython.cimports.fjeld.kernel.files import file_close, file_create, file_pwrite, file_seal, file_sync
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcpy, memset


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def output_open(
    o: cython.pointer[Output], path: cython.p_const_char, f: cython.pointer[Failure]
) -> cython.int:
    memset(o, 0, cython.sizeof(Output))
    o.fd = -1
    o.path = path
    o.buffer = cython.cast(cython.pointer[uint8_t], malloc(OUTPUT_BUFFER_BYTES))
    o.hash = XXH3_createState()
    if o.buffer == cython.NULL or o.hash == cython.NULL:
        return fail_nomem(f)
    XXH3_128bits_reset(o.hash)
    o.fd = file_create(path)
    if o.fd < 0:
        return fail_io(f, path, -o.fd)
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def output_append(
    o: cython.pointer[Output], data: cython.p_const_void, n: cython.size_t, f: cython.pointer[Failure]
) -> cython.int:
    source: cbytes = cython.cast(cbytes, data)
    part: cython.size_t
    status: cython.int
    while n > 0:
        if o.buffered_bytes == OUTPUT_BUFFER_BYTES:
            status = flush(o, f)
            if status != ST_OK:
                return status
        part = OUTPUT_BUFFER_BYTES - o.buffered_bytes
        if part > n:
            part = n
        memcpy(o.buffer + o.buffered_bytes, source, part)
        o.buffered_bytes += part
        source += part
        n -= part
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def output_room(
    o: cython.pointer[Output], n: cython.size_t, f: cython.pointer[Failure]
) -> cython.pointer[uint8_t]:
    if n > OUTPUT_BUFFER_BYTES:
        return cython.NULL
    if o.buffered_bytes + n > OUTPUT_BUFFER_BYTES and flush(o, f) != ST_OK:
        return cython.NULL
    return o.buffer + o.buffered_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def output_take(o: cython.pointer[Output], n: cython.size_t) -> cython.void:
    o.buffered_bytes += n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def output_bytes(o: cython.pointer[cython.const[Output]]) -> uint64_t:
    return o.written_bytes + o.buffered_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flush(o: cython.pointer[Output], f: cython.pointer[Failure]) -> cython.int:
    """Hash and write the buffer. Hashed once: a failure here is the end of the file."""
    outcome: cython.int = file_pwrite(o.fd, o.buffer, o.buffered_bytes, o.written_bytes)
    if outcome < 0:
        return fail_io(f, o.path, -outcome)
    XXH3_128bits_update(o.hash, o.buffer, o.buffered_bytes)
    o.written_bytes += o.buffered_bytes
    o.buffered_bytes = 0
    if o.written_bytes - o.started_bytes >= WRITE_BEHIND_BYTES:
        fj_start_writing(o.fd, o.started_bytes, o.written_bytes - o.started_bytes)
        o.started_bytes = o.written_bytes
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def output_finish(
    o: cython.pointer[Output], sum: cython.pointer[XXH128_hash_t], f: cython.pointer[Failure]
) -> cython.int:
    outcome: cython.int = flush(o, f)
    if outcome != ST_OK:
        return outcome
    outcome = file_sync(o.fd)
    if outcome >= 0:
        outcome = file_seal(o.fd)
    if outcome < 0:
        return fail_io(f, o.path, -outcome)
    sum[0] = XXH3_128bits_digest(o.hash)
    outcome = file_close(o.fd)
    o.fd = -1
    if outcome < 0:
        return fail_io(f, o.path, -outcome)
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def output_close(o: cython.pointer[Output]) -> cython.void:
    if o.fd >= 0:
        file_close(o.fd)
    o.fd = -1
    free(o.buffer)
    o.buffer = cython.NULL
    XXH3_freeState(o.hash)
    o.hash = cython.NULL
