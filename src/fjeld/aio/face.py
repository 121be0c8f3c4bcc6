"""What the asynchronous faces of keyspaces have in common, and those of partitions: writable or only read."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from fjeld.aio.bridge import Bridge
from fjeld.aio.reader import AsyncReader
from fjeld.aio.snapshot import AsyncSnapshot
from fjeld.partition import Partition
from fjeld.readonly.partition import ReadOnlyPartition
from fjeld.snapshot import Snapshot

__all__ = ["KeyspaceFace", "PartitionFace"]


class AnyKeyspace(Protocol):
    """What every keyspace answers."""

    @property
    def path(self) -> Path: ...
    @property
    def id(self) -> str: ...
    @property
    def seqno(self) -> int: ...
    def partitions(self) -> list[str]: ...
    def digest(self, *, snapshot: Snapshot | None = None) -> str: ...
    def stats(self) -> dict[str, Any]: ...
    def close(self) -> None: ...


K = TypeVar("K", bound=AnyKeyspace)
P = TypeVar("P", Partition, ReadOnlyPartition)


class KeyspaceFace(Generic[K]):
    """A keyspace and the threads that wait on behalf of tasks."""

    def __init__(self, keyspace: K, bridge: Bridge) -> None:
        self._keyspace = keyspace
        self._bridge = bridge

    def __repr__(self) -> str:
        return f"<fjeld.aio.{type(self).__name__} of {self._keyspace!r}>"

    @property
    def keyspace(self) -> K:
        """The keyspace itself, whose calls may wait."""
        return self._keyspace

    @property
    def path(self) -> Path:
        """The folder, absolute."""
        return self._keyspace.path

    @property
    def id(self) -> str:
        """The identity of the keyspace: a UUID that no other one has."""
        return self._keyspace.id

    @property
    def seqno(self) -> int:
        """The number of the newest write; of one that is only read, of the newest that it shows."""
        return self._keyspace.seqno

    def partitions(self) -> list[str]:
        """The names of all partitions, sorted."""
        return self._keyspace.partitions()

    async def digest(self, *, snapshot: AsyncSnapshot | None = None) -> str:
        """A checksum of the logical content; see `Keyspace.digest`."""
        taken = None if snapshot is None else snapshot.snapshot
        return await self._bridge.run(self._keyspace.digest, snapshot=taken)

    async def stats(self) -> dict[str, Any]:
        """Figures as JSON values; see docs/STATISTICS.md."""
        return await self._bridge.run(self._keyspace.stats)

    async def close(self) -> None:
        """Stop all work and let go of the folder. Closing twice is fine.

        Closes also where the task is cancelled meanwhile.
        """
        await self._bridge.finish(self._keyspace.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class PartitionFace(AsyncReader, Generic[P]):
    """A partition, for the tasks of one event loop."""

    _bridge: Bridge
    _reader: P

    def __init__(self, bridge: Bridge, partition: P) -> None:
        super().__init__(bridge, partition)

    @property
    def partition(self) -> P:
        """The partition itself, whose calls may wait."""
        return self._reader

    @property
    def name(self) -> str:
        """Its name in the keyspace."""
        return self._reader.name

    async def disk_space(self) -> int:
        """Bytes of its files on disk."""
        return await self._bridge.run(self._reader.disk_space)

    async def stats(self) -> dict[str, Any]:
        """Figures as JSON values; see docs/STATISTICS.md."""
        return await self._bridge.run(self._reader.stats)
