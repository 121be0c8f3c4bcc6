"""Partitions of transactional keyspaces outside of a transaction, for an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fjeld.aio.bridge import Bridge
from fjeld.aio.partition import AsyncPartition
from fjeld.aio.tx_writer import TxWriter
from fjeld.partition import Partition
from fjeld.transaction.tx_partition import Update

if TYPE_CHECKING:
    from fjeld.kernel.core import Buffer

__all__ = ["AsyncDirectPartition"]


class AsyncDirectPartition(AsyncPartition):
    """A partition of a transactional keyspace: each write is a transaction of its own, and waits for its turn.

    From the task that has a write transaction of a single writer open it is a MisuseError.
    """

    _writer: TxWriter

    def __init__(self, bridge: Bridge, writer: TxWriter, partition: Partition) -> None:
        super().__init__(bridge, writer, partition)

    async def take(self, key: Buffer) -> bytes | None:
        """Remove key; the value that it had, or None. Atomic."""
        async with await self._writer.hold_turn(None) as tx:
            return await (await tx.partition(self)).take(key)

    async def fetch_update(self, key: Buffer, update: Update) -> bytes | None:
        """Write update(value) in place of key's value; the value before. None stands for no entry, in both. Atomic:
        nobody else writes meanwhile. update is called in the loop, once.
        """
        async with await self._writer.hold_turn(None) as tx:
            return await (await tx.partition(self)).fetch_update(key, update)

    async def update_fetch(self, key: Buffer, update: Update) -> bytes | None:
        """As `fetch_update`; the value after."""
        async with await self._writer.hold_turn(None) as tx:
            return await (await tx.partition(self)).update_fetch(key, update)
