"""The restore: a checkpoint, or a keyspace that nobody has open, becomes a keyspace elsewhere.

    1  look: the source is whole and held, the target is free (or may be replaced), there is room
    2  the staging folder beside the target: made, or taken over from a restore that died      (restore_staging)
    3  every file that is not there yet: linked, else cloned, else copied; then read, all of it, and compared with its
       checksum
    4  a manifest with an identity of its own, and checkpoint.json, which says where it comes from
    5  published by rename; with `replace` in exchange for the old one, which is kept aside       (swap)

Invariants:
  1. The source is never written to: it may lie on read-only media. A linked file is as good as a copy (law 1).
  2. Nothing is at the target, or what was there before, until all that is to be there is on disk and was read back.
  3. Whatever raises, cancelling too, leaves nothing behind. A crash leaves what the next restore to the same target goes
     on from: files that are whole are used, by checksum, and all others removed.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fjeld.backup.closed_keyspace import (
    ClosedKeyspace,
    hold_closed,
    lock_folder,
    read_closed,
    read_identity,
)
from fjeld.backup.documents import write_documents
from fjeld.backup.file_check import check_file
from fjeld.backup.info import time_of
from fjeld.backup.linker import Linker
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.removal import remove_folder
from fjeld.backup.restore_staging import RestoreStaging
from fjeld.backup.space import require_space
from fjeld.backup.swap import aside_paths, exchange, finish_swaps, swap_path
from fjeld.backup.targets import check_parent, require_outside
from fjeld.errors import InvalidOptionError, LockedError, NotAKeyspaceError
from fjeld.kernel import files
from fjeld.manifest import names
from fjeld.manifest.state import FileRecord, Parent
from fjeld.manifest.version import Version
from fjeld.options import KeyspaceOptions
from fjeld.sync_points import sync_point

__all__ = ["RestoreInfo", "discard_replaced", "restore"]

# Between two looks at `cancel`, and two reports: so many files are moved, then checked.
FILES_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreInfo:
    """A restore that was done."""

    path: Path
    """The keyspace, absolute."""
    id: str
    """Its own identity."""
    parent_id: str
    """The identity of the source."""
    created_at: datetime
    """The moment that the content is of, UTC; of a source that is no checkpoint: now."""
    seqno: int
    """What was written up to this seqno is in it, and in its journals what came after."""
    partitions: tuple[str, ...]
    files: tuple[FileRecord, ...]
    """Every one was read and compared with its checksum."""
    linked_bytes: int
    reflinked_bytes: int
    copied_bytes: int
    resumed_bytes: int
    """What an earlier restore that died had brought here already."""
    replaced: Path | None
    """Where the old keyspace is now; `discard_replaced` removes it."""
    elapsed_seconds: float
    metadata: Mapping[str, Any] | None
    """What the checkpoint was given."""


def restore(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    replace: bool = False,
    link: str = "auto",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> RestoreInfo:
    """Make a keyspace of a checkpoint, or of a keyspace that is closed. Open it with `fjeld.open`.

    source:    its folder. It is not written to and may lie on read-only media.
    target:    a folder that does not exist yet; its parent must exist. It appears whole or not at all.
    replace:   the target may be a keyspace that nobody has open, damaged or not. It stays as it is until the new one is
               whole and on disk, and is then kept aside: see RestoreInfo.replaced.
    link:      "auto" links each file, or else clones or copies it (another device, no links left); "never" copies.
    progress:  called as progress(done_files, total_files, done_bytes, total_bytes); a file is done once it was read
               and compared with its checksum.
    cancel:    set it and the call raises CancelledError and leaves nothing behind.

    NotAKeyspaceError: the source is none, or what is to be replaced does not look like one. LockedError: the source or the target
    is open somewhere. CorruptionError: a file of the source is damaged. FileExistsError: the target exists. OSError
    (ENOSPC): there is no room for a copy. A restore whose process died is gone on with by the next one to the same
    target.
    """
    started = time.perf_counter()
    if link not in ("auto", "never"):
        raise InvalidOptionError(f'link must be "auto" or "never", not {link!r}')
    source_path = os.path.abspath(os.fsdecode(source))
    path = _target_path(os.fsdecode(target), replace)
    require_outside(path, source_path, "the source")
    require_outside(source_path, path, "the target")
    with hold_closed(source_path), _held_target(path, replace):
        found = read_closed(source_path)
        work = _Restore(found, path, link == "auto", progress, cancel)
        replaced = work.run(_stamp)
    return work.info(replaced, time.perf_counter() - started)


def discard_replaced(target: str | os.PathLike[str]) -> list[Path]:
    """Remove what restores to `target` have kept aside for good; the paths. LockedError where one of them is open.

    Nothing is removed while there is no keyspace at `target`.
    """
    path = os.path.abspath(os.fsdecode(target))
    if read_identity(path) is None:
        raise NotAKeyspaceError(f"{path} is no keyspace: what was kept aside for it stays")
    finish_swaps(path, _stamp())
    gone = []
    for aside in aside_paths(path):
        with hold_closed(aside):
            remove_folder(aside)
        gone.append(Path(aside))
    return gone


def _stamp() -> str:
    """The time, for names."""
    return f"{_now():%Y%m%dT%H%M%SZ}"


def _now() -> datetime:
    return time_of(KeyspaceOptions().now_ns())


def _target_path(target: str, may_replace: bool) -> str:
    path = os.path.abspath(target)
    if os.path.lexists(path):
        if not may_replace:
            raise FileExistsError(
                f"{path} exists already: allow it to be replaced (replace=True, --replace) to have it kept aside"
            )
        path = os.path.realpath(path)
        _require_replaceable(path)
    check_parent(path, "a restore")
    return path


def _require_replaceable(path: str) -> None:
    """An empty folder, or one that is a keyspace or was one before it was damaged: never a mistyped home folder."""
    if not os.path.isdir(path):
        raise FileExistsError(f"{path} is not a folder: a restore replaces keyspaces only")
    found = set(os.listdir(path))
    own = {names.MARKER_NAME, names.CURRENT_NAME, *names.FILE_DIRECTORIES}
    if found and not found & own:
        raise NotAKeyspaceError(f"{path} does not look like a keyspace: a restore replaces keyspaces only")


@contextmanager
def _held_target(path: str, may_replace: bool) -> Iterator[None]:
    """Nobody opens what is to be replaced, and no other restore touches it."""
    if not (may_replace and os.path.isdir(path)):
        yield
        return
    folder_fd = lock_folder(path, f"another restore to {path} is under way: wait for it")
    try:
        try:
            lock_fd = files.lock_file(os.path.join(path, names.LOCK_NAME))
        except BlockingIOError:
            raise LockedError(f"{path} is open, in this or another process: close it there first") from None
        try:
            yield
        finally:
            files.unlock_file(lock_fd)
    finally:
        if folder_fd is not None:
            files.unlock_file(folder_fd)


class _Restore:
    """One restore under way. For one thread. Requires: source and target are held."""

    def __init__(
        self,
        source: ClosedKeyspace,
        target: str,
        link: bool,
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> None:
        self._source = source
        self._target = target
        self._link = link
        total_bytes = sum(record.size_bytes or 0 for record in source.files)
        self._meter = Meter(len(source.files), total_bytes, progress, cancel, what="restore")
        self._silent = Meter(len(source.files), total_bytes, None, cancel, what="restore")
        document = source.document
        self._created_at = _now() if document is None else document.created_at
        self._metadata = None if document is None else document.metadata
        self._version = _restored(source)
        self._linked = self._reflinked = self._copied = self._resumed = 0

    def run(self, stamp: Callable[[], str]) -> str | None:
        """The path of what was replaced, or None."""
        self._meter.check()
        _, unseen = finish_swaps(self._target, stamp())
        staging = RestoreStaging(self._target)
        for copy in unseen:
            staging.adopt(copy)
        with staging:
            sync_point("restore:staged")
            whole = staging.prepare(self._source.files)
            missing = [record for record in self._source.files if record.path not in whole]
            for record in self._source.files:
                if record.path in whole:
                    self._resumed += record.size_bytes or 0
                    self._meter.add(1, record.size_bytes or 0)
            self._require_room(missing)
            self._move(staging.path, missing)
            sync_point("restore:moved")
            self._write(staging.path)
            staging.sync()
            self._meter.check()
            sync_point("restore:written")
            return self._publish(staging, stamp)

    def info(self, replaced: str | None, elapsed_seconds: float) -> RestoreInfo:
        parent = self._version.parent
        assert parent is not None
        return RestoreInfo(
            path=Path(self._target),
            id=self._version.id,
            parent_id=parent.id,
            created_at=self._created_at,
            seqno=parent.seqno,
            partitions=tuple(sorted(state.name for state in self._version.partitions.values())),
            files=self._source.files,
            linked_bytes=self._linked,
            reflinked_bytes=self._reflinked,
            copied_bytes=self._copied,
            resumed_bytes=self._resumed,
            replaced=None if replaced is None else Path(replaced),
            elapsed_seconds=elapsed_seconds,
            metadata=self._metadata,
        )

    def _require_room(self, missing: Sequence[FileRecord]) -> None:
        parent = os.path.dirname(self._target)
        if not self._link or os.stat(self._source.path).st_dev != os.stat(parent).st_dev:
            require_space(parent, sum(record.size_bytes or 0 for record in missing))

    def _move(self, staging: str, missing: Sequence[FileRecord]) -> None:
        """Step 3, some files at a time."""
        for start in range(0, len(missing), FILES_AT_ONCE):
            some = missing[start : start + FILES_AT_ONCE]
            linker = Linker(self._source.path, staging, self._silent, link=self._link)
            linker.move(some)
            self._linked += linker.linked_bytes
            self._reflinked += linker.reflinked_bytes
            self._copied += linker.copied_bytes
            moved = linker.linked_bytes + linker.reflinked_bytes
            for record in some:
                if moved:  # what was copied was compared as it was copied
                    check_file(staging, record, os.path.join(self._source.path, record.path))
                self._meter.add(1, record.size_bytes or 0)
            sync_point("restore:some")

    def _write(self, staging: str) -> None:
        """Step 4. What a checkpoint of parts is a part of, a restored one is too."""
        document = self._source.document
        write_documents(
            staging,
            self._version,
            self._source.files,
            self._created_at,
            self._metadata,
            chosen=None if document is None else document.chosen,
            key_range=None if document is None else document.key_range,
            compacted=document is not None and document.compacted,
        )

    def _publish(self, staging: RestoreStaging, stamp: Callable[[], str]) -> str | None:
        """Step 5."""
        if not os.path.lexists(self._target):
            staging.move_to(self._target)
            staging.published()
            return None
        swap = swap_path(self._target, self._version.id)
        staging.move_to(swap)
        staging.published()  # under the name of the swap it may be the old one: see below
        try:
            sync_point("restore:ready")
            return exchange(swap, self._target, stamp())
        except BaseException:
            if os.path.lexists(self._target) and read_identity(swap) == self._version.id:
                shutil.rmtree(swap, ignore_errors=True)
            raise


def _restored(source: ClosedKeyspace) -> Version:
    """The version of the source with an identity of its own."""
    version = source.version
    return replace(
        version,
        id=str(uuid.uuid4()),
        parent=Parent(version.id, version.seqno),
        next_file=source.next_file + 1,  # one for the manifest
    )
