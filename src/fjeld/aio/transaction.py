"""A write transaction for an event loop."""

from __future__ import annotations

from types import TracebackType

from fjeld.aio.bridge import Pending
from fjeld.aio.handover import Handover
from fjeld.aio.loop_turn import LoopTurn
from fjeld.aio.partition import AsyncPartition
from fjeld.aio.shared_sync import SharedSync
from fjeld.aio.tx_partition import AsyncTxPartition
from fjeld.aio.writer import LARGE_BATCH_ENTRIES
from fjeld.options import PersistMode
from fjeld.transaction.savepoint import Savepoint

__all__ = ["AsyncSavepoint", "AsyncTransaction"]


class AsyncTransaction:
    """Writes in any partitions of one keyspace that happen together or not at all. Made by `write_tx`.

    An async context manager: commits on a clean exit, rolls back on an exception, also where the task is cancelled.

        async with ks.write_tx() as tx:
            accounts = await tx.partition("accounts")
            await accounts.update_fetch(b"alice", lambda old: str(int(old or 0) - 5).encode())
            await accounts.update_fetch(b"bob", lambda old: str(int(old or 0) + 5).encode())

    For one loop; tasks that use it at the same time take turns, call by call. One that nobody holds any more is rolled
    back.
    """

    def __init__(self, handover: Handover, turn: LoopTurn, sync: SharedSync, mode: PersistMode) -> None:
        self._handover = handover
        self._turn = turn
        self._sync = sync
        self._mode = mode
        self._committing = False

    def __repr__(self) -> str:
        return f"<fjeld.aio.AsyncTransaction of {self._handover.transaction!r}>"

    @property
    def is_open(self) -> bool:
        """Neither committed nor rolled back."""
        return self._handover.transaction.is_open

    @property
    def writes(self) -> int:
        """How many entries the commit will write."""
        return self._handover.transaction.writes

    async def partition(self, name: str | AsyncPartition) -> AsyncTxPartition:
        """The partition of this name as the transaction sees it, and to write to; a partition of the keyspace will
        do too.

        One that does not exist is created, at once: it stays also where the transaction is rolled back.
        """
        wanted = name.partition if isinstance(name, AsyncPartition) else name
        await self._handover.home()
        transaction = self._handover.transaction
        transaction.check_use()
        known = wanted if isinstance(wanted, str) else getattr(wanted, "name", None)
        if isinstance(known, str) and known not in transaction.control.partitions:
            partition = await self._handover.run(transaction.partition, wanted)
        else:
            partition = transaction.partition(wanted)
        return AsyncTxPartition(self._handover, partition)

    def savepoint(self) -> Pending[AsyncSavepoint]:
        """A point to go back to: `async with tx.savepoint()` goes back where the block raises, or
        `point = await tx.savepoint()`, and `await point.rollback()`.
        """

        async def made() -> AsyncSavepoint:
            await self._handover.home()
            return AsyncSavepoint(self._handover, self._handover.transaction.savepoint())

        return Pending(made)

    async def commit(self) -> None:
        """Write all of it, atomically, and end; where that fails, nothing was written and it is rolled back.

        ConflictError (optimistic): something that it has read was changed since it began. A task that is cancelled
        here has written all of it or nothing; the transaction has ended, or will as soon as a thread is done.
        """
        handover = self._handover
        transaction = handover.transaction
        handover.enter()
        try:
            await handover.home()
            durable = transaction.writes > 0 and self._mode is not PersistMode.BUFFER
            if transaction.writes > LARGE_BATCH_ENTRIES or not transaction.commit_now():
                await self._commit_in_thread()
        except BaseException:
            handover.end()
            raise
        handover.settle()
        if durable:
            await self._sync.persist(self._mode)

    async def _commit_in_thread(self) -> None:
        handover = self._handover
        lease = handover.lease or await self._turn.take()  # of an optimistic one: for the commit
        try:
            async with handover:
                handover.transaction.check_use()
                handover.lease = lease
                self._committing = True
                await handover.lend(handover.transaction.commit)
        except BaseException:
            if handover.lease is not lease:
                lease.give()
            raise

    async def rollback(self) -> None:
        """Forget all of it, and end."""
        handover = self._handover
        if handover.enter():
            handover.transaction.rollback()
            handover.settle()
        else:
            handover.end()
            await handover.home()

    async def __aenter__(self) -> AsyncTransaction:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.is_open:
            return
        if kind is None:
            await self.commit()
            return
        self._handover.end()
        if (
            not self._committing
        ):  # a thread may be long about a commit; it was cancelled, and it is told what to do
            await self._handover.home()


class AsyncSavepoint:
    """What a transaction had written at one point. Made by `AsyncTransaction.savepoint`. See `fjeld.Savepoint`."""

    def __init__(self, handover: Handover, point: Savepoint) -> None:
        self._handover = handover
        self._point = point

    @property
    def is_active(self) -> bool:
        """Can it be gone back to?"""
        return self._point.is_active

    async def rollback(self) -> None:
        """Forget what was written since."""
        await self._handover.home()
        self._point.rollback()

    async def release(self) -> None:
        """Forget the point, and those after it; what was written stays. Releasing twice is fine."""
        await self._handover.home()
        self._point.release()

    async def __aenter__(self) -> AsyncSavepoint:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handover.later(lambda: self._point.__exit__(kind, error, trace))
        await self._handover.home()
