"""Group commit between tasks: all who ask for durability while a sync goes on share the next one."""

from __future__ import annotations

import asyncio

from fjeld.aio.bridge import Bridge
from fjeld.keyspace import Keyspace
from fjeld.options import PersistMode

__all__ = ["SharedSync"]


class SharedSync:
    """Persists one keyspace for the tasks of one loop: a thousand of them need two syncs, not a thousand threads."""

    def __init__(self, bridge: Bridge, keyspace: Keyspace) -> None:
        self._bridge = bridge
        self._keyspace = keyspace
        self._running: dict[PersistMode, asyncio.Task[None]] = {}
        self._next: dict[PersistMode, asyncio.Task[None]] = {}

    async def persist(self, mode: PersistMode) -> None:
        """All writes so far are as durable as `mode` promises when this returns."""
        task = self._next.get(mode)
        if task is None:
            task = asyncio.create_task(self._persist(mode, self._running.get(mode)))
            self._next[mode] = task
        await asyncio.shield(task)  # a task that is cancelled stops waiting; the others go on

    async def _persist(self, mode: PersistMode, before: asyncio.Task[None] | None) -> None:
        """From its beginning on nobody joins: what is written later may miss it."""
        if before is not None:
            await asyncio.wait([before])
        self._running[mode] = self._next.pop(mode)
        try:
            await self._bridge.run(self._keyspace.persist, mode)
        finally:
            if self._running.get(mode) is asyncio.current_task():
                del self._running[mode]
