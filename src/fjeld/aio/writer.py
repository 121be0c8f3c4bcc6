"""How the tasks of one loop write to a keyspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from fjeld.aio.bridge import Bridge
from fjeld.aio.shared_sync import SharedSync
from fjeld.batch import Batch
from fjeld.keyspace import Keyspace
from fjeld.options import PersistMode

if TYPE_CHECKING:
    from fjeld.ingestion import Pairs
    from fjeld.partition import Partition

__all__ = ["LARGE_BATCH_ENTRIES", "Writer"]

P = ParamSpec("P")
T = TypeVar("T")

# Larger batches go through a thread: a mebibyte takes the loop about a millisecond.
LARGE_BATCH_ENTRIES = 4096


class Writer:
    """Writes at once where nothing has to be waited for, else by a thread of the bridge."""

    def __init__(self, bridge: Bridge, keyspace: Keyspace, sync: SharedSync) -> None:
        self.bridge = bridge
        self.keyspace = keyspace
        self.sync = sync

    def batch(self) -> Batch:
        """A batch for `commit`, which sees to the sync."""
        return self.keyspace.batch(durability=PersistMode.BUFFER)

    async def commit(self, batch: Batch, durability: PersistMode | None = None) -> None:
        """Write a batch, at once where nothing has to be waited for; then wait for the sync, if it needs one.

        A cancelled task has written all of it or nothing.
        """
        mode = self.mode(durability)
        if len(batch) > LARGE_BATCH_ENTRIES or not batch.write_without_waiting():
            await self.commit_later(batch)
        if mode is not PersistMode.BUFFER:
            await self.sync.persist(mode)

    def mode(self, durability: PersistMode | None) -> PersistMode:
        """What is meant by None: the keyspace's option."""
        return self.keyspace.options.durability if durability is None else durability

    async def commit_later(self, batch: Batch) -> None:
        """Write a batch that could not be written at once, or is large."""
        await self.bridge.run(batch.commit)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """A call that writes and may wait for other writers."""
        return await self.bridge.run(function, *args, **kwargs)

    def check(self) -> None:
        """MisuseError where this task would wait for itself."""

    async def ingest(self, partition: Partition, pairs: Pairs) -> int:
        """`Partition.ingest` by a thread."""
        return await self.bridge.run(partition.ingest, pairs)
