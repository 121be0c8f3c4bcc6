"""Files, for the control plane: each call lets go of the GIL and raises OSError with the path.

Here also what is more than one system call: a new file with given bytes, a copy, many links. Paths are str,
bytes or PathLike. The calls themselves, and where faults and the trace come in, are in `file_calls`.

Thread safety: functions from any thread; an AppendFile from one at a time.
"""

import errno
import fcntl
import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.fjeld.kernel import file_probe as probe
from cython.cimports.fjeld.kernel.checksum import XXH128_canonical_t, XXH128_canonicalFromHash, XXH128_hash_t
from cython.cimports.fjeld.kernel.coding import fj_atomic_load, fj_atomic_store
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free

from fjeld.kernel.file_probe import clear_faults, faults_hit, inject, start_trace, stop_trace

__all__ = [
    "AppendFile",
    "CancelFlag",
    "clear_faults",
    "close_file",
    "copy_file",
    "copy_file_summed",
    "create_file",
    "faults_hit",
    "inject",
    "is_locked",
    "link_many",
    "lock_directory",
    "lock_file",
    "lock_file_shared",
    "make_directory",
    "open_file",
    "read_file",
    "remove_directory",
    "rename",
    "rename_exchange",
    "rename_noreplace",
    "start_trace",
    "stop_trace",
    "sync_directory",
    "sync_file",
    "truncate",
    "unlink",
    "unlock_file",
]

text_t = cython.typedef(cython.pointer[cython.const[cython.char]])


@cython.cfunc
def _encode(path: object) -> bytes:
    name: bytes = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte in a path")
    return name


@cython.cfunc
def _check(status: int64_t, path: object, other: object) -> object:
    """Raise the OSError that a status below 0 stands for."""
    if status < 0:
        first: object = os.fsdecode(path)
        second: object = None if other is None else os.fsdecode(other)
        raise OSError(-status, os.strerror(-status), first, None, second)
    return None


# ---- directories and names ----


def make_directory(path):
    name: bytes = _encode(path)
    text: text_t = name
    status: cython.int
    with cython.nogil:
        status = file_make_directory(text)
    _check(status, path, None)


def remove_directory(path):
    name: bytes = _encode(path)
    text: text_t = name
    status: cython.int
    with cython.nogil:
        status = file_remove_directory(text)
    _check(status, path, None)


def sync_directory(path):
    """The names in the directory are on disk."""
    name: bytes = _encode(path)
    text: text_t = name
    status: cython.int
    with cython.nogil:
        status = file_sync_directory(text)
    _check(status, path, None)


def unlink(path):
    name: bytes = _encode(path)
    text: text_t = name
    status: cython.int
    with cython.nogil:
        status = file_unlink(text)
    _check(status, path, None)


def rename(source, target):
    """Atomically; a target that exists is replaced."""
    source_name: bytes = _encode(source)
    target_name: bytes = _encode(target)
    source_text: text_t = source_name
    target_text: text_t = target_name
    status: cython.int
    with cython.nogil:
        status = file_rename(source_text, target_text)
    _check(status, source, target)


def rename_noreplace(source, target):
    """Atomically; FileExistsError where there is a target of any kind, an empty directory too."""
    source_name: bytes = _encode(source)
    target_name: bytes = _encode(target)
    source_text: text_t = source_name
    target_text: text_t = target_name
    status: cython.int
    with cython.nogil:
        status = file_rename_noreplace(source_text, target_text)
    _check(status, source, target)


def rename_exchange(one, other):
    """Two names change places at once, so that neither is ever missing. False where the file system cannot."""
    one_name: bytes = _encode(one)
    other_name: bytes = _encode(other)
    one_text: text_t = one_name
    other_text: text_t = other_name
    status: cython.int
    with cython.nogil:
        status = file_rename_exchange(one_text, other_text)
    if status in (-errno.EINVAL, -errno.ENOSYS, -errno.EOPNOTSUPP):
        return False
    _check(status, one, other)
    return True


@cython.final
@cython.cclass
class CancelFlag:
    """Tells a call that runs without the GIL to stop. Any thread may set it, at any time."""

    def set(self):
        fj_atomic_store(cython.address(self.raised), 1)

    def is_set(self):
        return fj_atomic_load(cython.address(self.raised)) != 0


