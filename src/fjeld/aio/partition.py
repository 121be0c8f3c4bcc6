"""A partition for an event loop."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from fjeld.aio.bridge import Bridge
from fjeld.aio.face import PartitionFace
from fjeld.aio.writer import Writer
from fjeld.options import PartitionOptions
from fjeld.partition import Partition

if TYPE_CHECKING:
    from fjeld.kernel.core import Buffer

__all__ = ["AsyncPartition"]


class AsyncPartition(PartitionFace[Partition]):
    """An ordered map of bytes to bytes, kept on disk, for the tasks of one event loop.

    A write is done at once where nothing has to be waited for. Where the keyspace's durability asks for a sync,
    tasks that write at the same time share it.
    """

    def __init__(self, bridge: Bridge, writer: Writer, partition: Partition) -> None:
        super().__init__(bridge, partition)
        self._writer = writer

    def __repr__(self) -> str:
        return f"<fjeld.aio.AsyncPartition {self.name!r} of {self._writer.keyspace.path}>"

    @property
    def options(self) -> PartitionOptions:
        """How it is stored."""
        return self._reader.options

    async def insert(self, key: Buffer, value: Buffer) -> None:
        """Write key = value, as durably as the keyspace's option says when this returns."""
        if not self._reader.insert_now(key, value):
            await self.insert_many([(key, value)])

    async def remove(self, key: Buffer) -> None:
        """Remove key, whether or not it exists."""
        if not self._reader.remove_now(key):
            batch = self._writer.batch()
            batch.remove(self._reader, key)
            await self._writer.commit(batch)

    async def remove_weak(self, key: Buffer) -> None:
        """Remove a key that was inserted once since it was last removed."""
        batch = self._writer.batch()
        batch.remove_weak(self._reader, key)
        await self._writer.commit(batch)

    async def insert_many(self, pairs: Iterable[tuple[Buffer, Buffer]]) -> None:
        """Write all (key, value) pairs as one atomic batch."""
        batch = self._writer.batch()
        for key, value in pairs:
            batch.insert(self._reader, key, value)
        await self._writer.commit(batch)

    async def ingest(
        self, sorted_pairs: Iterable[tuple[Buffer, Buffer]] | AsyncIterable[tuple[Buffer, Buffer]]
    ) -> int:
        """Add many entries at once and atomically, from ascending (key, value) pairs; how many they were.

        The pairs may come from an async iterator too.
        """
        self._writer.check()
        if not isinstance(sorted_pairs, AsyncIterable):
            return await self._writer.ingest(self._reader, cast(Any, sorted_pairs))
        feed = _Feed()
        ingesting = asyncio.ensure_future(self._writer.ingest(self._reader, cast(Any, feed)))
        try:
            await feed.fill(sorted_pairs, ingesting)
        except BaseException as error:
            feed.fail(error)
            await asyncio.wait([ingesting])
            ingesting.exception()
            raise
        return await ingesting

    async def clear(self) -> None:
        """Remove everything, at once and atomically."""
        await self._writer.run(self._reader.clear)

    async def flush(self) -> None:
        """Write what is in memory to tables; returns when it is there."""
        await self._bridge.run(self._reader.flush)

    async def compact(self) -> None:
        """Merge all its tables into one sorted run, without garbage; returns when it is done."""
        await self._bridge.run(self._reader.compact)

    def approximate_len(self) -> int:
        """About how many entries it has, at once."""
        return self._reader.approximate_len()


class _Feed:
    """Pairs from an async iterator for a thread that iterates over them: chunks through a bounded queue."""

    CHUNK = 1000
    CHUNKS = 4

    def __init__(self) -> None:
        self._chunks: queue.Queue[list[Any] | BaseException | None] = queue.Queue()
        self._taken = asyncio.Semaphore(self.CHUNKS)
        self._loop = asyncio.get_running_loop()

    async def fill(self, pairs: AsyncIterable[Any], reader: asyncio.Future[Any]) -> None:
        """Hand over all pairs; ends early where the reader does."""
        chunk: list[Any] = []
        async for pair in pairs:
            chunk.append(pair)
            if len(chunk) == self.CHUNK:
                await self._put(chunk, reader)
                chunk = []
            if reader.done():
                return
        await self._put(chunk, reader)
        self._chunks.put(None)

    async def _put(self, chunk: list[Any], reader: asyncio.Future[Any]) -> None:
        taking = asyncio.ensure_future(self._taken.acquire())
        await asyncio.wait([taking, reader], return_when=asyncio.FIRST_COMPLETED)
        if not taking.done():
            taking.cancel()
        self._chunks.put(chunk)

    def fail(self, error: BaseException) -> None:
        """Make the reader raise: what it has begun is given up."""
        self._chunks.put(error)

    def __iter__(self) -> Iterator[Any]:
        while True:
            chunk = self._chunks.get()
            if chunk is None:
                return
            if isinstance(chunk, BaseException):
                raise RuntimeError("the pairs that were to be ingested failed") from chunk
            yield from chunk
            self._loop.call_soon_threadsafe(self._taken.release)
