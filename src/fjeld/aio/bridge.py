"""The bridge between an event loop and a store whose calls may wait.

What can be had from memory is done at once, in the loop: handing a call to a thread and its result back takes
tens of microseconds, a look-up in memory less than one. What has to wait, for the disk, for room or for a lock, is
done by a thread of the bridge.

A task that is cancelled while a thread works for it stops waiting; the thread comes to its end all the same,
so that a write is whole or not at all. What it opened, and nobody waits for any more, is closed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from fjeld.errors import ClosedError

__all__ = ["Bridge", "Closable", "Pending", "Runner", "call_in_loop"]

P = ParamSpec("P")
T = TypeVar("T")


class Runner(Protocol):
    """What runs calls that may wait."""

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


class Bridge:
    """Owns the threads that wait for one keyspace. For tasks of any number of loops, each in its own thread."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fjeld-aio")
        self._closed = False

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand a call to a thread, when one is free."""
        if self._closed:
            raise ClosedError("the keyspace was closed: open it again")
        return self._pool.submit(function, *args, **kwargs)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises, from a thread."""
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    async def run_then(
        self, then: Callable[[], object], function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `run`. When the thread has come to its end, or none was to be had, then() is called in the loop: before
        the task goes on, and also where it was cancelled.
        """
        loop = asyncio.get_running_loop()
        try:
            running = self.submit(function, *args, **kwargs)
        except BaseException:
            then()
            raise
        running.add_done_callback(lambda _: call_in_loop(loop, then))
        return await asyncio.wrap_future(running)

    async def run_apart(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, by a thread of its own: for what may wait for other calls."""
        return await asyncio.wrap_future(_thread_of_its_own(function, *args, **kwargs))

    async def open(
        self, function: Callable[P, T], close: Callable[[T], object], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `run`, for what has to be closed: where nobody waits for it any more, it is."""
        running = self.submit(function, *args, **kwargs)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            running.add_done_callback(lambda done: _close(done, close))
            raise

    async def stoppable(self, function: Callable[[], T], stop: Callable[[], object]) -> T:
        """As `run`, for what can be told to stop: the cancelled task waits until it has."""
        running = asyncio.wrap_future(self.submit(function))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop()
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # it was looked at: nobody else will
            raise

    async def finish(self, function: Callable[[], object], then: Callable[[], object] | None = None) -> None:
        """The last call, by a thread of its own: all others may be waiting for what it ends. then() is called in the
        loop afterwards, also where the task was cancelled.
        """
        last = _thread_of_its_own(function)
        if then is not None:
            loop = asyncio.get_running_loop()
            last.add_done_callback(lambda _: call_in_loop(loop, then))
        running = asyncio.wrap_future(last)
        self.close()
        await asyncio.shield(running)

    def close(self) -> None:
        """No more calls; those that run come to their end."""
        self._closed = True
        self._pool.shutdown(wait=False)


def _thread_of_its_own(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="fjeld-aio-apart")
    running = pool.submit(function, *args, **kwargs)
    pool.shutdown(wait=False)
    return running


def call_in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    """Call it in the loop, soon; from any thread. Where the loop has ended, nobody is left who needs it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)


def _close(done: Future[T], close: Callable[[T], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        close(done.result())


class Closable(Protocol):
    """What `async with` opens and closes."""

    async def __aenter__(self) -> Any: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> object: ...


C = TypeVar("C", bound=Closable)


class Pending(Generic[C]):
    """Something that is being opened: `await` it, or open and close it with `async with`. Once."""

    def __init__(self, opened: Callable[[], Awaitable[C]]) -> None:
        self._make = opened
        self._opened: C | None = None

    def __await__(self) -> Generator[Any, None, C]:
        return self._make().__await__()

    async def __aenter__(self) -> C:
        opened = await self._make()
        self._opened = opened
        entered: C = await opened.__aenter__()
        return entered

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._opened is not None
        await self._opened.__aexit__(kind, error, trace)
