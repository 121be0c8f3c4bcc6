"""A keyspace that is only read, from an event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import fjeld
import fjeld.aio
from tests.aio.loops import in_loop
from tests.support import TIMEOUT_SECONDS


@in_loop
async def test_reads_one_moment_until_it_is_refreshed(path: Path) -> None:
    async with fjeld.aio.open(path) as owner:
        p = await owner.partition("p")
        await p.insert(b"a", b"1")
        async with fjeld.aio.open_readonly(path) as ks:
            seen = await ks.partition("p")
            assert (seen.name, seen.options) == ("p", p.options)
            await p.insert(b"b", b"2")
            assert await seen.items().to_list() == [(b"a", b"1")]
            assert await seen.get(b"a") == b"1"
            assert await seen.approximate_len() == 1
            assert await seen.disk_space() == 0
            assert (await seen.stats())["name"] == "p"
            async with ks.snapshot() as snapshot:
                await ks.refresh()
                assert await seen.keys().to_list() == [b"a", b"b"]
                assert await snapshot.partition("p").keys().to_list() == [b"a"]
                assert await ks.digest(snapshot=snapshot) != await ks.digest() == await owner.digest()
            assert (ks.id, ks.seqno, ks.path, ks.parent) == (owner.id, owner.seqno, owner.path, None)
            assert ks.partitions() == ["p"]
            assert (await ks.stats())["id"] == ks.id
            with pytest.raises(KeyError):
                await ks.partition("other")
            assert not hasattr(seen, "insert")
        with pytest.raises(fjeld.ClosedError):
            await seen.get(b"a")
        with pytest.raises(fjeld.ClosedError):
            await ks.refresh()
        await ks.close()
    with pytest.raises(fjeld.NotAKeyspaceError):
        await fjeld.aio.open_readonly(path / "none")


@in_loop
async def test_a_refresh_does_not_hold_the_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it goes on, what is shown is read, and a snapshot waits; cancelled, it leaves none open."""
    fjeld.open(path).close()
    async with fjeld.aio.open(path) as owner, fjeld.aio.open_readonly(path) as ks:
        await (await owner.partition("p")).insert(b"a", b"1")
        await ks.refresh()
        seen = await ks.partition("p")
        began, go_on = threading.Event(), threading.Event()
        reading = type(ks.keyspace._reading)
        read = reading._read

        def slow(self: Any, reuse: Any) -> Any:
            began.set()
            assert go_on.wait(TIMEOUT_SECONDS)
            return read(self, reuse)

        monkeypatch.setattr(reading, "_read", slow)
        refreshing = asyncio.create_task(ks.refresh())
        await asyncio.to_thread(began.wait)
        taking = asyncio.ensure_future(ks.snapshot())
        await asyncio.sleep(0)
        assert await seen.get(b"a") == b"1"
        assert await seen.items().to_list() == [(b"a", b"1")]
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        refreshing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refreshing
        go_on.set()
        async with ks.snapshot() as snapshot:
            assert await snapshot.partition("p").get(b"a") == b"1"
