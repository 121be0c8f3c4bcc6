"""The two transactional keyspaces.

    TxKeyspace            a write transaction has the turn from its beginning to its end: one at a time, no conflicts
    OptimisticTxKeyspace  many at once; each has the turn while it commits, and is refused there where anything that
                          it has read has changed

Both are serializable, in the order of the commits: a single writer trivially; an optimistic transaction reads one
moment, and whatever it has read of it (keys, also absent ones, ranges, prefixes) is still so when it commits, so
it could as well have run at that instant. One that only reads sees one moment and never conflicts nor waits.

Invariants:
  1. Whatever changes contents has the turn: commits, single operations, batches, the last step of an ingestion,
     clear and drop.
  2. What an optimistic transaction needs to find a conflict is in the tree (`kernel.conflicts`): its snapshot keeps
     newer versions apart from those that it saw; where entries go without a version (clear, a filter, first in
     first out, drop), it is told (`Moment.keep`) or finds the partition closed. Nothing is kept of transactions that have
     ended, and of an open one its read set, which is bounded.

Considered and left: a book of recent commits to check against (as BadgerDB and fjall have), which grows with the age
of the oldest open transaction and knows ranges badly; locks on keys and ranges (as PostgreSQL's SSI), which readers
would have to enter and leave.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import TypeVar

from fjeld.batch import Batch
from fjeld.engine import Engine
from fjeld.errors import ConflictError
from fjeld.kernel.turn import Turn
from fjeld.keyspace import Keyspace, open_as
from fjeld.maintenance.live_partition import LivePartition
from fjeld.options import KeyspaceOptions, PersistMode
from fjeld.partition import Partition
from fjeld.snapshot import Snapshot
from fjeld.transaction.backoff import Backoff
from fjeld.transaction.direct import DirectBatch, DirectPartition
from fjeld.transaction.moment import Moment
from fjeld.transaction.transaction import OptimisticTransaction, Transaction, is_durable

__all__ = ["OptimisticTxKeyspace", "TxKeyspace", "open_optimistic_tx", "open_tx"]

T = TypeVar("T")


class _Transactional(Keyspace):
    """What both have."""

    _plain_removals = False

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._turn = Turn()

    def _make_partition(self, live: LivePartition) -> Partition:
        return DirectPartition(self._engine, live, self._turn, self._plain_removals)

    def batch(self, *, durability: PersistMode | None = None) -> Batch:
        """An atomic batch across partitions; its commit waits for its turn."""
        self._engine.check_open()
        is_durable(durability)
        return DirectBatch(self._engine.commit, durability, self._turn, self._plain_removals)

    def read_tx(self) -> Snapshot:
        """A read transaction: the whole keyspace as it is now, to read from until it is closed. It waits for
        nobody, and nobody for it.
        """
        return self.snapshot()

    def hold_turn(self, durability: PersistMode | None = None) -> Transaction:
        """A write transaction that has the turn from now to its end; waits for it. For any kind of keyspace."""
        engine = self._engine
        if engine.closed:
            engine.check_open()
        transaction = Transaction(engine.commit, self._turn, True, is_durable(durability))
        if engine.closed:  # while it waited
            transaction.rollback()
            engine.check_open()
        return transaction

    def hold_turn_now(self, durability: PersistMode | None = None) -> Transaction | None:
        """As `hold_turn`, without waiting: None where the turn is not free."""
        engine = self._engine
        engine.check_open()
        transaction = Transaction(engine.commit, self._turn, False, is_durable(durability))
        return transaction if transaction.hold_now() else None

    def drop_partition(self, name: str) -> None:
        """As of `Keyspace`; waits for its turn."""
        self._engine.check_open()
        with self._turn:
            super().drop_partition(name)

    def close(self) -> None:
        """As of `Keyspace`. Transactions that are open are rolled back; their use is a ClosedError then."""
        super().close()
        self._turn.take_from_transaction()


class TxKeyspace(_Transactional):
    """A keyspace with write transactions, one at a time. Made by `fjeld.open_tx`.

    Everything a `Keyspace` has, and `write_tx`, `read_tx`, `transact`. A transaction may read and write without
    conflicts; another thread that wants to write waits for its end.
    """

    def write_tx(self, durability: PersistMode | None = None) -> Transaction:
        """Begin a write transaction; waits for the one that is open in another thread.

        durability: of its commit; None: as the keyspace's option says. MisuseError where this thread has one
        open.
        """
        return self.hold_turn(durability)

    def transact(
        self, function: Callable[[Transaction], T], *, retries: int = 0, durability: PersistMode | None = None
    ) -> T:
        """Run function(transaction) in a write transaction and commit it; what it returns. An exception rolls
        back.

        retries: for the same call on an OptimisticTxKeyspace; here nothing conflicts.
        """
        check_retries(retries)
        with self.write_tx(durability) as transaction:
            return function(transaction)


class OptimisticTxKeyspace(_Transactional):
    """A keyspace with write transactions that run side by side, serializable. Made by `fjeld.open_optimistic_tx`.

    Everything a `Keyspace` has, and `write_tx`, `read_tx`, `transact`. A commit is a ConflictError where something
    that the transaction has read was changed since it began; what it only writes never conflicts.
    """

    _plain_removals = True

    def __init__(self, engine: Engine, backoff: Backoff | None = None) -> None:
        super().__init__(engine)
        self._backoff = Backoff() if backoff is None else backoff

    def write_tx(self, durability: PersistMode | None = None) -> OptimisticTransaction:
        """Begin a write transaction. It sees the keyspace as it is now.

        durability: of its commit; None: as the keyspace's option says.
        """
        engine = self._engine
        durable = is_durable(durability)
        moment = engine.open_snapshot(Moment)
        transaction = OptimisticTransaction(engine.commit, self._turn, False, durable)
        transaction.begin(moment)
        return transaction

    def transact(
        self,
        function: Callable[[OptimisticTransaction], T],
        *,
        retries: int = 20,
        durability: PersistMode | None = None,
    ) -> T:
        """Run function(transaction) in a write transaction and commit it; what it returns. An exception rolls
        back.

        On a conflict it is run again, up to `retries` times, each after a longer random pause; then the
        ConflictError is raised. So the function must do nothing that cannot be done twice.
        """
        check_retries(retries)
        attempt = 0
        while True:
            try:
                with self.write_tx(durability) as transaction:
                    return function(transaction)
            except ConflictError:
                if attempt == retries:
                    raise
            self._backoff.wait(attempt)
            attempt += 1


def check_retries(retries: int) -> None:
    if operator.index(retries) < 0:
        raise ValueError(f"retries must not be negative, it is {retries}")


def open_tx(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    options: KeyspaceOptions | None = None,
    create: bool = True,
    error_if_exists: bool = False,
) -> TxKeyspace:
    """Open the keyspace in the folder `path`, or make one there, for write transactions one at a time.

    The folder is the same as for `fjeld.open`, which has the errors too.
    """
    return open_as(TxKeyspace, path, options, create, error_if_exists)


def open_optimistic_tx(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    options: KeyspaceOptions | None = None,
    create: bool = True,
    error_if_exists: bool = False,
) -> OptimisticTxKeyspace:
    """Open the keyspace in the folder `path`, or make one there, for optimistic write transactions.

    The folder is the same as for `fjeld.open`, which has the errors too.
    """
    return open_as(OptimisticTxKeyspace, path, options, create, error_if_exists)
