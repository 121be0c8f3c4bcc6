"""The reading methods that asynchronous partitions and snapshots share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from fjeld.aio.bridge import Runner
from fjeld.aio.cursor import AsyncCursor
from fjeld.aio.scan import AsyncScan
from fjeld.kernel.digest import count_entries
from fjeld.kernel.reader import NOT_READY, Reader
from fjeld.kernel.scan import Scan

if TYPE_CHECKING:
    from fjeld.kernel.core import Buffer

__all__ = ["AsyncReader"]

T = TypeVar("T")

Entry = tuple[bytes, bytes]


class AsyncReader:
    """Reads of one partition, or of a snapshot of one. From memory at once; what has to be read from the disk is
    waited for by a thread.
    """

    def __init__(self, bridge: Runner, reader: Reader) -> None:
        self._bridge = bridge
        self._reader = reader

    @overload
    async def get(self, key: Buffer) -> bytes | None: ...
    @overload
    async def get(self, key: Buffer, default: bytes | T) -> bytes | T: ...
    async def get(self, key: Buffer, default: Any = None) -> Any:
        """The value of key, or default."""
        value = self._reader.get_now(key, default)
        if value is NOT_READY:
            return await self._bridge.run(self._reader.get, key, default)
        return value

    async def get_many(self, keys: Iterable[Buffer]) -> list[bytes | None]:
        """The values of many keys as of one moment, in their order; None for each that is not there."""
        wanted = list(keys)
        values = self._reader.get_many_now(wanted)
        if values is NOT_READY:
            return await self._bridge.run(self._reader.get_many, wanted)
        return cast("list[bytes | None]", values)

    async def size_of(self, key: Buffer) -> int | None:
        """The length of key's value in bytes, or None where there is no such key."""
        size = self._reader.size_now(key)
        if size is NOT_READY:
            return await self._bridge.run(self._reader.size_of, key)
        return cast("int | None", size)

    async def contains(self, key: Buffer) -> bool:
        """Is there such a key?"""
        return await self.size_of(key) is not None

    async def first(self) -> Entry | None:
        """The entry with the least key as (key, value), or None."""
        return await self._next(self._reader.scan_items())

    async def last(self) -> Entry | None:
        """The entry with the greatest key as (key, value), or None."""
        return await self._next(self._reader.scan_items(True))

    async def is_empty(self) -> bool:
        """Is there no entry?"""
        return await self._next(self._reader.scan_keys()) is None

    async def _next(self, scan: Scan[T]) -> T | None:
        entries, ended = scan.take(1, False)
        if not entries and not ended:
            entries, ended = await self._bridge.run(scan.take, 1)
        return entries[0] if entries else None

    async def count(self) -> int:
        """How many entries there are, exactly: reads all keys."""
        return await self._bridge.run(count_entries, self._reader)

    def range(
        self,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
    ) -> AsyncScan[Entry]:
        """An async iterator over (key, value) with start <= key < stop (None: open), as of now."""
        reader = self._reader
        return self._scan(
            lambda: reader.range(
                start, stop, include_start=include_start, include_stop=include_stop, reverse=reverse
            )
        )

    def prefix(self, prefix: Buffer, *, reverse: bool = False) -> AsyncScan[Entry]:
        """An async iterator over (key, value) of all keys that begin with `prefix`, as of now."""
        return self._scan(lambda: self._reader.prefix(prefix, reverse=reverse))

    def items(self, *, reverse: bool = False) -> AsyncScan[Entry]:
        """An async iterator over all (key, value), as of now."""
        return self._scan(lambda: self._reader.scan_items(reverse))

    def keys(self, *, reverse: bool = False) -> AsyncScan[bytes]:
        """An async iterator over all keys, as of now."""
        return self._scan(lambda: self._reader.scan_keys(reverse))

    def values(self, *, reverse: bool = False) -> AsyncScan[bytes]:
        """An async iterator over all values in the order of their keys, as of now."""
        return self._scan(lambda: self._reader.scan_values(reverse))

    def _scan(self, make: Callable[[], Scan[T]]) -> AsyncScan[T]:
        return AsyncScan(self._bridge, make())

    def __aiter__(self) -> Any:
        return self.keys().__aiter__()

    def cursor(
        self, *, start: Buffer | None = None, stop: Buffer | None = None, prefix: Buffer | None = None
    ) -> AsyncCursor:
        """A movable cursor over a range or a prefix, as of now."""
        return AsyncCursor(self._bridge, self._reader.cursor(start=start, stop=stop, prefix=prefix))
