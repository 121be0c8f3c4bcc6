"""The turn (`kernel.turn`) among the tasks of one loop.

Tasks wait for each other here, in the order in which they came, without a thread. Who has the loop's turn goes for
that of the keyspace: at once where it is free, else by a thread, the only one that waits for other threads' turns. So
as many tasks as there are may wait, and the threads of the bridge stay free for the one that has the turn: for its cold
reads and its commit.

Invariants:
  1. Whoever waits for the keyspace's turn in a thread has the loop's turn, until that thread has come to its end, also
     where the task was cancelled.
  2. It is given back once for each time that it was taken: by the lease, at the latest when nobody holds that any more.

Considered and left: a callback of the kernel's turn at each giving back, which needs no thread for waiting at all, but
costs every write of every thread a look; a thread for each task that waits, of which a few make the bridge stand still.
"""

from __future__ import annotations

import asyncio
import weakref

from fjeld.aio.bridge import call_in_loop
from fjeld.errors import MisuseError

__all__ = ["Lease", "LoopTurn"]


class LoopTurn:
    """See the module. For the tasks of one loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._number = 0
        self._had = False
        self._task: weakref.ref[asyncio.Task[object]] | None = None

    def check(self) -> None:
        """MisuseError where this task has the turn: to wait for it would be to wait for ever."""
        if self._task is not None and self._task() is asyncio.current_task():
            raise MisuseError(
                "this task has a write transaction open: write through it, or commit or roll it back first"
            )

    async def take(self) -> Lease:
        """Wait for the loop's turn, after all who came before."""
        self.check()
        await self._lock.acquire()
        self._number += 1
        self._had = True
        lease = Lease(self, self._number, asyncio.get_running_loop())
        lease.follow()
        return lease

    def follow(self, number: int) -> None:
        """The task that has the turn is the current one."""
        task = asyncio.current_task()
        if self._had and self._number == number and task is not None:
            self._task = weakref.ref(task)

    def give(self, number: int) -> None:
        """Give it back; nothing where it was given back already. In the loop."""
        if self._had and self._number == number:
            self._had = False
            self._task = None
            self._lock.release()

    def take_away(self) -> None:
        """The keyspace was closed: an open transaction loses the turn, so that those who wait learn of it."""
        self.give(self._number)


class Lease:
    """Having the loop's turn, until `give`; or until nobody holds it any more."""

    __slots__ = ("_loop", "_number", "_turn")

    def __init__(self, turn: LoopTurn, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._turn: LoopTurn | None = turn
        self._number = number
        self._loop = loop

    def follow(self) -> None:
        """It is the current task that has it: another than the one that has taken it, perhaps."""
        if self._turn is not None:
            self._turn.follow(self._number)

    def give(self) -> None:
        """Give it back, in the loop. Twice is fine."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.give(self._number)

    def give_from_any_thread(self) -> None:
        """As `give`, soon."""
        turn, self._turn = self._turn, None
        if turn is not None:
            number = self._number
            call_in_loop(self._loop, lambda: turn.give(number))

    def __del__(self) -> None:
        self.give_from_any_thread()
