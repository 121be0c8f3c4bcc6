"""A keyspace that is only read, for an event loop."""

from __future__ import annotations

import os
from functools import partial

from fjeld.aio.bridge import Bridge, Pending
from fjeld.aio.face import KeyspaceFace, PartitionFace
from fjeld.aio.keyspace import THREADS, opened
from fjeld.aio.snapshot import AsyncSnapshot
from fjeld.options import PartitionOptions
from fjeld.readonly import keyspace as readonly
from fjeld.readonly.keyspace import ReadOnlyKeyspace
from fjeld.readonly.partition import ReadOnlyPartition
from fjeld.snapshot import Snapshot

__all__ = ["AsyncReadOnlyKeyspace", "AsyncReadOnlyPartition", "open_readonly"]


class AsyncReadOnlyPartition(PartitionFace[ReadOnlyPartition]):
    """A partition of a keyspace that is only read, for the tasks of one event loop: see `fjeld.ReadOnlyPartition`."""

    def __init__(self, bridge: Bridge, partition: ReadOnlyPartition, options: PartitionOptions) -> None:
        super().__init__(bridge, partition)
        self._options = options

    def __repr__(self) -> str:
        return f"<fjeld.aio.AsyncReadOnlyPartition of {self._reader!r}>"

    @property
    def options(self) -> PartitionOptions:
        """How it is stored."""
        return self._options

    async def approximate_len(self) -> int:
        """About how many entries it has; waits for a refresh that is going on."""
        return await self._bridge.run(self._reader.approximate_len)


class AsyncReadOnlyKeyspace(KeyspaceFace[ReadOnlyKeyspace]):
    """One moment of a keyspace, to read from; `refresh` moves it on. For the tasks of one event loop. An async context
    manager. Made by `fjeld.aio.open_readonly`.
    """

    @property
    def parent(self) -> tuple[str, int] | None:
        """Of a checkpoint: the id of the keyspace it was taken from, and the seqno at that moment."""
        return self._keyspace.parent

    async def partition(self, name: str) -> AsyncReadOnlyPartition:
        """The partition of this name; KeyError where there is none."""

        def find() -> tuple[ReadOnlyPartition, PartitionOptions]:
            partition = self._keyspace.partition(name)
            return partition, partition.options

        return AsyncReadOnlyPartition(self._bridge, *await self._bridge.run(find))

    def snapshot(self) -> Pending[AsyncSnapshot]:
        """The moment that is shown now, also after a refresh: `async with ks.snapshot() as snapshot`. It waits for a
        refresh that is going on.
        """

        async def taken() -> AsyncSnapshot:
            return AsyncSnapshot(
                self._bridge, await self._bridge.open(self._keyspace.snapshot, Snapshot.close)
            )

        return Pending(taken)

    async def refresh(self) -> None:
        """Show what the keyspace holds now. Cancelled, it is done to its end all the same."""
        await self._bridge.run(self._keyspace.refresh)


def open_readonly(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    cache_bytes: int | None = None,
    threads: int = THREADS,
) -> Pending[AsyncReadOnlyKeyspace]:
    """Open the keyspace or checkpoint in the folder `path` to read from it; see `fjeld.open_readonly`."""
    opening = partial(readonly.open_readonly, path, cache_bytes=cache_bytes)
    return opened(opening, ReadOnlyKeyspace.close, AsyncReadOnlyKeyspace, threads)
