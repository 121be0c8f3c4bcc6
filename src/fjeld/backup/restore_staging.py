"""The staging folder of a restore, `.NAME.restore.fjeld-staging`: one for each target, so that the next restore to it
finds what a crash has left and goes on from there.

Whoever works in it has it locked (flock of the folder; the system lets go when the process dies), so two restores to
one target never meet.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType

from fjeld.backup.closed_keyspace import lock_folder
from fjeld.backup.file_check import check_file
from fjeld.backup.removal import delete_tree
from fjeld.backup.staging import STAGING_SUFFIX
from fjeld.errors import CorruptionError, LockedError
from fjeld.kernel import files
from fjeld.kernel.file_groups import sync_directories
from fjeld.manifest import names
from fjeld.manifest.state import FileRecord

__all__ = ["RestoreStaging", "restore_staging_path"]

FOLDERS = (names.TABLES_DIRECTORY, names.BLOBS_DIRECTORY, names.JOURNALS_DIRECTORY)


def restore_staging_path(target: str) -> str:
    """Where a restore to `target` is built."""
    parent, name = os.path.split(target)
    return os.path.join(parent, f".{name}.restore{STAGING_SUFFIX}")


class RestoreStaging:
    """Made, or taken over from a restore that died. A context manager: what is not let go of with `moved` is removed
    at its end, but by a crash.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._parent = os.path.dirname(target)
        self.path = restore_staging_path(target)
        self._lock_fd: int | None = None
        self._folders: set[str] = set(FOLDERS)

    def __enter__(self) -> RestoreStaging:
        made = True
        try:
            files.make_directory(self.path)
        except FileExistsError:
            made = False  # of a restore that died, or of one that has it locked
        try:
            self._lock_fd = lock_folder(
                self.path, f"another restore to {self._target} is under way: wait for it"
            )
        except OSError:
            if made:
                with suppress(OSError):
                    files.remove_directory(self.path)
            raise
        if self._lock_fd is not None and not self._is_own(self._lock_fd):
            files.unlock_file(self._lock_fd)
            self._lock_fd = None
            raise LockedError(f"another restore to {self._target} has just ended: try again")
        return self

    def _is_own(self, fd: int) -> bool:
        """Is the folder that was locked still the one of this name?"""
        try:
            return os.path.samestat(os.fstat(fd), os.lstat(self.path))
        except FileNotFoundError:
            return False

    def adopt(self, copy: str) -> None:
        """Take over a whole copy that no one has seen yet. Requires: it is not entered."""
        if os.path.lexists(self.path):
            delete_tree(copy)
        else:
            files.rename_noreplace(copy, self.path)

    def prepare(self, records: Iterable[FileRecord]) -> set[str]:
        """Make the folders that the files need; the paths of those that are there already, and whole.

        Everything else that is there is removed.
        """
        wanted = {record.path: record for record in records}
        self._folders |= {os.path.dirname(path) for path in wanted}
        whole = set()
        for path in list(self._found()):
            record = wanted.get(path)
            if record is not None and self._is_whole(record):
                whole.add(path)
            else:
                self._delete(os.path.join(self.path, path))
        for folder in sorted(self._folders):
            try:
                files.make_directory(os.path.join(self.path, folder))
            except FileExistsError:
                pass
        return whole

    def _found(self) -> Iterator[str]:
        """Every file and every folder that does not belong here, relative to the staging folder."""
        for name in os.listdir(self.path):
            place = os.path.join(self.path, name)
            if name in self._folders and os.path.isdir(place) and not os.path.islink(place):
                for inner in os.listdir(place):
                    yield f"{name}/{inner}"
            else:
                yield name

    def _is_whole(self, record: FileRecord) -> bool:
        """There, with the right bytes, and on disk: a copy that was never synced may be whole to look at only."""
        path = os.path.join(self.path, record.path)
        about = os.lstat(path)
        sealed_or_linked = about.st_nlink > 1 or not about.st_mode & 0o222
        if not (stat.S_ISREG(about.st_mode) and sealed_or_linked):
            return False
        try:
            check_file(self.path, record)
        except CorruptionError:
            return False
        files.sync_file(path)
        return True

    @staticmethod
    def _delete(path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            delete_tree(path)
        else:
            files.unlink(path)

    def sync(self) -> None:
        """All names in it are on disk."""
        folders = [os.path.join(self.path, folder) for folder in sorted(self._folders)]
        sync_directories([*folders, self.path])

    def move_to(self, path: str) -> None:
        """Give it another name, where there is none yet; on disk when this returns."""
        files.rename_noreplace(self.path, path)
        self.path = path
        files.sync_directory(self._parent)

    def published(self) -> None:
        """It is the target now: nothing of it is removed any more."""
        self.path = ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock_fd is not None:
            files.unlock_file(self._lock_fd)
            self._lock_fd = None
