"""Lending a transaction of the loop to the threads of the bridge.

A transaction is for one thread (`kernel.own_writes`): the loop's. What may wait, a cold read or a commit, is done by a
thread of the bridge, which adopts it and hands it back before it ends. Meanwhile nobody in the loop touches it: other
tasks that use the same transaction wait, in order.

Invariants:
  1. The lock is had by the task that lends the transaction until the thread has come to its end, also where the task
     was cancelled. So where nobody has the lock, the transaction is at home.
  2. What was put off by `later` is done when it comes home, before anything that is called afterwards.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

from fjeld.aio.bridge import Bridge
from fjeld.aio.loop_turn import Lease
from fjeld.errors import MisuseError
from fjeld.transaction.transaction import Transaction

__all__ = ["Handover", "Later"]

P = ParamSpec("P")
T = TypeVar("T")


class Later(Generic[T]):
    """What a function will have returned or raised when the transaction is at home."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function: Callable[[], T] | None = function
        self._error: BaseException | None = None
        self._value: T

    def run(self) -> None:
        function, self._function = self._function, None
        assert function is not None
        try:
            self._value = function()
        except BaseException as error:
            self._error = error

    def get(self) -> T:
        """Requires: the transaction is or was at home since this was made."""
        assert self._function is None
        if self._error is not None:
            raise self._error
        return self._value


class Handover:
    """One open transaction; all that uses it in the loop holds this. `async with` is for several steps that belong
    together.
    """

    def __init__(self, bridge: Bridge, transaction: Transaction, lease: Lease | None) -> None:
        self.transaction = transaction
        self.lease = lease
        """The loop's turn: of a single writer to the end, of an optimistic one while it commits."""
        self._bridge = bridge
        self._thread = threading.get_ident()
        self._lock = asyncio.Lock()
        self._is_away = False
        self._left = False
        self._put_off: list[Later[object]] = []

    def enter(self) -> bool:
        """May the current task use it in the loop, up to its next await? Else: `await home()`. MisuseError in another
        loop.
        """
        if threading.get_ident() != self._thread:
            raise MisuseError("this transaction was begun in another event loop: begin one in each")
        if self.lease is not None:
            self.lease.follow()
        return not self._lock.locked()

    async def home(self) -> None:
        """Wait until it is at home; afterwards the task may use it up to its next await."""
        if not self.enter():
            async with self._lock:
                pass

    def later(self, function: Callable[[], T]) -> Later[T]:
        """Do something in the loop that needs it at home: now, if it is there, where what is raised is raised here;
        else when it comes.
        """
        one = Later(function)
        if self._is_away:
            self._put_off.append(one)  # type: ignore[arg-type] # what it returns is of no interest
        else:
            one.run()
            one.get()
        return one

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function of the transaction returns or raises, from a thread of the bridge."""
        async with self:
            return await self.lend(function, *args, **kwargs)

    async def lend(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`. Requires: `async with`."""
        self._is_away = True
        return await self._bridge.run_then(
            self._come_home, _lent, self.transaction, self._thread, function, args, kwargs
        )

    def _come_home(self) -> None:
        self._is_away = False
        put_off, self._put_off = self._put_off, []
        for one in put_off:
            one.run()
        self.settle()
        if self._left:
            self._left = False
            self._lock.release()

    async def __aenter__(self) -> Handover:
        self.enter()
        await self._lock.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_away:  # cancelled: the thread goes on
            self._left = True
        else:
            self._lock.release()

    # ---- the end ----

    def end(self) -> None:
        """Roll back where it has not ended, now or as soon as it is at home."""
        self.later(self._roll_back)

    def _roll_back(self) -> None:
        if self.transaction.is_open:
            self.transaction.rollback()
        self.settle()

    def settle(self) -> None:
        """Where the transaction has ended, others have their turn."""
        if self.lease is not None and not self.transaction.is_open:
            self.lease.give()
            self.lease = None


def _lent(
    transaction: Transaction,
    home: int,
    function: Callable[..., T],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> T:
    """In a thread. It hands back before it ends, and may then do other work, which the transaction is nothing to."""
    transaction.adopt()
    try:
        return function(*args, **kwargs)
    finally:
        transaction.hand_to(home)
