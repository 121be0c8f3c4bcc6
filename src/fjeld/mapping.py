"""What makes a partition, and the view of one in a snapshot, a mapping: their views, length and identity."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING, Any, cast

from fjeld.kernel.digest import count_entries
from fjeld.kernel.reader import Reader

__all__ = ["ReaderItems", "ReaderKeys", "ReaderMapping", "ReaderValues"]


class ReaderKeys(KeysView[bytes]):
    """The keys of a partition or snapshot, in order."""

    _mapping: Any

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._mapping.scan_keys())

    def __reversed__(self) -> Iterator[bytes]:
        return iter(self._mapping.scan_keys(True))


class ReaderValues(ValuesView[bytes]):
    """The values of a partition or snapshot, in the order of their keys."""

    _mapping: Any

    def __contains__(self, value: object) -> bool:
        return any(value == found for found in self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._mapping.scan_values())

    def __reversed__(self) -> Iterator[bytes]:
        return iter(self._mapping.scan_values(True))


class ReaderItems(ItemsView[bytes, bytes]):
    """The entries of a partition or snapshot, in the order of their keys."""

    _mapping: Any

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._mapping.scan_items())

    def __reversed__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._mapping.scan_items(True))


class ReaderMapping:
    """Mixed into a Reader: the rest of a Mapping's methods.

    Equal when it is the same object: contents are not compared.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def is_empty(self) -> bool: ...

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __len__(self) -> int:
        return count_entries(cast(Reader, self))

    def __bool__(self) -> bool:
        """Is there an entry? (`len` would read all keys.)"""
        return not self.is_empty()

    def keys(self) -> ReaderKeys:
        """A view of the keys."""
        return ReaderKeys(cast(Any, self))

    def values(self) -> ReaderValues:
        """A view of the values."""
        return ReaderValues(cast(Any, self))

    def items(self) -> ReaderItems:
        """A view of the entries."""
        return ReaderItems(cast(Any, self))
