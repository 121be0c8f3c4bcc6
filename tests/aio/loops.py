"""What the tests of `fjeld.aio` share: a loop for a test, waiting in it, which calls were handed to threads."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import fjeld.aio


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in a loop of its own; one that hangs fails."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(60):
                await test(*args, **kwargs)

        asyncio.run(limited())

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    while not condition():
        await asyncio.sleep(0.001)


def threads_used(ks: fjeld.aio.AsyncKeyspace, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From here on: what was handed to a thread."""
    submitted: list[str] = []
    submit = ks._bridge._pool.submit

    def noted(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        submitted.append(getattr(function, "__name__", str(function)))
        return submit(function, *args, **kwargs)

    monkeypatch.setattr(ks._bridge._pool, "submit", noted)
    return submitted
