"""Savepoints: going back within a transaction."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from fjeld.errors import MisuseError
from fjeld.kernel.own_writes import OwnWrites

if TYPE_CHECKING:  # it exists for type checkers only
    from fjeld.kernel.own_writes import Mark

__all__ = ["Savepoint"]


class Savepoint:
    """What the transaction had written at one point. Made by `Transaction.savepoint`; for the same thread.

    They nest: going back to one takes those away that were made after it, not itself. What was read stays read
    (an optimistic transaction conflicts over it).
    """

    __slots__ = ("_mark", "_stack", "_transaction")

    def __init__(self, transaction: OwnWrites, mark: Mark, stack: list[Savepoint]) -> None:
        self._transaction = transaction
        self._mark = mark
        self._stack = stack

    @property
    def is_active(self) -> bool:
        """Can it be gone back to?"""
        return self._transaction.is_open and self in self._stack

    def rollback(self) -> None:
        """Forget what was written since. Iterators that exist go on seeing what they saw."""
        self._transaction.check_use()
        if self not in self._stack:
            raise MisuseError("this savepoint is gone: it was released, or an earlier one was gone back to")
        self._transaction.go_back(self._mark)
        del self._stack[self._stack.index(self) + 1 :]

    def release(self) -> None:
        """Forget the point, and those after it; what was written stays. Releasing twice is fine."""
        self._transaction.check_use()
        if self in self._stack:
            del self._stack[self._stack.index(self) :]

    def __enter__(self) -> Savepoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_active:
            if kind is not None:
                self.rollback()
            self.release()
