"""Opening a keyspace: make the folder, or recover what is in it.

Recovery reads CURRENT, the manifest, and the journals newer than what was flushed, into memtables; then a new
manifest and a new journal are started. Old files are never appended to, cut or repaired (law 1): of a journal
with a torn tail the manifest records where it ends.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from fjeld.backup.swap import unfinished_swap
from fjeld.engine import Engine
from fjeld.errors import CorruptionError, LockedError, NotAKeyspaceError
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import file_xxh128
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.journal_reader import JournalReader
from fjeld.manifest import names
from fjeld.manifest.current import read_current
from fjeld.manifest.live_file import Reaper
from fjeld.manifest.marker import check_marker, write_marker
from fjeld.manifest.recovery import JournalReplay, RecoveryPlan, plan_recovery
from fjeld.manifest.state import JournalMeta
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from fjeld.options import KeyspaceOptions
from fjeld.recovery.folder import list_folder, read_version
from fjeld.recovery.replaying import ReplayedJournal, replay_journals

__all__ = ["open_engine", "replayed"]

# Whoever looks whether a keyspace is open holds its lock, shared, for microseconds: look again after these.
LOCK_PAUSES_SECONDS = (0.001, 0.004, 0.015)


def open_engine(path: str, options: KeyspaceOptions, *, create: bool, error_if_exists: bool) -> Engine:
    """The running engine of the keyspace at `path` (absolute)."""
    exists = os.path.exists(os.path.join(path, names.MARKER_NAME))
    if exists and error_if_exists:
        raise FileExistsError(f"{path} is a keyspace already")
    if exists:
        check_marker(path)
    else:
        _require_creatable(path, create)
    lock_fd = _lock(path)
    try:
        if not os.path.exists(os.path.join(path, names.MARKER_NAME)):
            _create(path)
        return _recover(path, options, lock_fd)
    except BaseException:
        files.unlock_file(lock_fd)
        raise


def _require_creatable(path: str, create: bool) -> None:
    if not create:
        raise NotAKeyspaceError(
            f"{path} holds no keyspace: give the folder of one, or have one made (create=True, `fjeld put --create`)"
        )
    if os.path.exists(path) and not os.path.isdir(path):
        raise NotAKeyspaceError(f"{path} is not a folder")
    if os.path.isdir(path):
        foreign = sorted(name for name in os.listdir(path) if not _is_own(name))
        if foreign:
            raise NotAKeyspaceError(
                f"{path} holds no keyspace but other files ({foreign[0]}, ...); give an empty or a new folder"
            )
        _require_empty(path)
        return
    waiting = unfinished_swap(path)
    if waiting is not None:
        raise NotAKeyspaceError(
            f"a restore to {path} was interrupted between two renames: run it again, or rename {waiting} to {path}"
        )
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        raise NotAKeyspaceError(f"the folder {parent} does not exist; make it first")
    with suppress(FileExistsError):
        files.make_directory(path)
    files.sync_directory(parent)


def _require_empty(path: str) -> None:
    """A creation that was interrupted leaves no tables and no journals: where they are, the marker was lost."""
    for directory in names.FILE_DIRECTORIES:
        folder = os.path.join(path, directory)
        if os.path.isdir(folder) and os.listdir(folder):
            raise CorruptionError(
                f"the marker is missing, but there are {directory}: "
                "restore it, or the keyspace, from a backup",
                path=os.path.join(path, names.MARKER_NAME),
            )


def _is_own(name: str) -> bool:
    """Is this left from a creation that was interrupted?"""
    return (
        name in (names.LOCK_NAME, names.CURRENT_NAME, names.MARKER_STAGING_NAME)
        or name in names.FILE_DIRECTORIES
        or names.number_of_manifest(name) is not None
        or names.number_of_current_staging(name) is not None
    )


def _lock(path: str, *, create: bool = True) -> int:
    for pause_seconds in (*LOCK_PAUSES_SECONDS, None):
        try:
            return files.lock_file(os.path.join(path, names.LOCK_NAME), create=create)
        except BlockingIOError:
            if pause_seconds is not None:
                time.sleep(pause_seconds)
    raise LockedError(
        f"{path} is open already, in this or another process: close it there first "
        "(fjeld.open_readonly reads it meanwhile)"
    )


def _create(path: str) -> None:
    """Make an empty keyspace; the marker comes last, and only with it the folder is one."""
    for name in os.listdir(path):
        if name != names.LOCK_NAME and not os.path.isdir(os.path.join(path, name)):
            files.unlink(os.path.join(path, name))
    for directory in names.FILE_DIRECTORIES:
        with suppress(FileExistsError):
            files.make_directory(os.path.join(path, directory))
    store = VersionStore(
        path,
        Version(id=str(uuid.uuid4())),
        cache=BlockCache(0),
        descriptors=DescriptorPool(1),
        reaper=Reaper(),
    )
    store.start_manifest()
    store.close()
    write_marker(path)


# ---- recovery ----


@dataclass(frozen=True, slots=True)
class _Replayed:
    """What a folder holds, before anything in it is changed."""

    engine: Engine
    """Not started; memory holds what the journals hold."""
    manifest: int
    plan: RecoveryPlan
    metas: list[JournalMeta]
    unbelieved: tuple[int, ...]
    """Journals behind a torn one."""


def _read(path: str, options: KeyspaceOptions, lock_fd: int) -> _Replayed:
    """The first half of recovery. Writes nothing, but brings journals to disk."""
    manifest = read_current(path)
    version = read_version(path, manifest)[0]
    plan = _plan(path, version, manifest)
    version = replace(version, next_file=plan.next_file)
    engine = _build(path, version, options, lock_fd)
    try:
        last_seqno, metas, unbelieved = _replay(engine, plan)
        engine.commit.start_at(last_seqno)
        _adopt_journals(engine.store, metas, last_seqno)
    except BaseException:
        engine.abandon()
        raise
    return _Replayed(engine, manifest, plan, metas, unbelieved)


def _recover(path: str, options: KeyspaceOptions, lock_fd: int) -> Engine:
    """Both halves: after the second, the folder is this engine's."""
    read = _read(path, options, lock_fd)
    engine, plan = read.engine, read.plan
    try:
        _require_blobs_directory(path)
        _delete_useless(path, read)
        engine.store.start_manifest()
        for relative in (*plan.delete, *_unlisted(plan, read.metas), names.manifest_name(read.manifest)):
            engine.store.reaper.give(os.path.join(path, relative))
        engine.rotation.start()
        engine.commit.note_persisted(engine.commit.last_seqno)
        engine.start()
    except BaseException:
        engine.abandon()
        raise
    return engine