def link_many(sources: list, targets: list, cancel: CancelFlag = None):
    """Hard-link each source to its target in one go without the GIL: per pair 0, or the errno.

    The paths are bytes. Once `cancel` is set, the pairs that are left get ECANCELED.
    """
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources, {len(targets)} targets")
    held: list = [_encode(path) for path in sources] + [_encode(path) for path in targets]
    n: cython.size_t = len(sources)
    names: cython.pointer[text_t] = cython.cast(
        cython.pointer[text_t], calloc(2 * n + 1, cython.sizeof(text_t))
    )
    errors: cython.pointer[cython.int] = cython.cast(
        cython.pointer[cython.int], calloc(n + 1, cython.sizeof(cython.int))
    )
    i: cython.size_t
    try:
        if names == cython.NULL or errors == cython.NULL:
            raise MemoryError
        for i in range(2 * n):
            names[i] = PyBytes_AS_STRING(held[i])
        flag: cython.pointer[cython.int] = cython.NULL
        if cancel is not None:
            flag = cython.address(cancel.raised)
        with cython.nogil:
            for i in range(n):
                if flag != cython.NULL and fj_atomic_load(flag) != 0:
                    errors[i] = ECANCELED
                else:
                    errors[i] = -file_link(names[i], names[n + i])
        return [errors[i] for i in range(n)]
    finally:
        free(names)
        free(errors)


# ---- whole files ----


def create_file(path, data: bytes, *, seal=False):
    """A new file with these bytes, synced; with `seal`, read-only for good. On an error there is no file."""
    name: bytes = _encode(path)
    text: text_t = name
    start: text_t = data
    n: cython.size_t = len(data)
    sealed: cython.bint = seal
    status: cython.int
    with cython.nogil:
        status = _create(text, start, n, sealed)
    _check(status, path, None)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _create(path: text_t, data: text_t, n: cython.size_t, sealed: cython.bint) -> cython.int:
    fd: cython.int = file_create(path)
    if fd < 0:
        return fd
    status: cython.int = file_pwrite(fd, data, n, 0) if n > 0 else 0
    if status >= 0 and sealed:
        status = file_seal(fd)
    if status >= 0:
        status = file_sync_all(fd)
    return file_close_new(fd, path, status)


def read_file(path):
    """All bytes of a file."""
    name: bytes = _encode(path)
    text: text_t = name
    fd: cython.int
    size: int64_t = 0
    with cython.nogil:
        fd = file_open_read(text)
        if fd >= 0:
            size = file_size(fd)
    _check(fd, path, None)
    try:
        _check(size, path, None)
        data: bytes = PyBytes_FromStringAndSize(cython.NULL, size)
        start: cython.p_char = PyBytes_AS_STRING(data)
        got: int64_t
        with cython.nogil:
            got = file_pread(fd, start, size, 0)
        _check(got, path, None)
    finally:
        file_close(fd)
    return data if got == size else data[:got]


def open_file(path):
    """A descriptor to read the file by, whatever becomes of its name. Close it with `close_file`."""
    name: bytes = _encode(path)
    text: text_t = name
    fd: cython.int
    with cython.nogil:
        fd = file_open_read(text)
    _check(fd, path, None)
    return fd


def close_file(fd):
    """Close what `open_file` gave."""
    number: cython.int = fd
    with cython.nogil:
        file_close(number)


def sync_file(path):
    """The file, with all its attributes, is on disk."""
    name: bytes = _encode(path)
    text: text_t = name
    fd: cython.int
    status: cython.int = 0
    with cython.nogil:
        fd = file_open_read(text)
        if fd >= 0:
            status = file_sync_all(fd)
            file_close(fd)
    _check(fd, path, None)
    _check(status, path, None)


def truncate(path, size_bytes):
    name: bytes = _encode(path)
    text: text_t = name
    n: uint64_t = size_bytes
    status: cython.int
    with cython.nogil:
        status = file_truncate_path(text, n)
    _check(status, path, None)


def copy_file(source, target, *, reflink=True):
    """A new file, sealed and synced, with the bytes of another: (bytes_reflinked, bytes_copied).

    Without `reflink` nothing is shared with the source, not even blocks. On an error there is no target.
    """
    source_name: bytes = _encode(source)
    target_name: bytes = _encode(target)
    source_text: text_t = source_name
    target_text: text_t = target_name
    share: cython.bint = reflink
    reflinked: uint64_t = 0
    copied: uint64_t = 0
    status: cython.int
    with cython.nogil:
        status = file_copy(
            source_text,
            target_text,
            share,
            cython.address(reflinked),
            cython.address(copied),
            cython.NULL,
            cython.NULL,
        )
    _check(status, source, target)
    return reflinked, copied


