"""How the tasks of one loop write to a transactional keyspace: each write takes the turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from fjeld.aio.bridge import Bridge
from fjeld.aio.handover import Handover
from fjeld.aio.loop_turn import Lease, LoopTurn
from fjeld.aio.shared_sync import SharedSync
from fjeld.aio.transaction import AsyncTransaction
from fjeld.aio.writer import LARGE_BATCH_ENTRIES, Writer
from fjeld.batch import Batch
from fjeld.options import PersistMode
from fjeld.transaction.keyspaces import OptimisticTxKeyspace, TxKeyspace
from fjeld.transaction.transaction import Transaction

if TYPE_CHECKING:
    from fjeld.ingestion import Pairs
    from fjeld.partition import Partition

__all__ = ["TxWriter"]

P = ParamSpec("P")
T = TypeVar("T")


class TxWriter(Writer):
    """As Writer. What cannot be done at once goes through the loop's turn (`loop_turn`)."""

    keyspace: TxKeyspace | OptimisticTxKeyspace

    def __init__(
        self, bridge: Bridge, keyspace: TxKeyspace | OptimisticTxKeyspace, sync: SharedSync, turn: LoopTurn
    ) -> None:
        super().__init__(bridge, keyspace, sync)
        self.turn = turn

    async def commit_later(self, batch: Batch) -> None:
        """Write a batch that could not be written at once, or is large, when its turn has come."""
        lease = await self.turn.take()
        try:
            written = len(batch) <= LARGE_BATCH_ENTRIES and batch.write_without_waiting()
        except BaseException:
            lease.give()
            raise
        if written:
            lease.give()
        else:
            await self.bridge.run_then(lease.give, batch.commit)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """A call that takes the keyspace's turn."""
        lease = await self.turn.take()
        return await self.bridge.run_then(lease.give, function, *args, **kwargs)

    def check(self) -> None:
        """MisuseError where this task has a transaction open that has the turn."""
        self.turn.check()

    async def ingest(self, partition: Partition, pairs: Pairs) -> int:
        """By a thread of its own: it takes the turn at its end, and others write while it reads the pairs."""
        return await self.bridge.run_apart(partition.ingest, pairs)

    async def hold_turn(self, durability: PersistMode | None) -> AsyncTransaction:
        """A transaction that has the turn from now to its end."""
        mode = self.mode(durability)
        lease = await self.turn.take()
        try:
            transaction = self.keyspace.hold_turn_now(PersistMode.BUFFER)
            if transaction is None:
                transaction = await self._wait_for_turn(lease)
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                lease.give()
            raise
        return self.wrap(transaction, mode, lease)

    async def _wait_for_turn(self, lease: Lease) -> Transaction:
        """In a thread. Where the task is cancelled, the lease is given back when the thread is done."""
        loop_thread = threading.get_ident()

        def begin() -> Transaction:
            transaction = self.keyspace.hold_turn(PersistMode.BUFFER)
            transaction.hand_to(loop_thread)
            return transaction

        running = self.bridge.submit(begin)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            running.add_done_callback(partial(_give_up, lease))
            raise

    def wrap(self, transaction: Transaction, mode: PersistMode, lease: Lease | None) -> AsyncTransaction:
        """A transaction of the loop's thread, for its tasks. It is persisted by `sync`, not by its commit."""
        return AsyncTransaction(Handover(self.bridge, transaction, lease), self.turn, self.sync, mode)


def _give_up(lease: Lease, begun: Future[Transaction]) -> None:
    """A transaction has begun, or not, and the task that wanted it was cancelled. In any thread."""
    if not begun.cancelled() and begun.exception() is None:
        transaction = begun.result()
        transaction.adopt()
        transaction.rollback()
    lease.give_from_any_thread()