@contextmanager
def replayed(path: str, options: KeyspaceOptions) -> Iterator[Engine]:
    """An engine that was not started, of a keyspace that nobody has open: it holds what an opening would
    recover. Nothing in the folder is changed, and it may be on a read-only medium.

    Inside, the keyspace is locked. LockedError: somebody has it open. A keyspace that was never opened (a
    checkpoint) has no lock file yet: it gets one, an empty one, if the folder can be written to; if it cannot,
    nobody can open it either.
    """
    check_marker(path)
    lock_fd = _lock_unopened(path)
    try:
        engine = _read(path, options, -1 if lock_fd is None else lock_fd).engine
        try:
            yield engine
        finally:
            engine.abandon()
    finally:
        if lock_fd is not None:
            files.unlock_file(lock_fd)


def _lock_unopened(path: str) -> int | None:
    with suppress(FileNotFoundError):
        return _lock(path, create=False)
    try:
        return _lock(path)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return None
        raise


def _require_blobs_directory(path: str) -> None:
    """Keyspaces of older versions have none; and where it was lost, only the values in it are."""
    with suppress(FileExistsError):
        files.make_directory(os.path.join(path, names.BLOBS_DIRECTORY))
        files.sync_directory(path)


def _plan(path: str, version: Version, manifest: int) -> RecoveryPlan:
    try:
        return plan_recovery(version, list_folder(path), manifest=manifest)
    except CorruptionError as error:
        place = os.path.join(path, error.path or "")
        raise CorruptionError(error.what, path=place, offset=error.offset) from error


