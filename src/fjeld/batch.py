"""An atomic batch across partitions."""

from __future__ import annotations

from types import TracebackType

from fjeld.kernel.commit import Commit
from fjeld.kernel.write_batch import WriteBatch
from fjeld.options import PersistMode

__all__ = ["Batch"]


class Batch(WriteBatch):
    """Writes that happen together or not at all, in any partitions of one keyspace. One thread.

    A context manager: commits on a clean exit, discards on an exception.

        with ks.batch() as batch:
            batch.insert(users, b"carol", b"3")
            batch.remove(users, b"alice")
    """

    _durability: PersistMode | None

    def __new__(cls, commit: Commit, durability: PersistMode | None = None) -> Batch:
        batch = super().__new__(cls, commit)
        batch._durability = durability
        return batch

    def commit(self) -> None:
        """Write it. A second commit is a ClosedError."""
        durable = None if self._durability is None else self._durability is not PersistMode.BUFFER
        self.write_now(durable)

    def discard(self) -> None:
        """Forget it. Discarding twice, or after a commit, is fine."""
        self.finish()

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self.finished:
            self.commit()
        else:
            self.discard()
