"""Where an export goes: into a new file, which appears whole or not at all, or into whatever can be written to."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from fjeld.backup.staging import CANNOT_LOCK, STAGING_SUFFIX, TRIES
from fjeld.kernel import files

__all__ = ["FileObject", "open_sink"]


class FileObject(Protocol):
    """What the export needs of a file object: neither a position nor a name."""

    def write(self, data: bytes, /) -> Any: ...


class Stream:
    """Writes all bytes to a file object. A raw one may take fewer at a time."""

    def __init__(self, target: FileObject) -> None:
        self._target = target

    def write(self, data: bytes) -> None:
        while data:
            taken = self._target.write(data)
            if not isinstance(taken, int):  # it says nothing, as some do: then it has taken all
                return
            if not 0 < taken <= len(data):
                raise OSError(f"the target of the export took {taken} of {len(data)} bytes")
            data = data[taken:]


class StagedFile:
    """A file beside its target, locked (flock) by its maker. `publish` gives it its name once it is on disk; without it,
    it is removed. One whose maker died is removed by the next export to the same target.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._parent, self._name = os.path.split(target)
        self._published = False
        self._remove_leftovers()
        for _ in range(TRIES):
            self._path = os.path.join(self._parent, f".{self._name}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}")
            self._file = files.AppendFile(self._path)
            try:
                self._lock_fd = _lock(self._path)
            except FileNotFoundError:
                self._file.close()  # another export took it for a left-over
            except BaseException:
                self._lock_fd = None
                self.discard()
                raise
            else:
                return
        raise FileExistsError(f"other exports to {target} take this one for a left-over: try again")

    def _remove_leftovers(self) -> None:
        pattern = re.compile(re.escape(f".{self._name}.") + "[0-9a-f]{12}" + re.escape(STAGING_SUFFIX))
        for name in os.listdir(self._parent):
            path = os.path.join(self._parent, name)
            if pattern.fullmatch(name) and os.path.isfile(path) and not os.path.islink(path):
                with suppress(OSError):  # somebody writes it, or it is gone
                    lock_fd = _lock(path)
                    if lock_fd is not None:
                        try:
                            files.unlink(path)
                        finally:
                            files.unlock_file(lock_fd)

    def write(self, data: bytes) -> None:
        self._file.append(data)

    def publish(self) -> None:
        self._file.seal()
        self._file.sync()
        self._file.close()
        files.rename_noreplace(self._path, self._target)
        self._published = True
        files.sync_directory(self._parent)
        self._unlock()

    def discard(self) -> None:
        """After a failure: nothing is left. A name that is not known to be on disk goes too."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            files.unlink(self._target if self._published else self._path)
        self._unlock()

    def _unlock(self) -> None:
        fd, self._lock_fd = self._lock_fd, None
        if fd is not None:
            files.unlock_file(fd)


def _lock(path: str) -> int | None:
    """Lock the file; None where the file system has no locks. FileNotFoundError: it is not the one of this name."""
    try:
        fd = files.lock_file(path, create=False)
    except BlockingIOError:
        raise FileNotFoundError(path) from None
    except OSError as error:
        if error.errno in CANNOT_LOCK:
            return None
        raise
    with suppress(OSError):
        if os.path.samestat(os.fstat(fd), os.lstat(path)):
            return fd
    files.unlock_file(fd)
    raise FileNotFoundError(path)


@contextmanager
def open_sink(target: str | FileObject) -> Iterator[Stream | StagedFile]:
    """A sink for the block; where it ends well the file is published, else there is none."""
    if not isinstance(target, str):
        yield Stream(target)
        flush = getattr(target, "flush", None)
        if callable(flush):
            flush()
        return
    staged = StagedFile(target)
    try:
        yield staged
        staged.publish()
    except BaseException:
        staged.discard()
        raise