def _build(path: str, version: Version, options: KeyspaceOptions, lock_fd: int) -> Engine:
    engines: list[Engine] = []

    def wake() -> None:
        if engines:
            engines[0].wake_from_finalizer()

    store = VersionStore(
        path,
        version,
        cache=BlockCache(options.cache_bytes),
        descriptors=DescriptorPool(options.max_open_files),
        reaper=Reaper(wake),
    )
    engine = Engine(path, options, store, lock_fd)
    engines.append(engine)
    return engine


def _replay(engine: Engine, plan: RecoveryPlan) -> tuple[int, list[JournalMeta], tuple[int, ...]]:
    """Fill the memtables; the last seqno, the journals that hold the entries, and those behind a torn one."""
    store = engine.store
    version = store.version

    def open_journal(replay: JournalReplay, after_seqno: int) -> JournalReader:
        return JournalReader(
            store.journal_path(replay.number),
            replay.number,
            allow_torn=replay.may_be_torn,
            after_seqno=after_seqno,
            end_bytes=None if replay.meta is None else replay.meta.end_bytes,
        )

    cores = {live.id: live.core for live in engine.partitions.values()}
    replayed = replay_journals(version, plan.journals, open_journal, cores, engine.seal_replayed)
    metas = [_meta_of(store, journal) for journal in replayed.journals]
    if metas and metas[-1].last_seqno < version.seqno:
        # What is in tables may reach further than what a power cut has left of the journals.
        metas[-1] = replace(metas[-1], last_seqno=version.seqno)
    return replayed.last_seqno, metas, replayed.unbelieved


def _meta_of(store: VersionStore, replayed: ReplayedJournal) -> JournalMeta:
    """What the new manifest says of a replayed journal. Its bytes are brought to disk first: from now on they
    count.
    """
    replay = replayed.replay
    if replay.meta is not None and replay.meta.finished:
        return replay.meta
    path = store.journal_path(replay.number)
    files.sync_file(path)
    size_bytes, xxh128 = file_xxh128(path)
    return JournalMeta(
        number=replay.number,
        last_seqno=replayed.last_seqno,
        size_bytes=size_bytes,
        xxh128=xxh128,
        end_bytes=None if replayed.outcome == "sealed" else replayed.end_bytes,
    )


def _adopt_journals(store: VersionStore, metas: list[JournalMeta], last_seqno: int) -> None:
    store.adopt(replace(store.version, journals=tuple(metas), seqno=last_seqno))


def _unlisted(plan: RecoveryPlan, metas: list[JournalMeta]) -> list[str]:
    """The journals that only the old manifest lists: they were sealed without an entry."""
    kept = {meta.number for meta in metas}
    return [
        names.journal_path(replay.number)
        for replay in plan.journals
        if replay.meta and replay.number not in kept
    ]


def _delete_useless(path: str, read: _Replayed) -> None:
    """Delete the journals that are not part of the new version, and that the old manifest does not list
    either.

    Those behind a torn one hold writes that were never persisted: they must be gone before seqnos go on, and for
    good before the torn one may go, which may hold nothing at all: without it they would begin behind a gap.
    Empty ones have no seal: once later journals are finished, they would be taken for damaged.
    """
    kept = {meta.number for meta in read.metas}
    useless = [
        replay.number for replay in read.plan.journals if replay.number not in kept and replay.meta is None
    ]
    behind = [number for number in useless if number in read.unbelieved]
    for gone in (behind, [number for number in useless if number not in read.unbelieved]):
        for number in gone:
            files.unlink(os.path.join(path, names.journal_path(number)))
        if gone:
            files.sync_directory(os.path.join(path, names.JOURNALS_DIRECTORY))
