"""The bytes of a journal in memory. Its writer may be at work: what is read is what is there by then."""

import cython
from cython.cimports.fjeld.kernel.files import (
    file_close,
    file_next_data,
    file_next_hole,
    file_open_read,
    file_pread,
    file_size,
)
from cython.cimports.libc import errno as e
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.libc.stdlib import calloc


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_read(
    f: cython.pointer[JournalBytes], path: cython.pointer[cython.const[cython.char]], has_tail: cython.bint
) -> cython.int:
    """The whole file into zeroed memory; with `has_tail` its holes (never written to) are not read."""
    fd: cython.int = file_open_read(path)
    if fd < 0:
        return fd
    status: cython.int = journal_read_open(f, fd, has_tail)
    file_close(fd)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_read_open(f: cython.pointer[JournalBytes], fd: cython.int, has_tail: cython.bint) -> cython.int:
    size: int64_t = file_size(fd)
    if size < 0:
        return cython.cast(cython.int, size)
    f.data = cython.cast(cython.pointer[uint8_t], calloc(max(size, 1), 1))
    if f.data == cython.NULL:
        return -e.ENOMEM
    f.size_bytes = size
    return _read_extents(f, fd, has_tail)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _read_extents(f: cython.pointer[JournalBytes], fd: cython.int, has_tail: cython.bint) -> cython.int:
    at: uint64_t = 0
    while at < f.size_bytes:
        start: int64_t = at
        end: int64_t = f.size_bytes
        if has_tail:
            start = file_next_data(fd, at)
            if start == -e.ENXIO:
                break
            if start < 0:  # the file system does not know
                start = at
            else:
                end = file_next_hole(fd, start)
                if end < 0 or end > cython.cast(int64_t, f.size_bytes):
                    end = f.size_bytes
        if start >= end:
            break
        got: int64_t = file_pread(fd, f.data + start, end - start, start)
        if got < 0:
            return got
        f.data_end = start + got
        if got < end - start:  # it became shorter: a journal that is being finished
            f.size_bytes = f.data_end
        at = end
    return 0
