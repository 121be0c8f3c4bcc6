"""A partition in a transaction of an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fjeld.aio.cursor import AsyncCursor
from fjeld.aio.handover import Handover
from fjeld.aio.reader import AsyncReader, Entry
from fjeld.aio.scan import AsyncScan
from fjeld.kernel.cursor import Cursor
from fjeld.kernel.reader import NOT_READY
from fjeld.kernel.scan import Scan
from fjeld.transaction.tx_partition import TxPartition, Update

if TYPE_CHECKING:
    from fjeld.kernel.core import Buffer

__all__ = ["AsyncTxPartition"]

T = TypeVar("T")


class AsyncTxPartition(AsyncReader):
    """One partition as its transaction sees it: with the transaction's own writes. Writing touches memory only."""

    _reader: TxPartition

    def __init__(self, handover: Handover, partition: TxPartition) -> None:
        super().__init__(handover, partition)
        self._handover = handover

    def __repr__(self) -> str:
        return f"<fjeld.aio.AsyncTxPartition of {self._reader!r}>"

    @property
    def name(self) -> str:
        """Its name in the keyspace."""
        return self._reader.name

    # ---- writing ----

    async def insert(self, key: Buffer, value: Buffer) -> None:
        """Write key = value, as part of the transaction."""
        if not self._handover.enter():
            await self._handover.home()
        self._reader.insert(key, value)

    async def remove(self, key: Buffer) -> None:
        """Remove key, whether or not it exists."""
        if not self._handover.enter():
            await self._handover.home()
        self._reader.remove(key)

    async def remove_weak(self, key: Buffer) -> None:
        """Remove a key that was inserted once since it was last removed; see `TxPartition.remove_weak`."""
        if not self._handover.enter():
            await self._handover.home()
        self._reader.remove_weak(key)

    async def insert_many(self, pairs: Iterable[tuple[Buffer, Buffer]]) -> None:
        """Write all (key, value) pairs; where one is refused, or giving them fails, none of them."""
        await self._handover.home()
        self._reader.insert_many(pairs)

    async def take(self, key: Buffer) -> bytes | None:
        """Remove key; the value that it had, or None."""
        return (await self._update(key, lambda _before: None))[0]

    async def fetch_update(self, key: Buffer, update: Update) -> bytes | None:
        """Write update(value) in place of key's value; the value before. None stands for no entry, in both. Other
        tasks that use the transaction come before or after; update is called in the loop.
        """
        return (await self._update(key, update))[0]

    async def update_fetch(self, key: Buffer, update: Update) -> bytes | None:
        """As `fetch_update`; the value after."""
        return (await self._update(key, update))[1]

    async def _update(self, key: Buffer, update: Update) -> tuple[bytes | None, bytes | None]:
        async with self._handover as handover:
            before = cast("bytes | None", self._reader.get_now(key))
            exact = bytes(key)  # as it is now: a bytearray may change meanwhile
            if before is NOT_READY:
                before = await handover.lend(self._reader.get, exact)
            after = update(before)
            if after is not None:
                self._reader.insert(exact, after)
                return before, bytes(after)
            if before is not None:
                self._reader.remove(exact)
            return before, None

    # ---- reading: as AsyncReader, when the transaction is at home ----

    async def get(self, key: Buffer, default: Any = None) -> Any:
        """The value of key, or default."""
        if not self._handover.enter():
            await self._handover.home()
        return await super().get(key, default)

    async def get_many(self, keys: Iterable[Buffer]) -> list[bytes | None]:
        """The values of many keys, in their order; None for each that is not there."""
        await self._handover.home()
        return await super().get_many(keys)

    async def size_of(self, key: Buffer) -> int | None:
        """The length of key's value in bytes, or None where there is no such key."""
        await self._handover.home()
        return await super().size_of(key)

    async def first(self) -> Entry | None:
        """The entry with the least key as (key, value), or None."""
        await self._handover.home()
        return await super().first()

    async def last(self) -> Entry | None:
        """The entry with the greatest key as (key, value), or None."""
        await self._handover.home()
        return await super().last()

    async def is_empty(self) -> bool:
        """Is there no entry?"""
        await self._handover.home()
        return await super().is_empty()

    async def count(self) -> int:
        """How many entries there are, exactly: reads all keys."""
        return await self._handover.run(len, self._reader)

    def _scan(self, make: Callable[[], Scan[T]]) -> AsyncScan[T]:
        return _TxScan(self._handover, make)

    def cursor(
        self, *, start: Buffer | None = None, stop: Buffer | None = None, prefix: Buffer | None = None
    ) -> AsyncCursor:
        """A movable cursor over a range or a prefix, as of now."""
        return _TxCursor(self._handover, lambda: self._reader.cursor(start=start, stop=stop, prefix=prefix))


class _TxScan(AsyncScan[T]):
    """As of its creation; where a thread has the transaction then, as of its coming back."""

    def __init__(self, handover: Handover, make: Callable[[], Scan[T]]) -> None:
        self._bridge = handover
        self._handover = handover
        self._make = make
        self._made = handover.later(self._begin)

    def _begin(self) -> None:
        self._scan = self._make()

    async def _take_now(self, entries: int) -> tuple[list[T], bool]:
        await self._handover.home()
        self._made.get()
        return await super()._take_now(entries)


class _TxCursor(AsyncCursor):
    """As _TxScan."""

    def __init__(self, handover: Handover, make: Callable[[], Cursor]) -> None:
        self._bridge = handover
        self._handover = handover
        self._make = make
        self._made = handover.later(self._begin)

    def _begin(self) -> None:
        self._cursor = self._make()

    async def _move(self, move: Callable[[Cursor], bool]) -> bool:
        await self._handover.home()
        self._made.get()
        return await super()._move(move)

    def close(self) -> None:
        """Let go of what it holds. Closing twice is fine."""
        self._handover.later(super().close)
