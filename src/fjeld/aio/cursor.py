"""The movable cursor of an event loop."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from fjeld.aio.bridge import Runner
from fjeld.kernel.cursor import Cursor

if TYPE_CHECKING:
    from fjeld.kernel.core import Buffer

__all__ = ["AsyncCursor"]


class AsyncCursor:
    """`fjeld.kernel.cursor.Cursor` with movements to be awaited. An async context manager; one task at a time."""

    def __init__(self, bridge: Runner, cursor: Cursor) -> None:
        self._bridge = bridge
        self._cursor = cursor

    async def seek(self, key: Buffer) -> bool:
        """Stand on the first entry at or after key; whether there is one."""
        return await self._move(lambda cursor: cursor.seek(key))

    async def seek_for_prev(self, key: Buffer) -> bool:
        """Stand on the last entry at or before key; whether there is one."""
        return await self._move(lambda cursor: cursor.seek_for_prev(key))

    async def seek_first(self) -> bool:
        """Stand on the first entry of the range; whether there is one."""
        return await self._move(lambda cursor: cursor.seek_first())

    async def seek_last(self) -> bool:
        """Stand on the last entry of the range; whether there is one."""
        return await self._move(lambda cursor: cursor.seek_last())

    async def next(self) -> bool:
        """Go to the next entry; whether there is one."""
        return await self._move(lambda cursor: cursor.next())

    async def prev(self) -> bool:
        """Go to the entry before; whether there is one."""
        return await self._move(lambda cursor: cursor.prev())

    async def _move(self, move: Callable[[Cursor], bool]) -> bool:
        return await self._bridge.run(move, self._cursor)

    @property
    def valid(self) -> bool:
        """Does it stand on an entry?"""
        return self._cursor.valid

    @property
    def key(self) -> bytes:
        """The current key. Requires: valid."""
        return self._cursor.key

    @property
    def value(self) -> bytes:
        """The current value. Requires: valid."""
        return self._cursor.value

    def close(self) -> None:
        """Let go of what it holds. Closing twice is fine."""
        self._cursor.close()

    async def __aenter__(self) -> AsyncCursor:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
