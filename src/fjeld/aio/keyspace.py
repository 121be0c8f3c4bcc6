"""A keyspace for an event loop: what `fjeld.Keyspace` does, awaited."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import fjeld.keyspace
from fjeld.aio.batch import AsyncBatch
from fjeld.aio.bridge import Bridge, Closable, Pending
from fjeld.aio.face import KeyspaceFace
from fjeld.aio.partition import AsyncPartition
from fjeld.aio.shared_sync import SharedSync
from fjeld.aio.snapshot import AsyncSnapshot
from fjeld.aio.writer import Writer
from fjeld.backup.info import CheckpointInfo
from fjeld.backup.progress import Progress
from fjeld.export.info import ExportInfo
from fjeld.export.sink import FileObject
from fjeld.keyspace import Keyspace
from fjeld.options import KeyspaceOptions, PartitionOptions, PersistMode
from fjeld.partition import Partition

__all__ = ["THREADS", "AsyncKeyspace", "open", "opened"]

T = TypeVar("T")
K = TypeVar("K")
A = TypeVar("A", bound=Closable)

THREADS = 4


class AsyncKeyspace(KeyspaceFace[Keyspace]):
    """An open keyspace, for the tasks of one event loop. An async context manager. Made by `fjeld.aio.open`."""

    def __init__(self, keyspace: Keyspace, bridge: Bridge) -> None:
        super().__init__(keyspace, bridge)
        self._sync = SharedSync(bridge, keyspace)
        self._writer = Writer(bridge, keyspace, self._sync)

    @property
    def options(self) -> KeyspaceOptions:
        """What it was opened with."""
        return self._keyspace.options

    # ---- partitions ----

    async def partition(
        self, name: str, *, options: PartitionOptions | None = None, create: bool = True
    ) -> AsyncPartition:
        """Open the partition of this name, or create it with these options; see `Keyspace.partition`."""
        return AsyncPartition(self._bridge, self._writer, await self._open_partition(name, options, create))

    async def _open_partition(self, name: str, options: PartitionOptions | None, create: bool) -> Partition:
        try:
            return self._keyspace.partition(name, options=options, create=False)
        except KeyError:
            if not create:
                raise
            return await self._bridge.run(self._keyspace.partition, name, options=options)

    async def drop_partition(self, name: str) -> None:
        """Remove a partition with all that is in it; KeyError where there is none."""
        await self._writer.run(self._keyspace.drop_partition, name)

    # ---- writing and reading ----

    def batch(self, *, durability: PersistMode | None = None) -> AsyncBatch:
        """An atomic batch across partitions: `async with ks.batch() as batch`."""
        return AsyncBatch(self._writer, durability)

    def snapshot(self) -> AsyncSnapshot:
        """The whole keyspace as it is now: `async with ks.snapshot() as snapshot`."""
        return AsyncSnapshot(self._bridge, self._keyspace.snapshot())

    async def persist(self, mode: PersistMode = PersistMode.SYNC_ALL) -> None:
        """All writes so far are as durable as `mode` promises when this returns. Tasks share a sync."""
        if not isinstance(mode, PersistMode):
            raise TypeError(f"mode must be a PersistMode, not {type(mode).__name__}")
        await self._sync.persist(mode)

    # ---- backup ----

    async def backup_to(
        self,
        target: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> CheckpointInfo:
        """Take a checkpoint while everything goes on; the options are those of `Keyspace.backup_to`.

        progress is called in the loop's thread. A task that is cancelled cancels the backup, and waits until nothing
        of it is left.
        """
        return await self._copy(self._keyspace.backup_to, target, progress, {"metadata": metadata, **options})

    async def export_to(
        self,
        target: str | os.PathLike[str] | FileObject,
        *,
        snapshot: AsyncSnapshot | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> ExportInfo:
        """Write everything as one stream while everything goes on; the options are those of `Keyspace.export_to`.

        A file object is written to in another thread. progress and cancelling as with `backup_to`.
        """
        taken = None if snapshot is None else snapshot.snapshot
        return await self._copy(self._keyspace.export_to, target, progress, {"snapshot": taken, **options})

    async def _copy(
        self, copy: Callable[..., T], target: object, progress: Progress | None, options: dict[str, Any]
    ) -> T:
        """A copy in another thread, whose progress is told in the loop's, and which ends when the task is cancelled."""
        cancel: threading.Event = options.pop("cancel", None) or threading.Event()
        loop = asyncio.get_running_loop()

        def report(done_files: int, total_files: int, done_bytes: int, total_bytes: int) -> None:
            assert progress is not None
            loop.call_soon_threadsafe(progress, done_files, total_files, done_bytes, total_bytes)

        def work() -> T:
            return copy(target, progress=None if progress is None else report, cancel=cancel, **options)

        return await self._bridge.stoppable(work, cancel.set)

    # ---- maintenance ----

    async def flush(self) -> None:
        """Write what is in memory to tables; returns when it is there."""
        await self._bridge.run(self._keyspace.flush)

    async def compact(self) -> None:
        """Merge each partition's tables into one sorted run, without garbage; returns when it is done."""
        await self._bridge.run(self._keyspace.compact)


def open(  # noqa: A001 - as fjeld.open
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    options: KeyspaceOptions | None = None,
    create: bool = True,
    error_if_exists: bool = False,
    threads: int = THREADS,
) -> Pending[AsyncKeyspace]:
    """Open the keyspace in the folder `path`, or make one there; see `fjeld.open` for its errors.

        async with fjeld.aio.open("data") as ks: ...
        ks = await fjeld.aio.open("data")

    threads: that wait for the disk on behalf of tasks.
    """

    opening = partial(
        fjeld.keyspace.open, path, options=options, create=create, error_if_exists=error_if_exists
    )
    return opened(opening, Keyspace.close, AsyncKeyspace, threads)


def opened(
    opening: Callable[[], K], close: Callable[[K], object], make: Callable[[K, Bridge], A], threads: int
) -> Pending[A]:
    """What a thread opens, made into something for a loop; close: where nobody waits for it any more."""

    async def open_it() -> A:
        bridge = Bridge(threads)
        try:
            keyspace = await bridge.open(opening, close)
        except BaseException:
            bridge.close()
            raise
        return make(keyspace, bridge)

    return Pending(open_it)
