"""The turn among tasks and threads: nobody holds up the loop, who is cancelled leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fjeld
import fjeld.aio
from tests.aio.loops import in_loop, threads_used, until
from tests.support import TIMEOUT_SECONDS, Task, content_at

Opening = Callable[..., Any]

both = pytest.mark.parametrize(
    "opening", [fjeld.aio.open_tx, fjeld.aio.open_optimistic_tx], ids=["single", "optimistic"]
)


def plus_one(before: bytes | None) -> bytes:
    return b"%d" % (int(before or 0) + 1)


@contextmanager
def foreign_turn(ks: Any) -> Iterator[Callable[[], None]]:
    """Another thread has the turn until the function is called that this gives."""
    began, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with ks.keyspace.hold_turn():
            began.set()
            assert go_on.wait(TIMEOUT_SECONDS)

    task = Task(hold)
    assert began.wait(TIMEOUT_SECONDS)
    try:
        yield go_on.set
    finally:
        go_on.set()
        task.result()


async def turn_the_loop() -> None:
    """Every task that can go on has done so."""
    for _ in range(20):
        await asyncio.sleep(0)


@in_loop
@both
async def test_the_loop_goes_on_while_a_foreign_thread_has_the_turn(
    opening: Opening, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening(path, threads=2) as ks:
        p, q = await ks.partition("p"), await ks.partition("q")
        await p.insert(b"k", b"v")

        async def in_transaction(number: int) -> None:
            async with ks.write_tx() as tx:
                await (await tx.partition("p")).insert(b"tx%d" % number, b"v")

        with foreign_turn(ks) as let_go:
            submitted = threads_used(ks, monkeypatch)
            batch = ks.batch()
            batch.insert(p, b"batch", b"v")
            waiting = [
                asyncio.create_task(work)
                for work in (
                    q.clear(),
                    in_transaction(0),
                    p.insert(b"one", b"v"),
                    p.insert_many([(b"many", b"v")]),
                    p.remove(b"k"),
                    batch.commit(),
                    p.update_fetch(b"n", plus_one),
                    ks.drop_partition("q"),
                    in_transaction(1),
                )
            ]
            await turn_the_loop()
            assert not any(task.done() for task in waiting)
            assert len(submitted) == 1, "one thread waits for all of them"
            assert await p.items().to_list() == [(b"k", b"v")]
            assert await ks.digest()
            let_go()
            await asyncio.gather(*waiting)
        assert await p.keys().to_list() == [b"batch", b"many", b"n", b"one", b"tx0", b"tx1"]
        assert ks.partitions() == ["p"]


@in_loop
async def test_tasks_wait_in_order_and_the_holder_has_the_threads(path: Path) -> None:
    """With one thread only: whoever waits for a transaction of the loop needs none."""
    async with fjeld.aio.open_tx(path, threads=1) as ks:
        p = await ks.partition("p")
        order: list[int] = []

        async def write(number: int) -> None:
            async with ks.write_tx() as tx:
                order.append(number)
                await (await tx.partition("p")).insert(b"%d" % number, b"v")

        async with ks.write_tx() as tx:
            t = await tx.partition("p")
            writers = [asyncio.create_task(write(number)) for number in range(10)]
            single = asyncio.create_task(p.insert(b"single", b"v"))
            clearing = asyncio.create_task((await ks.partition("q")).clear())
            ingesting = asyncio.create_task((await ks.partition("r")).ingest(iter([(b"k", b"v")])))
            await turn_the_loop()
            assert await t.count() == 0, "by a thread"
            await t.insert_many([(b"mine%d" % number, b"v") for number in range(5000)])
        await asyncio.gather(*writers, single, clearing, ingesting)
        assert order == list(range(10))
        assert await p.count() == 5011


@in_loop
@both
async def test_cancelled_while_it_waits_for_the_turn(opening: Opening, path: Path) -> None:
    async with opening(path) as ks:
        p = await ks.partition("p")

        async def write() -> None:
            async with ks.write_tx() as tx:
                await (await tx.partition("p")).insert(b"tx", b"v")

        def started() -> list[asyncio.Task[Any]]:
            return [
                asyncio.create_task(work)
                for work in (p.update_fetch(b"n", plus_one), write(), p.take(b"n"), p.insert(b"late", b"v"))
            ]

        with foreign_turn(ks) as let_go:
            cancelled = started()
            await turn_the_loop()
            for task in cancelled:
                task.cancel()
            outcomes = await asyncio.gather(*cancelled, return_exceptions=True)
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
            others = started()
            await turn_the_loop()
            let_go()
            await asyncio.gather(*others)
        assert await p.items().to_list() == [(b"late", b"v"), (b"tx", b"v")]
        assert ks.keyspace._engine.figures().open_snapshots == 0


@in_loop
@both
async def test_cancelled_in_the_middle(opening: Opening, path: Path) -> None:
    """Between calls, and while a thread works for it: rolled back, and the turn is given back."""
    async with opening(path) as ks:
        p = await ks.partition("p")
        for by_thread in (False, True):
            began, go_on = threading.Event(), threading.Event()
            inside = asyncio.Event()

            def slow(began: threading.Event = began, go_on: threading.Event = go_on) -> None:
                began.set()
                assert go_on.wait(TIMEOUT_SECONDS)

            async def write(
                by_thread: bool = by_thread,
                inside: asyncio.Event = inside,
                slow: Callable[[], None] = slow,
            ) -> None:
                async with ks.write_tx() as tx:
                    await (await tx.partition("p")).insert(b"never", b"v")
                    inside.set()
                    if by_thread:
                        await tx._handover.run(slow)
                    await asyncio.Event().wait()

            task = asyncio.create_task(write())
            await inside.wait()
            if by_thread:
                await asyncio.to_thread(began.wait)
            task.cancel()
            await turn_the_loop()
            assert task.done() is not by_thread, "it waits for the thread"
            task.cancel()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with ks.write_tx() as tx:
                await (await tx.partition("p")).update_fetch(b"n", plus_one)
        assert await p.items().to_list() == [(b"n", b"2")]
        await until(lambda: ks.keyspace._engine.figures().open_snapshots == 0)


@in_loop
@both
@pytest.mark.parametrize("begun", [True, False])
async def test_cancelled_during_the_commit(
    opening: Opening, path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """All of it where a thread has begun, else nothing; in both the turn is given back."""
    began, go_on = threading.Event(), threading.Event()
    commit = fjeld.Transaction.commit

    def slow(self: fjeld.Transaction) -> None:
        began.set()
        assert go_on.wait(TIMEOUT_SECONDS)
        commit(self)

    monkeypatch.setattr(fjeld.Transaction, "commit", slow)
    async with opening(path, threads=1) as ks:
        p = await ks.partition("p")
        pairs = [(b"%05d" % number, b"v") for number in range(5000)]

        async def write() -> None:
            async with ks.write_tx() as tx:
                await (await tx.partition("p")).insert_many(pairs)

        busy = None
        if not begun:
            busy = asyncio.create_task(ks._bridge.run(lambda: go_on.wait(TIMEOUT_SECONDS)))
        task = asyncio.create_task(write())
        if begun:
            await asyncio.to_thread(began.wait)
        await turn_the_loop()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        later = asyncio.create_task(p.insert(b"later", b"v"))
        go_on.set()
        if busy is not None:
            await busy
        await later
        async with ks.write_tx() as tx:
            await (await tx.partition("p")).insert(b"last", b"v")
        await until(lambda: ks.keyspace._engine.figures().open_snapshots == 0)
        assert await p.count() == (5002 if begun else 2)


@in_loop
async def test_one_that_nobody_holds_gives_the_turn_back(path: Path) -> None:
    async with fjeld.aio.open_tx(path) as ks:
        tx = await ks.write_tx()
        p = await tx.partition("p")
        await p.insert(b"k", b"v")

        async def write() -> None:
            async with ks.write_tx() as other:
                await (await other.partition("p")).insert(b"other", b"v")

        task = asyncio.create_task(write())
        await turn_the_loop()
        del tx
        await turn_the_loop()
        assert not task.done(), "the partition is of it"
        del p
        gc.collect()
        await task
        assert await (await ks.partition("p")).keys().to_list() == [b"other"]


@in_loop
async def test_writing_past_ones_own_transaction_is_an_error(path: Path) -> None:
    async with fjeld.aio.open_tx(path) as ks:
        p = await ks.partition("p")
        batch = ks.batch()
        batch.insert(p, b"k", b"v")
        async with ks.write_tx() as tx:
            for use in (
                lambda: p.insert(b"k", b"v"),
                lambda: p.take(b"k"),
                lambda: p.ingest([(b"k", b"v")]),
                lambda: p.ingest(pairs()),
                p.clear,
                batch.commit,
                lambda: ks.drop_partition("p"),
                ks.write_tx,
            ):
                with pytest.raises(fjeld.MisuseError, match="open"):
                    await use()
            with pytest.raises(fjeld.MisuseError, match="open"):
                ks.keyspace.partition("p").insert(b"k", b"v")
            await (await tx.partition("p")).insert(b"mine", b"v")
        await batch.commit()
        assert await p.keys().to_list() == [b"k", b"mine"]


@in_loop
@both
async def test_tasks_that_use_one_transaction_come_one_after_the_other(opening: Opening, path: Path) -> None:
    async with opening(path) as ks:
        async with ks.write_tx() as tx:
            p = await tx.partition("p")
            await p.insert(b"a", b"1")
            began, go_on = threading.Event(), threading.Event()

            def slow() -> int:
                began.set()
                assert go_on.wait(TIMEOUT_SECONDS)
                return p._reader.transaction.writes  # type: ignore[attr-defined, no-any-return]

            first = asyncio.create_task(tx._handover.run(slow))
            await asyncio.to_thread(began.wait)
            scan, cursor = p.keys(), p.cursor()
            bad = p.range(b"a", "text")  # type: ignore[arg-type]
            point = asyncio.create_task(made_savepoint(tx))
            others = [
                asyncio.create_task(p.insert(b"b", b"2")),
                asyncio.create_task(p.update_fetch(b"n", plus_one)),  # type: ignore[arg-type]
                asyncio.create_task(p.update_fetch(b"n", plus_one)),  # type: ignore[arg-type]
                asyncio.create_task(tx.partition("q")),  # type: ignore[arg-type]
            ]
            await turn_the_loop()
            assert not any(task.done() for task in others)
            go_on.set()
            assert await first == 1
            await asyncio.gather(*others)
            assert await scan.to_list() == [b"a"], "as of when it was made"
            assert await cursor.seek_last()
            assert cursor.key == b"a"
            with pytest.raises(TypeError):
                await bad.to_list()
            assert (await point).is_active
            assert await p.items().to_list() == [(b"a", b"1"), (b"b", b"2"), (b"n", b"2")]
            cursor.close()
        assert await (await ks.partition("p")).get(b"n") == b"2"


@in_loop
@both
async def test_a_transaction_is_for_one_loop(opening: Opening, path: Path) -> None:
    async with opening(path) as ks, ks.write_tx() as tx:
        p = await tx.partition("p")
        for use in (
            lambda: p.get(b"k"),
            lambda: p.insert(b"k", b"v"),
            p.count,
            tx.commit,
            lambda: p.take(b"k"),
        ):
            with pytest.raises(fjeld.MisuseError, match="loop"):
                await asyncio.to_thread(lambda use=use: asyncio.run(in_task(use)))
        await p.insert(b"k", b"v")
        assert tx.is_open


async def in_task(use: Callable[[], Any]) -> None:
    await use()


async def pairs() -> AsyncIterator[tuple[bytes, bytes]]:
    yield b"k", b"v"


async def made_savepoint(tx: fjeld.aio.AsyncTransaction) -> fjeld.aio.AsyncSavepoint:
    return await tx.savepoint()


@in_loop
async def test_closing_ends_what_waits_for_the_turn(path: Path) -> None:
    ks = await fjeld.aio.open_tx(path)
    p = await ks.partition("p")
    tx = await ks.write_tx()
    t = await tx.partition("p")
    await t.insert(b"k", b"v")

    async def write() -> None:
        async with ks.write_tx() as other:
            await (await other.partition("p")).insert(b"other", b"v")

    waiting = [asyncio.create_task(work) for work in (write(), p.insert(b"k", b"v"), p.take(b"k"), write())]
    await turn_the_loop()
    await ks.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, fjeld.ClosedError) for outcome in outcomes), outcomes
    with pytest.raises(fjeld.ClosedError):
        await tx.commit()
    assert content_at(path) == {"p": {}}


@in_loop
@both
async def test_tasks_and_threads_count_together(opening: Opening, path: Path) -> None:
    async with opening(path, threads=2) as ks:
        p = await ks.partition("p")

        async def increment(tx: fjeld.aio.AsyncTransaction) -> None:
            t = await tx.partition("p")
            before = await t.get(b"n")
            await asyncio.sleep(0)
            await t.insert(b"n", plus_one(before))

        def beside() -> None:
            direct = ks.keyspace.partition("p")
            for _ in range(30):
                direct.update_fetch(b"n", plus_one)
                ks.keyspace.transact(lambda tx: tx.partition("p").update_fetch(b"n", plus_one), retries=1000)

        threads = [Task(beside) for _ in range(2)]
        await asyncio.gather(
            *(ks.transact(increment, retries=1000) for _ in range(30)),
            *(p.update_fetch(b"n", plus_one) for _ in range(30)),
        )
        for thread in threads:
            await asyncio.to_thread(thread.result)
        assert await p.get(b"n") == b"180"
