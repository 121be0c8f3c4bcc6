"""What a keyspace that nobody has open consists of, read from its folder without changing a byte of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fjeld.backup.checkpoint_file import CheckpointDocument, find_document
from fjeld.backup.staging import CANNOT_LOCK
from fjeld.errors import CorruptionError, LockedError, NotAKeyspaceError
from fjeld.kernel import files
from fjeld.kernel.checksum import file_xxh128
from fjeld.manifest import names
from fjeld.manifest.current import read_current
from fjeld.manifest.marker import check_marker
from fjeld.manifest.state import FileRecord
from fjeld.manifest.version import Version
from fjeld.recovery.folder import read_version

__all__ = ["ClosedKeyspace", "hold_closed", "lock_folder", "read_closed", "read_identity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedKeyspace:
    """The version of a keyspace, and every file that opening it would need."""

    path: str
    version: Version
    next_file: int
    """The first number that nothing in the folder has."""
    files: tuple[FileRecord, ...]
    """With size and checksum: as the manifest says, or, of a journal that was never finished, as found."""
    document: CheckpointDocument | None
    """checkpoint.json, where there is one that belongs to this keyspace."""


@contextmanager
def hold_closed(path: str) -> Iterator[None]:
    """Nobody opens the keyspace for writing inside the block. LockedError where somebody has it open.

    Nothing is written for it (it may lie on read-only media): one that was never opened has no lock file, and can not
    be held. Where it is opened meanwhile, and files go, that is a LockedError too.
    """
    lock = os.path.join(path, names.LOCK_NAME)
    try:
        lock_fd = files.lock_file_shared(lock)
    except (FileNotFoundError, NotADirectoryError):
        try:
            yield
        except (FileNotFoundError, CorruptionError) as error:
            if os.path.lexists(lock):
                raise LockedError(f"{path} was opened meanwhile: close it there first") from error
            raise
        return
    except BlockingIOError:
        raise LockedError(f"{path} is open, in this or another process: close it there first") from None
    except OSError as error:
        if error.errno not in CANNOT_LOCK:
            raise
        yield
        return
    try:
        yield
    finally:
        files.unlock_file(lock_fd)


def lock_folder(path: str, refusal: str) -> int | None:
    """Lock a folder itself, for whoever builds in it or swaps it: the descriptor to unlock; None where the file system
    has no locks. LockedError (`refusal`) where somebody else has it.
    """
    try:
        return files.lock_directory(path)
    except BlockingIOError:
        raise LockedError(refusal) from None
    except OSError as error:
        if error.errno in CANNOT_LOCK:
            return None
        raise


def read_closed(path: str) -> ClosedKeyspace:
    """Read the keyspace in the folder. Requires: `hold_closed`.

    NotAKeyspaceError, UnsupportedFormatError, CorruptionError as `fjeld.open` raises them.
    """
    if not os.path.isdir(path):
        what = "is not a folder" if os.path.lexists(path) else "does not exist"
        raise NotAKeyspaceError(f"{path} {what}: give the folder of a keyspace or a checkpoint")
    check_marker(path)
    manifest = read_current(path)
    version = read_version(path, manifest)[0]
    sound = [record for record in version.files() if record.xxh128 is not None]
    loose = [_found(path, record) for record in _unfinished(path, version, sound)]
    numbers = [int(os.path.basename(record.path).partition(".")[0]) for record in (*sound, *loose)]
    return ClosedKeyspace(
        path=path,
        version=version,
        next_file=max([version.next_file, manifest + 1, *(number + 1 for number in numbers)]),
        files=(*sound, *loose),
        document=_document(path, version),
    )


def read_identity(path: str) -> str | None:
    """The id of the keyspace in a folder; None where that cannot be told."""
    try:
        return read_version(path, read_current(path))[0].id
    except (OSError, CorruptionError):
        return None


def _unfinished(path: str, version: Version, sound: list[FileRecord]) -> list[str]:
    """The journals that recovery would replay, and of which the manifest knows no checksum."""
    known = {record.path for record in sound}
    listed = {record.path for record in version.files()} - known
    found = {
        names.journal_path(number)
        for name in os.listdir(os.path.join(path, names.JOURNALS_DIRECTORY))
        if (number := names.number_of_journal(name)) is not None and number >= version.journal_floor
    }
    for missing in sorted(listed - found):
        raise CorruptionError(
            "the file is missing; restore it from a backup", path=os.path.join(path, missing)
        )
    return sorted(found - known)


def _found(path: str, relative: str) -> FileRecord:
    size_bytes, xxh128 = file_xxh128(os.path.join(path, relative))
    return FileRecord(relative, size_bytes, xxh128)


def _document(path: str, version: Version) -> CheckpointDocument | None:
    document = find_document(path)
    return document if document is not None and document.id == version.id else None
