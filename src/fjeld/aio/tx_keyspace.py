"""The transactional keyspaces for an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from fjeld.aio.bridge import Bridge, Pending
from fjeld.aio.direct import AsyncDirectPartition
from fjeld.aio.keyspace import THREADS, AsyncKeyspace, opened
from fjeld.aio.loop_turn import LoopTurn
from fjeld.aio.snapshot import AsyncSnapshot
from fjeld.aio.transaction import AsyncTransaction
from fjeld.aio.tx_writer import TxWriter
from fjeld.errors import ConflictError
from fjeld.keyspace import Keyspace
from fjeld.options import KeyspaceOptions, PartitionOptions, PersistMode
from fjeld.transaction import keyspaces
from fjeld.transaction.backoff import Backoff
from fjeld.transaction.keyspaces import OptimisticTxKeyspace, TxKeyspace, check_retries
from fjeld.transaction.transaction import is_durable

__all__ = ["AsyncOptimisticTxKeyspace", "AsyncTxKeyspace", "open_optimistic_tx", "open_tx"]

T = TypeVar("T")


class _Transactional(AsyncKeyspace):
    """What both have."""

    _writer: TxWriter

    def __init__(self, keyspace: TxKeyspace | OptimisticTxKeyspace, bridge: Bridge) -> None:
        super().__init__(keyspace, bridge)
        self._turn = LoopTurn()
        self._writer = TxWriter(bridge, keyspace, self._sync, self._turn)

    async def partition(
        self, name: str, *, options: PartitionOptions | None = None, create: bool = True
    ) -> AsyncDirectPartition:
        """Open the partition of this name, or create it with these options; see `Keyspace.partition`."""
        partition = await self._open_partition(name, options, create)
        return AsyncDirectPartition(self._bridge, self._writer, partition)

    def read_tx(self) -> AsyncSnapshot:
        """A read transaction: `async with ks.read_tx() as snapshot`. It waits for nobody, and nobody for it."""
        return self.snapshot()

    async def close(self) -> None:
        """As `AsyncKeyspace.close`. Transactions that are open are rolled back; their use is a ClosedError then."""
        await self._bridge.finish(self._keyspace.close, self._turn.take_away)


class AsyncTxKeyspace(_Transactional):
    """A keyspace with write transactions, one at a time, for the tasks of one event loop. Made by
    `fjeld.aio.open_tx`.
    """

    def write_tx(self, durability: PersistMode | None = None) -> Pending[AsyncTransaction]:
        """Begin a write transaction: `async with ks.write_tx() as tx`. It waits for the one that is open, in another
        task or another thread, without holding up the loop.

        durability: of its commit; None: as the keyspace's option says. Tasks that commit at the same time share a
        sync. MisuseError where this task has one open.
        """
        is_durable(durability)
        return Pending(lambda: self._writer.hold_turn(durability))

    async def transact(
        self,
        function: Callable[[AsyncTransaction], Awaitable[T]],
        *,
        retries: int = 0,
        durability: PersistMode | None = None,
    ) -> T:
        """Await function(transaction) in a write transaction and commit it; what it returns. An exception rolls back.

        retries: for the same call on an optimistic keyspace; here nothing conflicts.
        """
        check_retries(retries)
        async with self.write_tx(durability) as transaction:
            return await function(transaction)


class AsyncOptimisticTxKeyspace(_Transactional):
    """A keyspace with write transactions that run side by side, serializable, for the tasks of one event loop. Made
    by `fjeld.aio.open_optimistic_tx`.
    """

    _keyspace: OptimisticTxKeyspace

    def __init__(
        self, keyspace: OptimisticTxKeyspace, bridge: Bridge, backoff: Backoff | None = None
    ) -> None:
        super().__init__(keyspace, bridge)
        self._backoff = Backoff() if backoff is None else backoff

    def write_tx(self, durability: PersistMode | None = None) -> Pending[AsyncTransaction]:
        """Begin a write transaction: `async with ks.write_tx() as tx`. It sees the keyspace as it is then; its commit
        is a ConflictError where something that it has read was changed since.

        durability: of its commit; None: as the keyspace's option says. Tasks that commit at the same time share a
        sync.
        """
        is_durable(durability)

        async def begun() -> AsyncTransaction:
            transaction = self._keyspace.write_tx(PersistMode.BUFFER)
            return self._writer.wrap(transaction, self._writer.mode(durability), None)

        return Pending(begun)

    async def transact(
        self,
        function: Callable[[AsyncTransaction], Awaitable[T]],
        *,
        retries: int = 20,
        durability: PersistMode | None = None,
    ) -> T:
        """Await function(transaction) in a write transaction and commit it; what it returns. An exception rolls back.

        On a conflict it is run again, up to `retries` times, each after a longer random pause, in which other tasks
        go on; then the ConflictError is raised. So the function must do nothing that cannot be done twice.
        """
        check_retries(retries)
        attempt = 0
        while True:
            try:
                async with self.write_tx(durability) as transaction:
                    return await function(transaction)
            except ConflictError:
                if attempt == retries:
                    raise
            await asyncio.sleep(self._backoff.seconds(attempt))
            attempt += 1


def open_tx(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    options: KeyspaceOptions | None = None,
    create: bool = True,
    error_if_exists: bool = False,
    threads: int = THREADS,
) -> Pending[AsyncTxKeyspace]:
    """As `fjeld.aio.open`, for write transactions one at a time; see `fjeld.open_tx`."""
    opening = partial(
        keyspaces.open_tx, path, options=options, create=create, error_if_exists=error_if_exists
    )
    return opened(opening, Keyspace.close, AsyncTxKeyspace, threads)


def open_optimistic_tx(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    options: KeyspaceOptions | None = None,
    create: bool = True,
    error_if_exists: bool = False,
    threads: int = THREADS,
) -> Pending[AsyncOptimisticTxKeyspace]:
    """As `fjeld.aio.open`, for optimistic write transactions; see `fjeld.open_optimistic_tx`."""
    opening = partial(
        keyspaces.open_optimistic_tx, path, options=options, create=create, error_if_exists=error_if_exists
    )
    return opened(opening, Keyspace.close, AsyncOptimisticTxKeyspace, threads)
