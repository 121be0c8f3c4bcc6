"""The staging folder: a checkpoint is built beside its target and appears there whole, or not at all (law 4).

Its name is `.TARGET.<12 hex digits>.fjeld-staging`. Whoever builds in it has it locked (flock of the folder
itself, so nothing has to be taken out before it gets its name). The system lets go of the lock when a process
dies: a staging folder of the same target that can be locked is a left-over, and the next backup to that target
removes it. Where folders cannot be locked (some network file systems), left-overs stay.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from fjeld.kernel import files
from fjeld.kernel.file_groups import sync_directories
from fjeld.manifest import names

__all__ = ["STAGING_SUFFIX", "Staging", "leftovers_of", "remove_leftovers"]

STAGING_SUFFIX = ".fjeld-staging"
PATTERN = re.compile(r"\.(.+)\.[0-9a-f]{12}" + re.escape(STAGING_SUFFIX), re.DOTALL)

# What a file system answers that cannot lock a folder. Then nobody else can either.
CANNOT_LOCK = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# Somebody may take a folder for a left-over in the moment between its making and its locking.
TRIES = 8


class Staging:
    """A folder that becomes `target` by `publish`; without it, it is removed on exit, whatever happened."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._parent = os.path.dirname(target)
        self.path = ""
        """Known once it is entered."""
        self._lock_fd: int | None = None
        self._published = False

    def __enter__(self) -> Staging:
        remove_leftovers(self._target)
        try:
            self._make()
            for directory in names.FILE_DIRECTORIES:
                files.make_directory(os.path.join(self.path, directory))
        except BaseException:
            self._remove()
            raise
        return self

    def _make(self) -> None:
        for _ in range(TRIES):
            name = f".{os.path.basename(self._target)}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}"
            path = os.path.join(self._parent, name)
            files.make_directory(path)
            self.path = path
            if self._lock():
                return
        raise FileExistsError(f"other backups to {self._target} take this one for a left-over: try again")

    def _lock(self) -> bool:
        """Lock the folder that was just made; False where somebody else was faster, and removes it."""
        try:
            fd = files.lock_directory(self.path)
        except (BlockingIOError, FileNotFoundError):
            return False
        except OSError as error:
            if error.errno in CANNOT_LOCK:
                return True
            raise
        if not _is(fd, self.path):
            files.unlock_file(fd)
            return False
        self._lock_fd = fd
        return True

    def publish(self) -> None:
        """Everything in it is on disk: bring the folders there, from below, then give it its name."""
        folders = [os.path.join(self.path, directory) for directory in names.FILE_DIRECTORIES]
        sync_directories([*folders, self.path])
        files.rename_noreplace(self.path, self._target)
        self._published = True
        files.sync_directory(self._parent)

    def _remove(self) -> None:
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        fd, self._lock_fd = self._lock_fd, None
        if fd is not None:
            files.unlock_file(fd)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._published:
            self._unlock()
            return
        if self._published:  # the name is there, but not known to be on disk: a failure leaves no target
            shutil.rmtree(self._target, ignore_errors=True)
        self._remove()


def _is(fd: int, path: str) -> bool:
    """Is the folder that is open still the one of this name?"""
    with suppress(OSError):
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    return False


def leftovers_of(target: str) -> Iterator[str]:
    """Staging folders of this target, whether their makers live or not."""
    parent, base = os.path.split(target)
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            match = PATTERN.fullmatch(entry.name)
            if match is not None and match[1] == base and entry.is_dir(follow_symlinks=False):
                yield entry.path


def remove_leftovers(target: str) -> list[str]:
    """Remove the staging folders of this target whose makers are dead; their paths."""
    removed = []
    for path in list(leftovers_of(target)):
        try:
            fd = files.lock_directory(path)
        except OSError:  # somebody builds in it, or it cannot be told
            continue
        try:
            if _is(fd, path):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
        finally:
            files.unlock_file(fd)
    return removed
