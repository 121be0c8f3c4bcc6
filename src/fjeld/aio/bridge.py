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
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

__all__ = ["Bridge", "Pending"]

P = ParamSpec("P")
T = TypeVar("T")


class Bridge:
    """Owns the threads that wait for one keyspace. For tasks of any number of loops, each in its own thread."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fjeld-aio")

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises, from a thread."""
        return await asyncio.wrap_future(self._pool.submit(function, *args, **kwargs))

    async def open(
        self, function: Callable[P, T], close: Callable[[T], object], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `run`, for what has to be closed: where nobody waits for it any more, it is."""
        running = self._pool.submit(function, *args, **kwargs)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            running.add_done_callback(lambda done: _close(done, close))
            raise

    async def stoppable(self, function: Callable[[], T], stop: Callable[[], object]) -> T:
        """As `run`, for what can be told to stop: the cancelled task waits until it has."""
        running = asyncio.wrap_future(self._pool.submit(function))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop()
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # it was looked at: nobody else will
            raise

    async def finish(self, function: Callable[[], object]) -> None:
        """The last call, by a thread of its own: all others may be waiting for what it ends."""
        last = ThreadPoolExecutor(1, thread_name_prefix="fjeld-aio-close")
        running = asyncio.wrap_future(last.submit(function))
        last.shutdown(wait=False)
        self.close()
        await asyncio.shield(running)

    def close(self) -> None:
        """No more calls; those that run come to their end."""
        self._pool.shutdown(wait=False)


def _close(done: Future[T], close: Callable[[T], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        close(done.result())


class Closable(Protocol):
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
