"""An atomic batch for an event loop."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from fjeld.aio.partition import AsyncPartition
from fjeld.aio.writer import Writer
from fjeld.options import PersistMode

if TYPE_CHECKING:
    from fjeld.kernel.core import Buffer

__all__ = ["AsyncBatch"]


class AsyncBatch:
    """Writes that happen together or not at all, in any partitions of one keyspace. One task.

    An async context manager: commits on a clean exit, discards on an exception. Putting something in touches
    memory only and is not awaited.

        async with ks.batch() as batch:
            batch.insert(users, b"carol", b"3")
            batch.remove(users, b"alice")
    """

    def __init__(self, writer: Writer, durability: PersistMode | None) -> None:
        if durability is not None and not isinstance(durability, PersistMode):
            raise TypeError(f"durability must be a PersistMode, not {type(durability).__name__}")
        self._writer = writer
        self._durability = durability
        self._batch = writer.batch()

    def insert(self, partition: AsyncPartition, key: Buffer, value: Buffer) -> None:
        """Put key = value into the batch."""
        self._batch.insert(partition.partition, key, value)

    def remove(self, partition: AsyncPartition, key: Buffer) -> None:
        """Put the removal of key into the batch; it need not exist."""
        self._batch.remove(partition.partition, key)

    def remove_weak(self, partition: AsyncPartition, key: Buffer) -> None:
        """Put the removal of a key into the batch that was inserted once since it was last removed."""
        self._batch.remove_weak(partition.partition, key)

    def __len__(self) -> int:
        return len(self._batch)

    async def commit(self) -> None:
        """Write it. A second commit is a ClosedError."""
        await self._writer.commit(self._batch, self._durability)

    def discard(self) -> None:
        """Forget it. Discarding twice, or after a commit, is fine."""
        self._batch.discard()

    async def __aenter__(self) -> AsyncBatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._batch.finished:
            await self.commit()
        else:
            self.discard()
