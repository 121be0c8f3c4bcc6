"""A partition in a transaction."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING

from fjeld.kernel.digest import count_entries
from fjeld.kernel.tx_tree import TxTree
from fjeld.mapping import ReaderMapping

if TYPE_CHECKING:  # it exists for type checkers only
    from fjeld.kernel.core import Buffer

__all__ = ["TxPartition", "Update"]

Update = Callable[[bytes | None], "Buffer | None"]
"""From the value there is (None: none) to the one there is to be (None: none)."""


class TxPartition(TxTree, ReaderMapping, MutableMapping[bytes, bytes]):
    """One partition as its transaction sees it: with the transaction's own writes. For its thread.

    Reading methods as of `Partition`; writing: `insert`, `remove`, `remove_weak`, `insert_many`, `take`,
    `fetch_update`, `update_fetch`, and those of a MutableMapping. Iterators see the state at their creation,
    also when the transaction writes on.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<fjeld.TxPartition {self.name!r} in {self.transaction!r}>"

    @property
    def name(self) -> str:
        """Its name in the keyspace."""
        return self.core.name

    def __len__(self) -> int:
        self.note_all_read()
        return count_entries(self)

    def take(self, key: Buffer) -> bytes | None:
        """Remove key; the value that it had, or None."""
        value = self.get(key)
        if value is not None:
            self.remove(key)
        return value

    def fetch_update(self, key: Buffer, update: Update) -> bytes | None:
        """Write update(value) in place of key's value; the value before. None stands for no entry, in both."""
        return self._update(key, update)[0]

    def update_fetch(self, key: Buffer, update: Update) -> bytes | None:
        """Write update(value) in place of key's value; the value after. None stands for no entry, in both."""
        return self._update(key, update)[1]

    def _update(self, key: Buffer, update: Update) -> tuple[bytes | None, bytes | None]:
        before = self.get(key)
        exact = bytes(key)  # the function may change a bytearray
        after = update(before)
        if after is not None:
            self.insert(exact, after)
            return before, bytes(after)
        if before is not None:
            self.remove(exact)
        return before, None

    def popitem(self) -> tuple[bytes, bytes]:
        """Remove the entry with the least key and return it; KeyError where there is none."""
        entry = self.first()
        if entry is None:
            raise KeyError("the partition is empty")
        self.remove(entry[0])
        return entry

    def clear(self) -> None:
        """Remove every entry that the transaction sees, one by one."""
        for key in self:
            self.remove(key)
