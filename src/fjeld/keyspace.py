"""The keyspace: one folder, one journal, any number of partitions."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from fjeld.backup.checkpoint import take_checkpoint
from fjeld.backup.info import CheckpointInfo
from fjeld.backup.progress import Progress
from fjeld.backup.request import Buffer, check_request
from fjeld.batch import Batch
from fjeld.content_digest import content_digest
from fjeld.engine import Engine
from fjeld.export.exporter import export_snapshot
from fjeld.export.info import ExportInfo
from fjeld.export.sink import FileObject
from fjeld.maintenance.live_partition import LivePartition
from fjeld.manifest.fields import check_partition_name
from fjeld.opening import open_engine
from fjeld.options import KeyspaceOptions, PartitionOptions, PersistMode
from fjeld.partition import Partition
from fjeld.pin import Pin
from fjeld.snapshot import Snapshot
from fjeld.statistics.figures import KeyspaceFigures

__all__ = ["Keyspace", "open", "open_as"]

# Open or not. The worker threads hold an engine that is open, also when nobody holds its Keyspace any more.
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


K = TypeVar("K", bound="Keyspace")


class Keyspace:
    """An open keyspace. A context manager; any thread may use it. Made by `fjeld.open`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._partitions: weakref.WeakValueDictionary[int, Partition] = weakref.WeakValueDictionary()

    def __repr__(self) -> str:
        state = "closed" if self._engine.closed else f"seqno {self.seqno}"
        return f"<fjeld.{type(self).__name__} {self.path} ({state})>"

    @property
    def path(self) -> Path:
        """The folder, absolute."""
        return Path(self._engine.path)

    @property
    def id(self) -> str:
        """The identity: a UUID that no other keyspace has, not even a checkpoint of this one."""
        return self._engine.store.version.id

    @property
    def parent(self) -> tuple[str, int] | None:
        """Of a checkpoint: the id of the keyspace it was taken from, and the seqno at that moment."""
        parent = self._engine.store.version.parent
        return None if parent is None else (parent.id, parent.seqno)

    @property
    def seqno(self) -> int:
        """The number of the newest write. Each entry written has one more than the one before."""
        return self._engine.commit.last_seqno

    @property
    def options(self) -> KeyspaceOptions:
        """What it was opened with."""
        return self._engine.options

    # ---- partitions ----

    def partition(
        self, name: str, *, options: PartitionOptions | None = None, create: bool = True
    ) -> Partition:
        """Open the partition of this name, or create it with these options (which are kept with it from then
        on).

        The options of one that exists stay as they are. With create=False, one that does not exist is a
        KeyError.
        """
        _require_name(name)
        check_partition_name(name)
        if options is not None and not isinstance(options, PartitionOptions):
            raise TypeError(f"options must be PartitionOptions, not {type(options).__name__}")
        live = self._engine.open_partition(name, options, create)
        partition = self._partitions.get(live.id)
        if partition is None:
            partition = self._partitions.setdefault(live.id, self._make_partition(live))
        return partition

    def _make_partition(self, live: LivePartition) -> Partition:
        return Partition(self._engine, live)

    def partitions(self) -> list[str]:
        """The names of all partitions, sorted."""
        return self._engine.names()

    def drop_partition(self, name: str) -> None:
        """Remove a partition with all that is in it; KeyError where there is none. Its objects raise
        ClosedError then.
        """
        _require_name(name)
        self._engine.drop_partition(name)

    # ---- writing and reading ----

    def batch(self, *, durability: PersistMode | None = None) -> Batch:
        """An atomic batch across partitions. durability: of this batch; None: as the keyspace's option says."""
        self._engine.check_open()
        if durability is not None and not isinstance(durability, PersistMode):
            raise TypeError(f"durability must be a PersistMode, not {type(durability).__name__}")
        return Batch(self._engine.commit, durability)

    def snapshot(self) -> Snapshot:
        """The whole keyspace as it is now, to read from until it is closed."""
        return self._engine.open_snapshot(Snapshot)

    def persist(self, mode: PersistMode = PersistMode.SYNC_ALL) -> None:
        """All writes so far are as durable as `mode` promises when this returns. Threads that call it
        together share a sync.

        PoisonedError where the sync fails: then writes are refused until the keyspace is opened again.
        """
        if not isinstance(mode, PersistMode):
            raise TypeError(f"mode must be a PersistMode, not {type(mode).__name__}")
        self._engine.persist(mode)

    def digest(self, *, snapshot: Snapshot | None = None) -> str:
        """A checksum of the logical content (names of partitions, keys, values), in hex; of now or as of a
        snapshot.

        It does not depend on how the content lies in files: equal content has an equal digest, in a
        checkpoint too.
        """
        if snapshot is not None:
            if not isinstance(snapshot, Snapshot):
                raise TypeError(f"snapshot must be a Snapshot, not {type(snapshot).__name__}")
            if not snapshot.is_of(self._engine):
                raise ValueError("the snapshot is of another keyspace")
            return content_digest(snapshot)
        with self.snapshot() as now:
            return content_digest(now)

    # ---- backup ----

    def backup_to(
        self,
        target: str | os.PathLike[str],
        *,
        flush: bool = False,
        partitions: Iterable[str] | None = None,
        key_range: tuple[Buffer | None, Buffer | None] | None = None,
        compact: bool = False,
        link: str = "auto",
        metadata: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        verify: bool = False,
        with_snapshot: bool = False,
    ) -> CheckpointInfo:
        """Take a checkpoint: a consistent copy of the keyspace at one moment, by hard links, while everything
        goes on.

        target:         a folder that does not exist yet, outside of the keyspace; its parent must exist. It
                        appears whole or not at all.
        flush:          write memtables to tables first, so that opening the checkpoint has nothing to replay.
        link:           "auto" links each file, or else clones or copies it (another device, no links left);
                        "never" copies.
        partitions:     only these; KeyError where there is none of a name. Not a byte of the others is in it.
        key_range:      (start, stop), None for an open end: only keys from start up to, not including, stop.
                        Tables that reach beyond are written anew.
        compact:        written as one merged run a partition, without tombstones and garbage, instead of
                        linked. (First-in-first-out partitions keep their tables: they expire by them.)
        verify:         read every file of it and compare it with its checksum before it appears. A link is
                        the source's file: damage there is a CorruptionError that names it, and no backup.
        metadata:       a JSON object of the caller's, kept in the checkpoint.
        progress:       called as progress(done_files, total_files, done_bytes, total_bytes).
        cancel:         set it and the call raises CancelledError and leaves nothing behind.
        with_snapshot:  info.snapshot is a Snapshot of this keyspace at exactly the checkpoint's seqno; close
                        it.

        Every failure leaves the keyspace untouched and no target. Any number of backups may run at once.
        """
        return take_checkpoint(
            self._engine,
            target,
            check_request(
                flush=flush,
                partitions=partitions,
                key_range=key_range,
                compact=compact,
                link=link,
                metadata=metadata,
                verify=verify,
                snapshot=Snapshot if with_snapshot else None,
            ),
            progress=progress,
            cancel=cancel,
        )

    def export_to(
        self,
        target: str | os.PathLike[str] | FileObject,
        *,
        partitions: Sequence[str] | None = None,
        snapshot: Snapshot | None = None,
        metadata: Mapping[str, Any] | None = None,
        compression: str = "zstd",
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> ExportInfo:
        """Write everything that is in the keyspace now as one portable, checksummed stream, while everything goes
        on. `fjeld.import_from` makes a keyspace of it again.

        target:       a path where nothing is yet (the file appears whole or not at all), or a binary file object;
                      a pipe will do. (One that is read slowly keeps the snapshot open as long.)
        partitions:   only these, by name; KeyError where there is none of a name.
        snapshot:     what this one sees, instead of what is there now.
        metadata:     a JSON object of the caller's, kept in the export.
        compression:  "zstd", "lz4" or "none".
        progress:     called as progress(done_partitions, all_partitions, done_bytes, 0); the bytes are those of keys
                      and values, and how many there will be is not known beforehand.
        cancel:       set it and the call raises CancelledError; a target that is a path is not there then.
        """
        with ExitStack() as stack:
            if snapshot is None:
                snapshot = stack.enter_context(self.snapshot())
            elif not isinstance(snapshot, Snapshot):
                raise TypeError(f"snapshot must be a Snapshot, not {type(snapshot).__name__}")
            elif not snapshot.is_of(self._engine):
                raise ValueError("the snapshot is of another keyspace")
            return export_snapshot(
                snapshot,
                target,
                keyspace_path=self._engine.path,
                keyspace_id=self.id,
                created_ns=self._engine.now_ns(),
                partitions=partitions,
                metadata=metadata,
                compression=compression,
                progress=progress,
                cancel=cancel,
            )

    def pin(self) -> Pin:
        """The set of immutable files that make up this moment, kept alive until released: for tools of one's
        own.
        """
        return Pin(self._engine)

    # ---- maintenance ----

    def flush(self) -> None:
        """Write what is in memory to tables; returns when it is there."""
        self._engine.flush(self._engine.partitions.values())

    def compact(self) -> None:
        """Merge each partition's tables into one sorted run, without garbage; returns when it is done."""
        self._engine.compact(self._engine.partitions.values())

    def stats(self) -> dict[str, Any]:
        """Figures as JSON values: partitions by level, amplification, work done, stalls, cache, journals,
        failures. docs/STATISTICS.md says what each one means; counters begin at the opening.
        """
        return {"path": self._engine.path, "id": self.id, **self._engine.stats()}

    def figures(self) -> KeyspaceFigures:
        """What `stats` gives, typed."""
        return self._engine.figures()

    def close(self) -> None:
        """Flush, stop background work, let go of the folder. Closing twice is fine; all other use is a
        ClosedError then.
        """
        self._engine.close()

    def __enter__(self) -> Self:
        self._engine.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _require_name(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a partition's name is a str, not {type(name).__name__}")


def open(  # noqa: A001 - the name that users expect of a store
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    options: KeyspaceOptions | None = None,
    create: bool = True,
    error_if_exists: bool = False,
) -> Keyspace:
    """Open the keyspace in the folder `path`, or make one there.

    LockedError: it is open already, here or in another process. NotAKeyspaceError: there is none (and create
    is False), or the folder holds something else. UnsupportedFormatError: a newer Fjeld wrote it.
    CorruptionError: a file is damaged. FileExistsError: it exists, and error_if_exists.
    """
    return open_as(Keyspace, path, options, create, error_if_exists)


def open_as(
    kind: type[K],
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    options: KeyspaceOptions | None,
    create: bool,
    error_if_exists: bool,
) -> K:
    """As `open`, for any kind of keyspace."""
    if options is not None and not isinstance(options, KeyspaceOptions):
        raise TypeError(f"options must be KeyspaceOptions, not {type(options).__name__}")
    folder = os.path.abspath(os.fsdecode(path))
    engine = open_engine(folder, options or KeyspaceOptions(), create=create, error_if_exists=error_if_exists)
    _engines.add(engine)
    return kind(engine)


def _close_all() -> None:
    for engine in list(_engines):
        engine.close()


def _after_fork() -> None:
    for engine in list(_engines):
        engine.abandon_after_fork()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
