"""Partitions and batches of a transactional keyspace, used outside of a transaction: each call is one of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar, overload

from fjeld.batch import Batch
from fjeld.engine import Engine
from fjeld.ingestion import Pairs
from fjeld.kernel.commit import Commit
from fjeld.kernel.core import Access
from fjeld.kernel.turn import Turn
from fjeld.kernel.turn_writes import write_batch_if_free, write_batch_in_turn, write_decided
from fjeld.kernel.write_batch import WriteBatch
from fjeld.maintenance.live_partition import LivePartition
from fjeld.options import PersistMode
from fjeld.partition import Partition
from fjeld.transaction.tx_partition import Update

if TYPE_CHECKING:  # it exists for type checkers only
    from fjeld.kernel.core import Buffer

__all__ = ["DirectBatch", "DirectPartition"]

T = TypeVar("T")

_MISSING = object()


class DirectPartition(Partition):
    """A partition of a transactional keyspace. Each write takes the turn, and waits for it while another thread
    has a write transaction (or commits). From the thread that has one open it is a MisuseError.
    """

    _turns: Turn
    _plain: bool

    def __new__(
        cls, engine: Engine, live: LivePartition, turn: Turn, plain_removals: bool
    ) -> DirectPartition:
        """plain_removals: remove_weak is remove (see `kernel.conflicts`)."""
        partition = super().__new__(cls, engine, live)
        assert isinstance(partition, DirectPartition)
        partition.take_turns(turn)
        partition._turns = turn
        partition._plain = plain_removals
        return partition

    def remove_weak(self, key: Buffer) -> None:
        """As of `Partition`; in an optimistic keyspace the same as `remove`."""
        if self._plain:
            self.remove(key)
        else:
            super().remove_weak(key)

    # ---- reading and writing in one step ----

    def take(self, key: Buffer) -> bytes | None:
        """Remove key; the value that it had, or None. Atomic."""
        return self._update(key, lambda _before: None)[0]

    def fetch_update(self, key: Buffer, update: Update) -> bytes | None:
        """Write update(value) in place of key's value; the value before. None stands for no entry, in both.
        Atomic: nobody else writes meanwhile, nor may `update`.
        """
        return self._update(key, update)[0]

    def update_fetch(self, key: Buffer, update: Update) -> bytes | None:
        """Write update(value) in place of key's value; the value after. None stands for no entry, in both.
        Atomic: nobody else writes meanwhile, nor may `update`.
        """
        return self._update(key, update)[1]

    def _update(self, key: Buffer, update: Update) -> tuple[bytes | None, bytes | None]:
        batch = WriteBatch(self.core.commit)

        def decide() -> tuple[bytes | None, bytes | None]:
            before = self.get(key)
            exact = bytes(key)
            after = update(before)
            if after is not None:
                batch.insert(self, exact, after)
                return before, bytes(after)
            if before is not None:
                batch.remove(self, exact)
            return before, None

        return write_decided(self._turns, batch, decide)

    def __delitem__(self, key: Buffer) -> None:
        if self.take(key) is None:
            raise KeyError(key)

    @overload
    def pop(self, key: Buffer, /) -> bytes: ...
    @overload
    def pop(self, key: Buffer, /, default: bytes | T) -> bytes | T: ...
    def pop(self, key: Buffer, default: object = _MISSING) -> object:
        """Remove key and return its value; default, or KeyError, where there is none. Atomic."""
        value = self.take(key)
        if value is not None:
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[bytes, bytes]:
        """Remove the entry with the least key and return it; KeyError where there is none. Atomic."""
        batch = WriteBatch(self.core.commit)

        def decide() -> tuple[bytes, bytes]:
            entry = self.first()
            if entry is None:
                raise KeyError("the partition is empty")
            batch.remove(self, entry[0])
            return entry

        return write_decided(self._turns, batch, decide)

    def setdefault(self, key: Buffer, default: Buffer) -> bytes:
        """The value of key; where there is none, default is written. Atomic."""
        value = self.update_fetch(key, lambda before: default if before is None else before)
        assert value is not None
        return value

    # ---- everything at once ----

    def ingest(self, sorted_pairs: Pairs) -> int:
        """As of `Partition`; the last step takes the turn."""
        self._turns.check()
        self._engine.check_partition(self._live)
        self._engine.refuse()
        built = self._engine.ingestion.build(self._live, sorted_pairs)
        if built.tables:
            with ExitStack() as undo:
                undo.callback(self._engine.ingestion.discard, built)
                with self._turns:
                    undo.pop_all()
                    self._engine.add_tables(self._live, built)
        return built.entries

    def clear(self) -> None:
        """Remove everything, at once and atomically. Open snapshots and iterators go on seeing what they saw."""
        with self._turns:
            super().clear()


class DirectBatch(Batch):
    """A batch of a transactional keyspace: its commit takes the turn."""

    _turn: Turn
    _plain: bool

    def __new__(
        cls, commit: Commit, durability: PersistMode | None, turn: Turn, plain_removals: bool
    ) -> DirectBatch:
        batch = super().__new__(cls, commit, durability)
        assert isinstance(batch, DirectBatch)
        batch._turn = turn
        batch._plain = plain_removals
        return batch

    def remove_weak(self, partition: Access, key: Buffer) -> None:
        """As of `Batch`; in an optimistic keyspace the same as `remove`."""
        if self._plain:
            self.remove(partition, key)
        else:
            super().remove_weak(partition, key)

    def commit(self) -> None:
        """Write it. A second commit is a ClosedError."""
        durable = None if self._durability is None else self._durability is not PersistMode.BUFFER
        write_batch_in_turn(self._turn, self, durable)

    def write_without_waiting(self) -> bool:
        """As of `WriteBatch`; False also where the turn is not free."""
        return write_batch_if_free(self._turn, self)
