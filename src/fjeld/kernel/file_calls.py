"""The system calls on files that the engine makes, for code without the GIL: each returns >= 0, or -errno.

Faults and the trace (`file_probe`) come between here and the system; nothing else in the engine calls it.
`files` is the same for the control plane.

Thread safety: all functions may be called from any thread; a descriptor must not be closed beside another
call on it.
"""

import cython
from cython.cimports.fjeld.kernel import file_probe as probe
from cython.cimports.libc import errno as e
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.libc.stdio import rename as c_rename
from cython.cimports.posix.fcntl import (
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_RDONLY,
    O_RDWR,
    POSIX_FADV_WILLNEED,
    posix_fadvise,
)
from cython.cimports.posix.fcntl import open as c_open
from cython.cimports.posix.mman import MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from cython.cimports.posix.stat import fchmod, fstat, lstat, struct_stat
from cython.cimports.posix.stat import mkdir as c_mkdir
from cython.cimports.posix.unistd import close as c_close
from cython.cimports.posix.unistd import ftruncate, pread, pwrite, rmdir
from cython.cimports.posix.unistd import link as c_link
from cython.cimports.posix.unistd import truncate as c_truncate
from cython.cimports.posix.unistd import unlink as c_unlink

text_t = cython.typedef(cython.pointer[cython.const[cython.char]])


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _refused(operation: cython.int, path: text_t, other: text_t) -> cython.int:
    """-errno if the operation is to fail on purpose, else 0."""
    return -probe.probe_fault(operation, path, other) if probe.probe_on else 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _refused_fd(operation: cython.int, fd: cython.int) -> cython.int:
    return -probe.probe_fault_fd(operation, fd) if probe.probe_on else 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _done(operation: cython.int, result: cython.int, path: text_t, other: text_t) -> cython.int:
    """What a system call returned as >= 0 or -errno; what succeeded goes into the trace."""
    if result < 0:
        return -e.errno
    if probe.probe_on:
        probe.probe_note(operation, path, other)
    return result


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _done_fd(operation: cython.int, status: cython.int, fd: cython.int, number: uint64_t) -> cython.int:
    if status >= 0 and probe.probe_on:
        probe.probe_note_fd(operation, fd, number, cython.NULL, 0)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _open(operation: cython.int, path: text_t, flags: cython.int) -> cython.int:
    status: cython.int = _refused(operation, path, cython.NULL)
    if status < 0:
        return status
    fd: cython.int = c_open(path, flags | O_CLOEXEC, 0o644)
    while fd < 0 and e.errno == e.EINTR:
        fd = c_open(path, flags | O_CLOEXEC, 0o644)
    if fd >= 0:
        probe.probe_opened(fd, path)
    return _done(operation, fd, path, cython.NULL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_create(path: text_t) -> cython.int:
    return _open(probe.OP_CREATE, path, O_CREAT | O_EXCL | O_RDWR)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_open_read(path: text_t) -> cython.int:
    return _open(probe.OP_OPEN, path, O_RDONLY)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_close(fd: cython.int) -> cython.int:
    """The descriptor is gone in any case, also after an error (so EINTR is not tried again)."""
    refused: cython.int = _refused_fd(probe.OP_CLOSE, fd)
    if refused >= 0:
        _done_fd(probe.OP_CLOSE, 0, fd, 0)
    probe.probe_closed(fd)
    if c_close(fd) < 0 and e.errno != e.EINTR:
        return -e.errno
    return refused


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_read_all(fd: cython.int, into: cython.p_char, n: cython.size_t, offset: uint64_t) -> int64_t:
    done: cython.size_t = 0
    while done < n:
        got: cython.Py_ssize_t = pread(fd, into + done, n - done, offset + done)
        if got == 0:
            break
        if got > 0:
            done += got
        elif e.errno != e.EINTR:
            return -e.errno
    return done


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_write_all(fd: cython.int, data: text_t, n: cython.size_t, offset: uint64_t) -> cython.int:
    done: cython.size_t = 0
    while done < n:
        put: cython.Py_ssize_t = pwrite(fd, data + done, n - done, offset + done)
        if put > 0:
            done += put
        elif put == 0:
            return -e.EIO
        elif e.errno != e.EINTR:
            return -e.errno
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_pread(
    fd: cython.int, buf: cython.pointer[cython.void], n: cython.size_t, offset: uint64_t
) -> int64_t:
    status: cython.int = _refused_fd(probe.OP_READ, fd)
    if status < 0:
        return status
    return file_read_all(fd, cython.cast(cython.p_char, buf), n, offset)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_pread_now(
    fd: cython.int, buf: cython.pointer[cython.void], n: cython.size_t, offset: uint64_t
) -> int64_t:
    if probe.probe_on:  # faults and traces are of reads that may wait
        return -e.EAGAIN
    return fj_pread_now(fd, buf, n, offset)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_pwrite(
    fd: cython.int, buf: cython.pointer[cython.const[cython.void]], n: cython.size_t, offset: uint64_t
) -> cython.int:
    if probe.probe_on:
        return _pwrite_probed(fd, cython.cast(text_t, buf), n, offset)
    return file_write_all(fd, cython.cast(text_t, buf), n, offset)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _pwrite_probed(fd: cython.int, data: text_t, n: cython.size_t, offset: uint64_t) -> cython.int:
    """With faults and the trace: what was written is recorded, also of a write that stops half-way."""
    status: cython.int = _refused_fd(probe.OP_WRITE, fd)
    if status < 0:
        return status
    first: cython.size_t = n
    fault: cython.int = probe.probe_fault_fd(probe.OP_PWRITE_SHORT, fd)
    if fault != 0:
        first = n // 2
    status = file_write_all(fd, data, first, offset)
    if status < 0:
        return status
    if fault > 0:
        probe.probe_note_fd(probe.OP_WRITE, fd, offset, data, first)
        return -fault
    status = file_write_all(fd, data + first, n - first, offset + first)
    if status >= 0:
        probe.probe_note_fd(probe.OP_WRITE, fd, offset, data, n)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _sync(operation: cython.int, fd: cython.int) -> cython.int:
    """A sync that failed is never tried again, EINTR apart: the kernel may have dropped the dirty pages."""
    status: cython.int = _refused_fd(operation, fd)
    if status < 0:
        return status
    noted: uint64_t = 0
    if probe.probe_on:
        noted = probe.probe_note_fd(operation, fd, 0, cython.NULL, 0)
    status = -e.EINTR
    while status == -e.EINTR:
        status = fj_sync_data(fd) if operation == probe.OP_SYNC else fj_sync_all(fd)
    if status < 0 and noted != 0:
        probe.probe_drop(noted)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_sync(fd: cython.int) -> cython.int:
    return _sync(probe.OP_SYNC, fd)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_sync_all(fd: cython.int) -> cython.int:
    return _sync(probe.OP_SYNC_ALL, fd)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_allocate(fd: cython.int, n: uint64_t) -> cython.int:
    status: cython.int = _refused_fd(probe.OP_ALLOCATE, fd)
    if status < 0:
        return status
    status = -e.EINTR
    while status == -e.EINTR:
        status = fj_allocate(fd, n)
    return _done_fd(probe.OP_ALLOCATE, status, fd, n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_truncate(fd: cython.int, n: uint64_t) -> cython.int:
    status: cython.int = _refused_fd(probe.OP_TRUNCATE, fd)
    if status < 0:
        return status
    while ftruncate(fd, n) < 0:
        if e.errno != e.EINTR:
            return -e.errno
    return _done_fd(probe.OP_TRUNCATE, 0, fd, n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_truncate_path(path: text_t, n: uint64_t) -> cython.int:
    status: cython.int = _refused(probe.OP_TRUNCATE, path, cython.NULL)
    if status < 0:
        return status
    while c_truncate(path, n) < 0:
        if e.errno != e.EINTR:
            return -e.errno
    if probe.probe_on:
        probe.probe_note_number(probe.OP_TRUNCATE, path, n)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_seal(fd: cython.int) -> cython.int:
    status: cython.int = _refused_fd(probe.OP_SEAL, fd)
    if status < 0:
        return status
    if fchmod(fd, 0o444) < 0:
        return -e.errno
    return _done_fd(probe.OP_SEAL, 0, fd, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_size(fd: cython.int) -> int64_t:
    about: struct_stat
    if fstat(fd, cython.address(about)) < 0:
        return -e.errno
    return about.st_size


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_will_read(fd: cython.int, offset: uint64_t, n: uint64_t) -> cython.void:
    posix_fadvise(fd, offset, n, POSIX_FADV_WILLNEED)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_next_data(fd: cython.int, offset: uint64_t) -> int64_t:
    return fj_seek(fd, offset, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_next_hole(fd: cython.int, offset: uint64_t) -> int64_t:
    return fj_seek(fd, offset, 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_map(fd: cython.int, n: uint64_t, map: cython.pointer[cython.pointer[uint8_t]]) -> cython.int:
    status: cython.int = _refused_fd(probe.OP_MAP, fd)
    if status < 0:
        return status
    start: cython.pointer[cython.void] = mmap(cython.NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if start == MAP_FAILED:
        return -e.errno
    map[0] = cython.cast(cython.pointer[uint8_t], start)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_populate(fd: cython.int, start: cython.pointer[uint8_t], n: uint64_t) -> cython.int:
    status: cython.int = _refused_fd(probe.OP_POPULATE, fd)
    if status < 0:
        return status
    status = fj_populate(start, n)
    while status == -e.EINTR:
        status = fj_populate(start, n)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_release(start: cython.pointer[uint8_t], n: uint64_t) -> cython.void:
    fj_release(start, n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_unmap(map: cython.pointer[uint8_t], n: uint64_t) -> cython.void:
    munmap(map, n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_link(source: text_t, target: text_t) -> cython.int:
    status: cython.int = _refused(probe.OP_LINK, source, target)
    if status < 0:
        return status
    return _done(probe.OP_LINK, c_link(source, target), source, target)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_rename(source: text_t, target: text_t) -> cython.int:
    status: cython.int = _refused(probe.OP_RENAME, source, target)
    if status < 0:
        return status
    return _done(probe.OP_RENAME, c_rename(source, target), source, target)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_rename_noreplace(source: text_t, target: text_t) -> cython.int:
    status: cython.int = _refused(probe.OP_RENAME, source, target)
    if status < 0:
        return status
    status = _refused(probe.OP_NOREPLACE, source, target)
    if status == 0:
        status = fj_rename_noreplace(source, target)
    if status == -e.EINVAL or status == -e.ENOSYS or status == -e.EOPNOTSUPP:
        # The file system cannot refuse by itself: a look before leaves a gap that only another publisher of
        # the same name could slip through.
        about: struct_stat
        if lstat(target, cython.address(about)) == 0:
            return -e.EEXIST
        status = -e.errno if c_rename(source, target) < 0 else 0
    if status >= 0 and probe.probe_on:
        probe.probe_note(probe.OP_RENAME, source, target)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_rename_exchange(one: text_t, other: text_t) -> cython.int:
    """-EINVAL or -ENOSYS: the file system cannot."""
    status: cython.int = _refused(probe.OP_EXCHANGE, one, other)
    if status == 0:
        status = fj_rename_exchange(one, other)
    if status >= 0 and probe.probe_on:
        probe.probe_note(probe.OP_EXCHANGE, one, other)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_unlink(path: text_t) -> cython.int:
    status: cython.int = _refused(probe.OP_UNLINK, path, cython.NULL)
    if status < 0:
        return status
    return _done(probe.OP_UNLINK, c_unlink(path), path, cython.NULL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_make_directory(path: text_t) -> cython.int:
    status: cython.int = _refused(probe.OP_MKDIR, path, cython.NULL)
    if status < 0:
        return status
    return _done(probe.OP_MKDIR, c_mkdir(path, 0o755), path, cython.NULL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_remove_directory(path: text_t) -> cython.int:
    status: cython.int = _refused(probe.OP_RMDIR, path, cython.NULL)
    if status < 0:
        return status
    return _done(probe.OP_RMDIR, rmdir(path), path, cython.NULL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_sync_directory(path: text_t) -> cython.int:
    """EINVAL is no error: a file system that has nothing to sync in a directory answers so."""
    status: cython.int = _refused(probe.OP_SYNC_DIR, path, cython.NULL)
    if status < 0:
        return status
    fd: cython.int = c_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if fd < 0:
        return -e.errno
    noted: uint64_t = 0
    if probe.probe_on:
        noted = probe.probe_note(probe.OP_SYNC_DIR, path, cython.NULL)
    status = -e.EINTR
    while status == -e.EINTR:
        status = fj_sync_all(fd)
    c_close(fd)
    if status == -e.EINVAL:
        return 0
    if status < 0 and noted != 0:
        probe.probe_drop(noted)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def file_close_new(fd: cython.int, path: text_t, status: cython.int) -> cython.int:
    """Close a file that was made here; remove it if anything went wrong with it, closing included."""
    closed: cython.int = file_close(fd)
    if status >= 0:
        status = closed
    if status < 0:
        file_unlink(path)
    return status
