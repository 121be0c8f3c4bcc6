"""Transactional keyspaces of an event loop: the same answers as beneath, and tasks that do not see each other's writes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fjeld
import fjeld.aio
from fjeld.transaction.backoff import Backoff
from tests.aio.loops import in_loop, threads_used
from tests.support import content_at

AnyKeyspace = fjeld.aio.AsyncTxKeyspace | fjeld.aio.AsyncOptimisticTxKeyspace
Opening = Callable[..., Any]
SYNC = fjeld.KeyspaceOptions(durability=fjeld.PersistMode.SYNC_DATA)
PAIRS = [(b"%06d" % number, b"v%d" % number * 20) for number in range(3000)]

both = pytest.mark.parametrize(
    "opening", [fjeld.aio.open_tx, fjeld.aio.open_optimistic_tx], ids=["single", "optimistic"]
)


def plus_one(before: bytes | None) -> bytes:
    return b"%d" % (int(before or 0) + 1)


@in_loop
@both
async def test_reads_own_writes_and_commits(opening: Opening, path: Path) -> None:
    async with opening(path) as ks:
        p = await ks.partition("p")
        await p.insert_many([(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"w", b"1")])
        async with ks.write_tx() as tx:
            t = await tx.partition("p")
            await t.insert(b"d", b"4")
            await t.remove(b"a")
            await t.remove_weak(b"w")
            await t.insert_many([(b"e", b"5"), (b"f", b"6")])
            assert await t.take(b"b") == b"2"
            assert await t.take(b"b") is None
            assert await t.fetch_update(b"c", plus_one) == b"3"
            assert await t.update_fetch(b"c", plus_one) == b"5"
            assert await t.update_fetch(b"f", lambda _: None) is None
            assert await t.get(b"a") is None
            assert await t.get(b"a", b"?") == b"?"
            assert await t.get_many([b"c", b"a", b"d"]) == [b"5", None, b"4"]
            assert await t.size_of(b"d") == 1
            assert await t.contains(b"e")
            assert await t.first() == (b"c", b"5")
            assert await t.last() == (b"e", b"5")
            assert await t.count() == 3
            assert not await t.is_empty()
            assert await t.keys().to_list() == [b"c", b"d", b"e"]
            assert await t.values(reverse=True).to_list() == [b"5", b"4", b"5"]
            assert await t.range(b"d").to_list() == [(b"d", b"4"), (b"e", b"5")]
            assert [key async for key in t] == [b"c", b"d", b"e"]
            async with t.cursor(prefix=b"") as cursor:
                assert await cursor.seek(b"d")
                assert (cursor.key, cursor.value) == (b"d", b"4")
                assert await cursor.next()
                assert not await cursor.next()
            assert t.name == "p"
            assert tx.is_open
            assert tx.writes
            assert await p.items().to_list() == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"w", b"1")]
        assert not tx.is_open
        assert await p.items().to_list() == [(b"c", b"5"), (b"d", b"4"), (b"e", b"5")]
        other = await ks.write_tx()
        await (await other.partition(p)).insert(b"g", b"7")
        await (await other.partition("new")).insert(b"k", b"v")
        await other.commit()
        third = await ks.write_tx()
        await (await third.partition("p")).insert(b"h", b"8")
        await third.rollback()
        with pytest.raises(RuntimeError, match="no"):
            async with ks.write_tx() as tx:
                await (await tx.partition("p")).insert(b"h", b"8")
                raise RuntimeError("no")
        async with ks.read_tx() as seen:
            await p.insert(b"later", b"1")
            assert await seen.partition("p").get(b"later") is None
    assert content_at(path) == {
        "new": {b"k": b"v"},
        "p": {b"c": b"5", b"d": b"4", b"e": b"5", b"g": b"7", b"later": b"1"},
    }


@in_loop
@both
async def test_savepoints(opening: Opening, path: Path) -> None:
    async with opening(path) as ks:
        async with ks.write_tx() as tx:
            p = await tx.partition("p")
            await p.insert(b"a", b"1")
            with pytest.raises(RuntimeError, match="back"):
                async with tx.savepoint():
                    await p.insert(b"b", b"2")
                    raise RuntimeError("back")
            point = await tx.savepoint()
            await p.insert(b"c", b"3")
            await point.rollback()
            assert point.is_active
            async with tx.savepoint():
                await p.insert(b"d", b"4")
            await point.release()
            await point.release()
            assert not point.is_active
            with pytest.raises(fjeld.MisuseError, match="savepoint"):
                await point.rollback()
        assert await (await ks.partition("p")).items().to_list() == [(b"a", b"1"), (b"d", b"4")]


@in_loop
@both
async def test_direct_writes_and_batches(opening: Opening, path: Path) -> None:
    async with opening(path) as ks:
        p = await ks.partition("p")
        await p.insert(b"a", b"1")
        assert await p.take(b"a") == b"1"
        assert await p.take(b"a") is None
        assert await p.fetch_update(b"n", plus_one) is None
        assert await p.update_fetch(b"n", plus_one) == b"2"
        async with ks.batch(durability=fjeld.PersistMode.SYNC_ALL) as batch:
            batch.insert(p, b"b", b"2")
            batch.remove_weak(p, b"n")
        await p.insert(b"c", b"3")
        await p.remove_weak(b"c")
        await p.remove(b"c")
        assert await p.items().to_list() == [(b"b", b"2")]
        large = ks.batch()
        for key, value in PAIRS * 2:
            large.insert(p, key, value)
        await large.commit()
        assert await p.count() == len(PAIRS) + 1
        q = await ks.partition("q")
        assert await q.ingest(iter(PAIRS)) == len(PAIRS)
        await p.clear()
        assert await p.is_empty()
        await ks.drop_partition("q")
        assert ks.partitions() == ["p"]
        with pytest.raises(ZeroDivisionError):
            await p.fetch_update(b"x", lambda _: b"%d" % (1 // 0))
        await p.insert(b"x", b"the turn was given back")


@in_loop
@both
async def test_from_tables_that_are_cold(
    opening: Opening, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening(path) as ks:
        await (await ks.partition("p")).insert_many(PAIRS)
        await ks.compact()
    for table in (path / "tables").iterdir():
        fd = os.open(table, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    async with opening(path, options=fjeld.KeyspaceOptions(cache_bytes=0)) as ks, ks.write_tx() as tx:
        p = await tx.partition("p")
        submitted = threads_used(ks, monkeypatch)
        scan = p.range(b"000100", b"000103")
        found = await asyncio.gather(*(p.get(key) for key, _ in PAIRS[:50]))
        assert submitted, "it was read by a thread"
        assert found == [value for _, value in PAIRS[:50]]
        await p.insert(b"000101", b"mine")
        assert [value for _, value in await scan.to_list()] == [value for _, value in PAIRS[100:103]]
        assert await p.fetch_update(PAIRS[2000][0], lambda _: b"new") == PAIRS[2000][1]
        assert await p.get_many([PAIRS[2000][0], PAIRS[2500][0]]) == [b"new", PAIRS[2500][1]]
        assert await p.items().to_list() == sorted(
            (dict(PAIRS) | {b"000101": b"mine", PAIRS[2000][0]: b"new"}).items()
        )
        async with p.cursor() as cursor:
            assert await cursor.seek(b"001500")
            assert cursor.value == PAIRS[1500][1]
        assert await p.last() == PAIRS[-1]
        assert await p.count() == len(PAIRS)


@in_loop
@both
async def test_what_is_in_memory_needs_no_thread(
    opening: Opening, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening(path) as ks:
        p = await ks.partition("p")
        submitted = threads_used(ks, monkeypatch)
        async with ks.write_tx() as tx:
            t = await tx.partition("p")
            await t.update_fetch(b"n", plus_one)
            await t.items().to_list()
        await p.update_fetch(b"n", plus_one)
        await p.insert(b"k", b"v")
        assert not submitted


@in_loop
@both
async def test_many_tasks_count(opening: Opening, path: Path) -> None:
    """Each increment happens once, whatever comes in between: reading and writing are apart."""
    async with opening(path, options=SYNC) as ks:

        async def increment(tx: fjeld.aio.AsyncTransaction) -> bytes:
            p = await tx.partition("p")
            before = await p.get(b"n")
            await asyncio.sleep(0)
            await p.insert(b"n", plus_one(before))
            return plus_one(before)

        found = await asyncio.gather(*(ks.transact(increment, retries=1000) for _ in range(60)))
        assert sorted(int(one) for one in found) == list(range(1, 61))
        p = await ks.partition("p")
        await asyncio.gather(*(p.update_fetch(b"n", plus_one) for _ in range(60)))
        assert await p.get(b"n") == b"120"
        assert ks.keyspace._engine.commit.persisted_seqno >= 120


@in_loop
async def test_optimistic_transactions_conflict_and_are_run_again(path: Path) -> None:
    async with fjeld.aio.open_optimistic_tx(path) as ks:
        pauses: list[int] = []

        def no_chance() -> float:
            pauses.append(1)
            return 0.0

        ks._backoff = Backoff(random=no_chance)
        p = await ks.partition("p")
        one, other = await ks.write_tx(), await ks.write_tx()
        await (await one.partition("p")).update_fetch(b"n", plus_one)
        await (await other.partition("p")).update_fetch(b"n", plus_one)
        await one.commit()
        with pytest.raises(fjeld.ConflictError):
            await other.commit()
        with pytest.raises(fjeld.ClosedError, match="commit failed"):
            await other.commit()
        runs = 0

        async def meddled(tx: fjeld.aio.AsyncTransaction) -> str:
            nonlocal runs
            runs += 1
            await (await tx.partition("p")).update_fetch(b"n", plus_one)
            if runs < 4:
                await p.insert(b"n", b"0")
            return "done"

        assert await ks.transact(meddled) == "done"
        assert (runs, len(pauses)) == (4, 3)
        runs = 0
        with pytest.raises(fjeld.ConflictError):
            await ks.transact(meddled, retries=2)
        assert runs == 3
        with pytest.raises(ValueError, match="negative"):
            await ks.transact(meddled, retries=-1)
        assert ks.keyspace._engine.figures().open_snapshots == 0


@in_loop
@both
async def test_durability_of_the_commit(
    opening: Opening, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks that commit durably at the same time share syncs."""
    modes: list[fjeld.PersistMode] = []
    persist = fjeld.Keyspace.persist

    def noted(self: fjeld.Keyspace, mode: fjeld.PersistMode) -> None:
        modes.append(mode)
        persist(self, mode)

    monkeypatch.setattr(fjeld.Keyspace, "persist", noted)
    async with opening(path) as ks:

        async def write(number: int, durability: fjeld.PersistMode | None) -> None:
            async with ks.write_tx(durability) as tx:
                await (await tx.partition("p")).insert(b"%d" % number, b"v")

        await write(0, None)
        assert not modes
        await asyncio.gather(*(write(number, fjeld.PersistMode.SYNC_ALL) for number in range(200)))
        assert 0 < len(modes) <= 20
        assert ks.keyspace._engine.commit.persisted_seqno >= 200
        async with ks.write_tx(fjeld.PersistMode.SYNC_ALL):
            del modes[:]
        assert not modes, "nothing was written"
        with pytest.raises(TypeError, match="PersistMode"):
            ks.write_tx("yes")


