"""Iterating without waiting in the loop: entries come in chunks, from memory at once, else from a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from fjeld.aio.bridge import Runner
from fjeld.kernel.scan import Scan

__all__ = ["AsyncScan"]

T = TypeVar("T")

# What the loop makes at once is bounded: 256 entries take about 30 us. A thread may as well make more.
ENTRIES_NOW = 256
ENTRIES_BY_THREAD = 1024


class AsyncScan(Generic[T]):
    """Entries in order, as of its creation: `async for entry in scan`. One task, once; may be dropped half-way."""

    def __init__(self, bridge: Runner, scan: Scan[T]) -> None:
        self._bridge = bridge
        self._scan = scan

    async def chunks(self, entries: int = ENTRIES_BY_THREAD) -> AsyncIterator[list[T]]:
        """Lists of entries, up to so many each, none of them empty: less work for each entry than one by one."""
        ended = False
        while not ended:
            chunk, ended = await self._take_now(min(entries, ENTRIES_NOW))
            if not chunk and not ended:
                chunk, ended = await self._bridge.run(self._scan.take, entries)
            elif not ended:
                await asyncio.sleep(0)  # others have their turn, however much is in memory
            if chunk:
                yield chunk

    async def _take_now(self, entries: int) -> tuple[list[T], bool]:
        """What can be had at once, and whether it is the end."""
        return self._scan.take(entries, False)

    async def __aiter__(self) -> AsyncIterator[T]:
        async for chunk in self.chunks():
            for entry in chunk:
                yield entry

    async def to_list(self) -> list[T]:
        """All of them."""
        return [entry async for entry in self]
