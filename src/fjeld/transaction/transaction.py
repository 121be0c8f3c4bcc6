"""A write transaction: writes in any partitions of one keyspace that happen together or not at all.

What it writes stays in memory until the commit, which is one record of the journal (`kernel.own_writes`). So a
crash, a close or a checkpoint before that finds nothing of it, and there is nothing to undo.

    open -> committed, or rolled back: by rollback(), an exception in the `with` block, a commit that fails, or because
    nobody holds it any more

Considered and left:
  - Writing to journal and memtables at once, with marks of beginning and end, as databases do whose transactions
    are larger than memory. Recovery, checkpoints and every reader would have to know which are open.
  - A view of its own for each partition, made of the index and the view of the keyspace. It would have to be
    made anew at each flush, and hold files that nobody needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fjeld.engine import Engine
from fjeld.errors import ConflictError
from fjeld.kernel.own_writes import OwnWrites
from fjeld.maintenance.live_partition import LivePartition
from fjeld.manifest.fields import check_partition_name
from fjeld.options import PersistMode
from fjeld.partition import Partition
from fjeld.transaction.savepoint import Savepoint
from fjeld.transaction.tx_partition import TxPartition

if TYPE_CHECKING:
    from fjeld.transaction.moment import Moment

__all__ = ["OptimisticTransaction", "Transaction", "is_durable"]


def is_durable(durability: PersistMode | None) -> bool | None:
    """For the kernel: persist at the commit, or not; None: as the keyspace's option says."""
    if durability is None:
        return None
    if not isinstance(durability, PersistMode):
        raise TypeError(f"durability must be a PersistMode, not {type(durability).__name__}")
    return durability is not PersistMode.BUFFER


class Transaction(OwnWrites):
    """The write transaction of a `TxKeyspace`. For the thread that began it, or the one that called `adopt`.

    A context manager: commits on a clean exit, rolls back on an exception.

        with ks.write_tx() as tx:
            accounts = tx.partition("accounts")
            accounts.update_fetch(b"alice", lambda old: str(int(old or 0) - 5).encode())
            accounts.update_fetch(b"bob", lambda old: str(int(old or 0) + 5).encode())

    `commit()` and `rollback()` end it; all use afterwards is a ClosedError. `writes`: how many entries it has.
    """

    __slots__ = ("__weakref__", "_savepoints")

    _savepoints: list[Savepoint]

    def __repr__(self) -> str:
        return f"<fjeld.{type(self).__name__} ({'open' if self.is_open else 'ended'}, {self.writes} writes)>"

    def partition(self, name: str | Partition) -> TxPartition:
        """The partition of this name as the transaction sees it, and to write to; a partition of the keyspace
        will do too.

        One that does not exist is created, at once: it stays also where the transaction is rolled back.
        """
        self.check_use()
        live = self.control.partitions.get(name) if type(name) is str else None
        if live is None:
            live = self._find(name)
        return TxPartition(live.core, self)

    def _find(self, name: str | Partition) -> LivePartition:
        engine: Engine = self.control
        if isinstance(name, Partition):
            if not name.is_of(engine):
                raise ValueError(f"the partition {name.name!r} is of another keyspace than this transaction")
            name = name.name
        elif not isinstance(name, str):
            raise TypeError(f"a partition's name is a str, not {type(name).__name__}")
        live = None if engine.closed else engine.partitions.get(name)
        if live is None:
            check_partition_name(name)
            live = engine.open_partition(name, None, True)
        return live

    def savepoint(self) -> Savepoint:
        """A point to go back to with its `rollback()`. As a context manager it goes back where the block
        raises.
        """
        mark = self.mark()
        if not hasattr(self, "_savepoints"):
            self._savepoints = []
        point = Savepoint(self, mark, self._savepoints)
        self._savepoints.append(point)
        return point


class OptimisticTransaction(Transaction):
    """The write transaction of an `OptimisticTxKeyspace`: sees the keyspace as it was when it began, and its own
    writes. Its commit is a ConflictError where anything that it has read has changed since.

    Otherwise as `Transaction`.
    """

    __slots__ = ("_moment",)

    _moment: Moment

    def begin(self, moment: Moment) -> None:
        """For the keyspace: the moment that it sees."""
        self._moment = moment
        self.watch_reads(moment.seqno, moment.read_sets, moment.close)

    @property
    def seqno(self) -> int:
        """What was written up to this seqno is seen."""
        return self._moment.seqno

    def partition(self, name: str | Partition) -> TxPartition:
        """As `Transaction.partition`. ConflictError where it was dropped since the transaction began."""
        self.check_use()
        live = self._find(name)
        if self._moment.partitions.get(live.name, live) is not live:
            raise ConflictError(
                f"the partition {live.name!r} was dropped since this transaction began: run it again"
            )
        return TxPartition(live.core, self, self._moment.reads_of(live))