@in_loop
@both
async def test_wrong_use(opening: Opening, path: Path, tmp_path: Path) -> None:
    async with opening(path) as ks, opening(tmp_path / "other") as other:
        foreign = await other.partition("p")
        async with ks.write_tx() as tx:
            p = await tx.partition("p")
            with pytest.raises(TypeError, match="str"):
                await p.insert("text", b"v")
            with pytest.raises(TypeError, match="str"):
                await p.take("text")
            with pytest.raises(ValueError, match="another keyspace"):
                await tx.partition(foreign)
            with pytest.raises(TypeError, match="str"):
                await tx.partition(3)
            with pytest.raises(TypeError):
                await p.insert_many([(b"k", b"v"), (b"k", None)])
            assert tx.writes == 0
            await tx.commit()
            with pytest.raises(fjeld.ClosedError, match="committed"):
                await p.get(b"k")
        for use in (tx.commit, tx.rollback, lambda: tx.partition("p"), lambda: p.insert(b"k", b"v")):
            with pytest.raises(fjeld.ClosedError):
                await use()
        with pytest.raises(fjeld.ClosedError):
            p.items()
        left = await ks.write_tx()
        p = await left.partition("p")
        await p.insert(b"k", b"v")
    with pytest.raises(fjeld.ClosedError):
        await left.commit()
    with pytest.raises(fjeld.ClosedError):
        await ks.write_tx()
    with pytest.raises(fjeld.ClosedError):
        await p.get(b"k")
    assert content_at(path) == {"p": {}}


@in_loop
@both
async def test_backups_hold_what_was_committed(opening: Opening, path: Path, tmp_path: Path) -> None:
    async with opening(path) as ks:
        await (await ks.partition("p")).insert(b"k", b"v")
        async with ks.write_tx() as tx:
            await (await tx.partition("p")).insert(b"open", b"v")
            await ks.backup_to(tmp_path / "backup")
            await ks.export_to(tmp_path / "export")
            digest = await ks.digest()
    assert content_at(tmp_path / "backup") == {"p": {b"k": b"v"}}
    await asyncio.to_thread(fjeld.import_from, tmp_path / "export", tmp_path / "new")
    async with opening(tmp_path / "new", create=False) as new:
        assert await new.digest() == digest