def copy_file_summed(source, target, *, reflink=True, cancel: CancelFlag = None):
    """As `copy_file`, and the XXH3-128 of what was copied: (bytes_reflinked, bytes_copied, xxh128 or None).

    The sum is of the bytes that were read, taken on their way; None: they are shared, and were not read.
    Once `cancel` is set, soon an OSError of ECANCELED.
    """
    source_name: bytes = _encode(source)
    target_name: bytes = _encode(target)
    source_text: text_t = source_name
    target_text: text_t = target_name
    share: cython.bint = reflink
    reflinked: uint64_t = 0
    copied: uint64_t = 0
    total: XXH128_hash_t
    canonical: XXH128_canonical_t
    flag: cython.pointer[cython.int] = cython.NULL
    if cancel is not None:
        flag = cython.address(cancel.raised)
    status: cython.int
    with cython.nogil:
        status = file_copy(
            source_text,
            target_text,
            share,
            cython.address(reflinked),
            cython.address(copied),
            cython.address(total),
            flag,
        )
    _check(status, source, target)
    if reflinked:
        return reflinked, copied, None
    XXH128_canonicalFromHash(cython.address(canonical), total)
    digest: bytes = cython.cast(cython.p_char, cython.address(canonical.digest[0]))[:16]
    return reflinked, copied, digest.hex()


# ---- files that grow, files that lock ----


@cython.cfunc
@cython.exceptval(-1)
def _descriptor(file: AppendFile) -> cython.int:
    if file.fd < 0:
        raise ValueError(f"{file.path}: the file is closed")
    return file.fd


@cython.final
@cython.cclass
class AppendFile:
    """A new file that grows at its end. Owns the descriptor; closes it when it is forgotten.

    After an append or a sync that failed, nothing is known of the bytes behind the last sync: go on with a
    new file.
    """

    def __cinit__(self, path):
        self.fd = -1
        name: bytes = _encode(path)
        text: text_t = name
        self.path = os.fsdecode(name)
        fd: cython.int
        with cython.nogil:
            fd = file_create(text)
        _check(fd, path, None)
        self.fd = fd

    def __dealloc__(self):
        if self.fd >= 0:
            file_close(self.fd)

    def append(self, data: bytes):
        fd: cython.int = _descriptor(self)
        start: text_t = data
        n: cython.size_t = len(data)
        offset: uint64_t = self.size
        status: cython.int
        with cython.nogil:
            status = file_pwrite(fd, start, n, offset)
        _check(status, self.path, None)
        self.size = offset + n

    def sync(self):
        """The bytes are on disk."""
        fd: cython.int = _descriptor(self)
        status: cython.int
        with cython.nogil:
            status = file_sync(fd)
        _check(status, self.path, None)

    def seal(self):
        """Read-only for good; on disk with the next sync."""
        fd: cython.int = _descriptor(self)
        status: cython.int
        with cython.nogil:
            status = file_seal(fd)
        _check(status, self.path, None)

    def close(self):
        if self.fd < 0:
            return
        fd: cython.int = self.fd
        self.fd = -1
        status: cython.int
        with cython.nogil:
            status = file_close(fd)
        _check(status, self.path, None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def lock_file(path, *, create=True):
    """Lock the file (made if there is none) and give its descriptor. BlockingIOError where it is taken.

    With create=False the file is only opened for reading: one on a read-only medium can be locked, too.
    """
    return _lock(path, os.O_CREAT | os.O_RDWR if create else os.O_RDONLY, fcntl.LOCK_EX)


def lock_file_shared(path):
    """As `lock_file` with create=False, beside others who share it."""
    return _lock(path, os.O_RDONLY, fcntl.LOCK_SH)


def lock_directory(path):
    """As `lock_file`, a directory that exists."""
    return _lock(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, fcntl.LOCK_EX)


@cython.cfunc
def _lock(path: object, flags: object, kind: object) -> object:
    name: bytes = _encode(path)
    text: text_t = name
    fault: cython.int = probe.probe_fault(probe.OP_LOCK, text, cython.NULL) if probe.probe_on else 0
    _check(-fault, path, None)
    fd: object = os.open(os.fsdecode(name), flags | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, os.strerror(error.errno), os.fsdecode(name)) from None
    return fd


def is_locked(path):
    """Does anybody have the lock of `lock_file`? None: it cannot be told.

    Nothing is made or written. The lock is tried, shared, for some microseconds: whoever takes it does so again.
    """
    try:
        unlock_file(lock_file_shared(path))
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def unlock_file(fd):
    """Unlock, then close: a child that was forked meanwhile has the same lock, and only until here."""
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)
