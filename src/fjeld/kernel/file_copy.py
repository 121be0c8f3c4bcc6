"""A copy of a file as a new one, sealed and synced: by reflink, else in the kernel, else through a buffer.

One operation for faults and the trace ("reflink" or "copy"), whatever calls it takes.
"""

import cython
from cython.cimports.fjeld.kernel import file_probe as probe
from cython.cimports.fjeld.kernel.checksum import (
    XXH3_128bits_digest,
    XXH3_128bits_reset,
    XXH3_128bits_update,
    XXH3_createState,
    XXH3_freeState,
    XXH3_state_t,
    XXH128_hash_t,
)
from cython.cimports.fjeld.kernel.coding import fj_atomic_load
from cython.cimports.fjeld.kernel.file_calls import (
    file_close,
    file_close_new,
    file_create,
    file_open_read,
    file_read_all,
    file_seal,
    file_size,
    file_sync_all,
    file_write_all,
)
from cython.cimports.libc import errno as e
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc

text_t = cython.typedef(cython.pointer[cython.const[cython.char]])

# One call of copy_file_range, one read of the fallback: large enough that the calls cost nothing beside the
# bytes; the buffer small enough that it is summed and written out of the processor's cache.
_RANGE_BYTES = cython.declare(cython.size_t, 64 << 20)
_BUFFER_BYTES = cython.declare(cython.size_t, 256 << 10)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_copy(
    source: text_t,
    target: text_t,
    reflink: cython.bint,
    reflinked_bytes: cython.pointer[uint64_t],
    copied_bytes: cython.pointer[uint64_t],
    sum: cython.pointer[XXH128_hash_t],
    cancel: cython.pointer[cython.int],
) -> cython.int:
    source_fd: cython.int = file_open_read(source)
    if source_fd < 0:
        return source_fd
    target_fd: cython.int = file_create(target)
    if target_fd < 0:
        file_close(source_fd)
        return target_fd
    reflinked_bytes[0] = 0
    copied_bytes[0] = 0
    size: int64_t = file_size(source_fd)
    status: cython.int = -1
    if size < 0:
        status = size
    else:
        if reflink and (size > 0 or sum == cython.NULL):  # of nothing there is a sum, too
            status = _reflink(source_fd, target_fd, source, target)
        if status >= 0:
            reflinked_bytes[0] = size
        elif not reflink or not _is_fatal(status):
            status = _copy(
                source_fd, target_fd, size, reflink and sum == cython.NULL, source, target, sum, cancel
            )
            copied_bytes[0] = size
    if status >= 0:
        status = file_seal(target_fd)
    if status >= 0:
        status = file_sync_all(target_fd)
    file_close(source_fd)
    return file_close_new(target_fd, target, status)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _is_cancelled(cancel: cython.pointer[cython.int]) -> cython.bint:
    return cancel != cython.NULL and fj_atomic_load(cancel) != 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _is_fatal(status: cython.int) -> cython.bint:
    """A failure that another way of copying would meet as well."""
    return status == -e.EIO or status == -e.ENOSPC or status == -e.EDQUOT


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _reflink(source_fd: cython.int, target_fd: cython.int, source: text_t, target: text_t) -> cython.int:
    fault: cython.int = probe.probe_fault(probe.OP_REFLINK, source, target) if probe.probe_on else 0
    if fault > 0:
        return -fault
    status: cython.int = fj_reflink(target_fd, source_fd)
    if status >= 0 and probe.probe_on:
        probe.probe_note(probe.OP_REFLINK, source, target)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _copy(
    source_fd: cython.int,
    target_fd: cython.int,
    size: uint64_t,
    in_kernel: cython.bint,
    source: text_t,
    target: text_t,
    sum: cython.pointer[XXH128_hash_t],
    cancel: cython.pointer[cython.int],
) -> cython.int:
    fault: cython.int = probe.probe_fault(probe.OP_COPY, source, target) if probe.probe_on else 0
    if fault > 0:
        return -fault
    done: uint64_t = 0
    got: int64_t
    while in_kernel and done < size:
        if _is_cancelled(cancel):
            return -ECANCELED
        got = fj_copy_range(source_fd, target_fd, done, _RANGE_BYTES)
        if got > 0:
            done += got
        elif got < 0 and _is_fatal(got):
            return got
        elif got != -e.EINTR:
            break  # not between these two files, or not at all: the rest is read and written
    status: cython.int = _copy_through_buffer(source_fd, target_fd, size, done, sum, cancel)
    if status >= 0 and probe.probe_on:
        probe.probe_note(probe.OP_COPY, source, target)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _copy_through_buffer(
    source_fd: cython.int,
    target_fd: cython.int,
    size: uint64_t,
    done: uint64_t,
    sum: cython.pointer[XXH128_hash_t],
    cancel: cython.pointer[cython.int],
) -> cython.int:
    if sum == cython.NULL:
        return 0 if done >= size else _pump(source_fd, target_fd, size, done, cython.NULL, cancel)
    state: cython.pointer[XXH3_state_t] = XXH3_createState()
    if state == cython.NULL:
        return -e.ENOMEM
    XXH3_128bits_reset(state)
    status: cython.int = _pump(source_fd, target_fd, size, done, state, cancel)
    sum[0] = XXH3_128bits_digest(state)
    XXH3_freeState(state)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _pump(
    source_fd: cython.int,
    target_fd: cython.int,
    size: uint64_t,
    done: uint64_t,
    state: cython.pointer[XXH3_state_t],
    cancel: cython.pointer[cython.int],
) -> cython.int:
    buffer: cython.p_char = cython.cast(cython.p_char, malloc(_BUFFER_BYTES))
    if buffer == cython.NULL:
        return -e.ENOMEM
    status: cython.int = 0
    while done < size and status >= 0:
        if _is_cancelled(cancel):
            status = -ECANCELED
            break
        wanted: cython.size_t = min(_BUFFER_BYTES, size - done)
        got: int64_t = file_read_all(source_fd, buffer, wanted, done)
        if got == cython.cast(int64_t, wanted):
            if state != cython.NULL:
                XXH3_128bits_update(state, buffer, wanted)
            status = file_write_all(target_fd, buffer, wanted, done)
        else:
            status = got if got < 0 else -e.EIO  # the source has become shorter
        done += wanted
    free(buffer)
    return status
