"""A file read from its beginning to its end, without the GIL, for what is too large to be read at once."""

import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.fjeld.kernel.files import file_close, file_open_read, file_pread
from cython.cimports.libc.stdint import int64_t, uint64_t

__all__ = ["ReadFile"]


@cython.final
@cython.cclass
class ReadFile:
    """Owns a descriptor; closes it when it is forgotten. For one thread."""

    def __cinit__(self, path):
        self.fd = -1
        name: bytes = os.fsencode(path)
        if b"\0" in name:
            raise ValueError("embedded null byte in a path")
        text: cython.p_char = name
        self.path = os.fsdecode(name)
        fd: cython.int
        with cython.nogil:
            fd = file_open_read(text)
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd), self.path)
        self.fd = fd

    def __dealloc__(self):
        if self.fd >= 0:
            file_close(self.fd)

    def read(self, size_bytes: cython.Py_ssize_t) -> bytes:
        """The next `size_bytes`; fewer only where the file ends."""
        if self.fd < 0:
            raise ValueError(f"{self.path}: the file is closed")
        data: bytes = PyBytes_FromStringAndSize(cython.NULL, size_bytes)
        into: cython.p_char = PyBytes_AS_STRING(data)
        fd: cython.int = self.fd
        offset: uint64_t = self.position
        got: int64_t
        with cython.nogil:
            got = file_pread(fd, into, size_bytes, offset)
        if got < 0:
            raise OSError(-got, os.strerror(-got), self.path)
        self.position = offset + got
        return data if got == size_bytes else data[:got]

    def close(self):
        if self.fd >= 0:
            fd: cython.int = self.fd
            self.fd = -1
            with cython.nogil:
                file_close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
