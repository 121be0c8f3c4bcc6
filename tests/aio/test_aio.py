"""The keyspace of an event loop gives the same answers as the one beneath, and never blocks the loop."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import fjeld
import fjeld.aio
from fjeld.kernel import files
from tests.aio.loops import in_loop, threads_used, until
from tests.support import Gate, content_at, leftovers

SYNC = fjeld.KeyspaceOptions(durability=fjeld.PersistMode.SYNC_DATA)
PAIRS = [(b"%06d" % number, b"v%d" % number * 20) for number in range(3000)]


@in_loop
async def test_reads_and_writes(path: Path) -> None:
    async with fjeld.aio.open(path) as ks:
        users = await ks.partition("users")
        await users.insert(b"alice", b"1")
        await users.insert(b"bob", b"22")
        await users.insert_many([(b"carol", b"333"), (b"dave", b"4444")])
        assert await users.get(b"alice") == b"1"
        assert await users.get(b"nobody") is None
        assert await users.get(b"nobody", b"?") == b"?"
        assert await users.size_of(b"dave") == 4
        assert await users.size_of(b"nobody") is None
        assert await users.contains(b"bob")
        assert not await users.contains(b"nobody")
        assert await users.get_many([b"bob", b"x", b"alice"]) == [b"22", None, b"1"]
        await users.remove(b"bob")
        await users.remove_weak(b"carol")
        assert await users.keys().to_list() == [b"alice", b"dave"]
        assert await users.values(reverse=True).to_list() == [b"4444", b"1"]
        assert [entry async for entry in users.items()] == [(b"alice", b"1"), (b"dave", b"4444")]
        assert [key async for key in users] == [b"alice", b"dave"]
        assert await users.first() == (b"alice", b"1")
        assert await users.last() == (b"dave", b"4444")
        assert not await users.is_empty()
        assert await users.count() == 2
        assert users.approximate_len() >= 0
        assert users.name == "users"
        assert ks.partitions() == ["users"]
        assert (await users.stats())["name"] == "users"
        await users.clear()
        assert await users.is_empty()
        assert await users.first() is None
        await ks.drop_partition("users")
        with pytest.raises(KeyError):
            await ks.partition("users", create=False)
        with pytest.raises(KeyError):
            await ks.drop_partition("users")


@in_loop
async def test_awaited_or_entered(path: Path) -> None:
    ks = await fjeld.aio.open(path, create=True)
    await (await ks.partition("p")).insert(b"k", b"v")
    await ks.close()
    await ks.close()
    with pytest.raises(fjeld.ClosedError):
        await ks.partition("p")
    async with fjeld.aio.open(path, create=False) as again:
        assert again.path == path.absolute()
        assert await (await again.partition("p")).get(b"k") == b"v"
        with pytest.raises(fjeld.LockedError):
            await fjeld.aio.open(path)
    with pytest.raises(FileExistsError):
        await fjeld.aio.open(path, error_if_exists=True)
    with pytest.raises(fjeld.NotAKeyspaceError):
        await fjeld.aio.open(path / "other", create=False)


@in_loop
@pytest.mark.parametrize("where", ["memory", "tables", "cold tables"])
async def test_scans(path: Path, where: str) -> None:
    options = fjeld.KeyspaceOptions(cache_bytes=0 if where == "cold tables" else 1 << 20)
    async with fjeld.aio.open(path, options=options) as ks:
        p = await ks.partition("p")
        await p.insert_many(PAIRS)
        if where != "memory":
            await ks.compact()
        assert await p.items().to_list() == PAIRS
        assert await p.items(reverse=True).to_list() == PAIRS[::-1]
        assert await p.range(b"000010", b"000020").to_list() == PAIRS[10:20]
        assert (
            await p.range(b"000010", b"000020", include_start=False, include_stop=True).to_list()
            == PAIRS[11:21]
        )
        assert await p.range(b"000010", b"000020", reverse=True).to_list() == PAIRS[10:20][::-1]
        assert await p.prefix(b"0007").to_list() == PAIRS[700:800]
        chunks = [chunk async for chunk in p.items().chunks(100)]
        assert all(0 < len(chunk) <= 100 for chunk in chunks)
        assert [entry for chunk in chunks for entry in chunk] == PAIRS
        scan = p.items()
        await p.insert(b"000000", b"changed")
        assert await scan.to_list() == PAIRS, "it sees what there was at its creation"
        found = []
        async for key, _ in p.items():
            found.append(key)
            if len(found) == 5:
                break
        assert found == [key for key, _ in PAIRS[:5]]


@in_loop
async def test_cursor(path: Path) -> None:
    async with fjeld.aio.open(path) as ks:
        p = await ks.partition("p")
        await p.insert_many(PAIRS[:10])
        await ks.flush()
        async with p.cursor(prefix=b"00000") as cursor:
            assert await cursor.seek(b"000004")
            assert (cursor.key, cursor.value) == PAIRS[4]
            assert await cursor.next()
            assert await cursor.prev()
            assert cursor.key == b"000004"
            assert await cursor.seek_for_prev(b"0000035")
            assert cursor.key == b"000003"
            assert await cursor.seek_last()
            assert not await cursor.next()
            assert await cursor.seek_first()
            assert cursor.valid
        with pytest.raises(fjeld.ClosedError):
            await cursor.seek_first()


@in_loop
async def test_batches_and_snapshots(path: Path) -> None:
    async with fjeld.aio.open(path) as ks:
        a, b = await ks.partition("a"), await ks.partition("b")
        async with ks.batch() as batch:
            batch.insert(a, b"k", b"1")
            batch.insert(b, b"k", b"1")
            assert await a.get(b"k") is None
            assert len(batch) == 2
        before = ks.seqno
        async with ks.snapshot() as snapshot:
            async with ks.batch(durability=fjeld.PersistMode.SYNC_ALL) as batch:
                batch.remove(a, b"k")
                batch.remove_weak(b, b"k")
            assert snapshot.seqno == before
            assert snapshot.partitions() == ["a", "b"]
            assert await snapshot.partition("a").get(b"k") == b"1"
            assert await snapshot.partition("b").items().to_list() == [(b"k", b"1")]
            assert await a.get(b"k") is None
            assert await ks.digest(snapshot=snapshot) != await ks.digest()
        with pytest.raises(fjeld.ClosedError):
            await snapshot.partition("a").get(b"k")
        with pytest.raises(RuntimeError, match="no"):
            async with ks.batch() as batch:
                batch.insert(a, b"never", b"1")
                raise RuntimeError("no")
        assert await a.get(b"never") is None
        with pytest.raises(fjeld.ClosedError):
            await batch.commit()
        large = ks.batch()
        for key, value in PAIRS * 2:
            large.insert(a, key, value)
        await large.commit()
        assert await a.items().to_list() == PAIRS
        with pytest.raises(TypeError, match="PersistMode"):
            ks.batch(durability="yes")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="PersistMode"):
            await ks.persist("yes")  # type: ignore[arg-type]


@in_loop
async def test_bad_input_is_the_error_of_the_keyspace_beneath(path: Path) -> None:
    async with fjeld.aio.open(path) as ks:
        p = await ks.partition("p")
        with pytest.raises(TypeError, match="str"):
            await p.insert("text", b"v")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="65,535"):
            await p.insert(b"k" * 70_000, b"v")
        with pytest.raises(TypeError):
            await p.get(3)  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            await p.insert_many([(b"k", None)])  # type: ignore[list-item]
    with pytest.raises(fjeld.ClosedError):
        await p.get(b"k")
    with pytest.raises(fjeld.ClosedError):
        await p.insert(b"k", b"v")
    with pytest.raises(fjeld.ClosedError):
        await p.items().to_list()


@in_loop
async def test_a_wait_for_the_disk_does_not_hold_the_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that is slow is made by another thread than the loop's; those that hit memory are not."""
    threads: list[int] = []
    persist = fjeld.Keyspace.persist

    def noted(self: fjeld.Keyspace, mode: fjeld.PersistMode) -> None:
        threads.append(threading.get_ident())
        persist(self, mode)

    monkeypatch.setattr(fjeld.Keyspace, "persist", noted)
    async with fjeld.aio.open(path, options=SYNC) as ks:
        p = await ks.partition("p")
        await asyncio.gather(*(p.insert(b"%d" % number, b"v") for number in range(500)))
        assert threads
        assert threading.get_ident() not in threads
        assert len(threads) <= 50, "tasks share syncs"
        assert ks.keyspace._engine.commit.persisted_seqno >= 500
        submitted = threads_used(ks, monkeypatch)
        await p.get(b"7")
        await p.get_many([b"7", b"8"])
        await p.size_of(b"7")
        await p.first()
        await p.prefix(b"7").to_list()
        assert not submitted, "what is in memory needs no thread"
        await p.insert(b"new", b"v")
        assert submitted == ["noted"], "only the sync"


@in_loop
async def test_what_is_in_no_cache_is_read_by_a_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fjeld.aio.open(path) as ks:
        p = await ks.partition("p")
        await p.insert_many(PAIRS)
        await ks.compact()
    for table in (path / "tables").iterdir():  # out of the page cache too
        fd = os.open(table, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    async with fjeld.aio.open(path) as ks:
        p = await ks.partition("p")
        submitted = threads_used(ks, monkeypatch)
        assert await p.get(PAIRS[7][0]) == PAIRS[7][1]
        assert submitted == ["get"], "a table that was not opened yet"
        assert await p.get_many([key for key, _ in PAIRS]) == [value for _, value in PAIRS]
        del submitted[:]
        assert await p.get(PAIRS[7][0]) == PAIRS[7][1]
        assert not submitted


@in_loop
async def test_writers_that_must_wait_wait_in_a_thread(path: Path) -> None:
    """A memtable that is full, a journal that is full: many of both, and all is there."""
    options = fjeld.KeyspaceOptions(
        memtable_bytes=16 << 10, journal_bytes=32 << 10, journals_max_bytes=256 << 10
    )
    async with fjeld.aio.open(path, options=options) as ks:
        p = await ks.partition("p")

        async def write(part: int) -> None:
            for key, value in PAIRS[part::4]:
                await p.insert(key, value)

        await asyncio.gather(*(write(part) for part in range(4)))
        assert await p.items().to_list() == PAIRS
    assert content_at(path) == {"p": dict(PAIRS)}


@in_loop
async def test_a_sync_that_fails_reaches_every_task(path: Path) -> None:
    async with fjeld.aio.open(path, options=SYNC) as ks:
        p = await ks.partition("p")
        await p.insert(b"k", b"v")
        files.inject("sync", 0, errno.EIO)
        outcomes = await asyncio.gather(
            *(p.insert(b"%d" % n, b"v") for n in range(5)), return_exceptions=True
        )
        assert all(isinstance(outcome, fjeld.PoisonedError) for outcome in outcomes)
        files.clear_faults()
        assert await p.get(b"k") == b"v"
        with pytest.raises(fjeld.PoisonedError):
            await p.insert(b"later", b"v")


@in_loop
async def test_backup(path: Path, tmp_path: Path) -> None:
    async with fjeld.aio.open(path) as ks:
        p = await ks.partition("p")
        await p.insert_many(PAIRS)
        reports: list[tuple[int, ...]] = []
        loop_thread = threading.get_ident()

        def progress(*done: int) -> None:
            assert threading.get_ident() == loop_thread
            reports.append(done)

        info = await ks.backup_to(tmp_path / "backup", metadata={"a": 1}, progress=progress, link="never")
        assert info.metadata == {"a": 1}
        await until(lambda: bool(reports))
        with pytest.raises(FileExistsError):
            await ks.backup_to(tmp_path / "backup")
    assert content_at(tmp_path / "backup") == {"p": dict(PAIRS)}


@in_loop
async def test_an_export(path: Path, tmp_path: Path) -> None:
    async with fjeld.aio.open(path) as ks:
        p = await ks.partition("p")
        await p.insert_many(PAIRS)
        async with ks.snapshot() as snapshot:
            await p.insert(b"later", b"1")
            reports: list[tuple[int, ...]] = []
            info = await ks.export_to(
                tmp_path / "x", snapshot=snapshot, progress=lambda *done: reports.append(done)
            )
            await until(lambda: bool(reports))
        assert info.entries == len(dict(PAIRS))
        gate = Gate("export:chunk")
        task = asyncio.create_task(ks.export_to(tmp_path / "y"))
        await asyncio.to_thread(gate.wait)
        task.cancel()
        await asyncio.sleep(0)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not (tmp_path / "y").exists()
    fjeld.import_from(tmp_path / "x", tmp_path / "new")
    assert content_at(tmp_path / "new") == {"p": dict(PAIRS)}


@in_loop
async def test_a_cancelled_backup_leaves_nothing(path: Path, tmp_path: Path) -> None:
    async with fjeld.aio.open(path) as ks:
        await (await ks.partition("p")).insert_many(PAIRS)
        gate = Gate("backup:cut")
        task = asyncio.create_task(ks.backup_to(tmp_path / "backup"))
        await asyncio.to_thread(gate.wait)
        task.cancel()
        await asyncio.sleep(0)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert leftovers(tmp_path) == []
        assert not (tmp_path / "backup").exists()


@in_loop
async def test_a_cancelled_opening_lets_go_of_the_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, began = threading.Event(), threading.Event()
    opening = fjeld.keyspace.open

    def slow(*args: Any, **kwargs: Any) -> fjeld.Keyspace:
        began.set()
        go_on.wait()
        return opening(*args, **kwargs)

    monkeypatch.setattr("fjeld.keyspace.open", slow)
    pending = fjeld.aio.open(path)
    task = asyncio.ensure_future(pending)
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    monkeypatch.undo()

    def is_free() -> bool:
        try:
            fjeld.open(path).close()
        except fjeld.LockedError:
            return False
        return (path / "FJELD").exists()

    await until(is_free)


@in_loop
async def test_ingestion_from_both_kinds_of_iterators(path: Path) -> None:
    async def pairs(count: int) -> AsyncIterator[tuple[bytes, bytes]]:
        for number, pair in enumerate(PAIRS[:count]):
            if number % 100 == 0:
                await asyncio.sleep(0)
            yield pair

    async def failing() -> AsyncIterator[tuple[bytes, bytes]]:
        async for pair in pairs(2000):
            yield pair
        raise LookupError("the source is gone")

    async with fjeld.aio.open(path) as ks:
        p, q = await ks.partition("p"), await ks.partition("q")
        assert await p.ingest(iter(PAIRS)) == len(PAIRS)
        assert await q.ingest(pairs(len(PAIRS))) == len(PAIRS)
        assert await p.items().to_list() == await q.items().to_list() == PAIRS
        r = await ks.partition("r")
        with pytest.raises(LookupError):
            await r.ingest(failing())
        assert await r.is_empty()
        with pytest.raises(ValueError, match="ascend"):
            await r.ingest(backwards())
        assert await r.is_empty()


async def backwards() -> AsyncIterator[tuple[bytes, bytes]]:
    """More than fits the queue, so that whoever fills it must notice that nobody reads any more."""
    for key, value in PAIRS[::-1] * 3:
        yield key, value


@in_loop
async def test_tasks_of_many_kinds_at_once(path: Path, tmp_path: Path) -> None:
    options = fjeld.KeyspaceOptions(memtable_bytes=16 << 10, durability=fjeld.PersistMode.SYNC_DATA)
    async with fjeld.aio.open(path, options=options) as ks:
        p = await ks.partition("p")

        async def write(part: int) -> None:
            for key, value in PAIRS[part:600:3]:
                await p.insert(key, value)

        async def read() -> None:
            for _ in range(20):
                entries = await p.items().to_list()
                assert entries == sorted(entries)

        async def back_up(number: int) -> None:
            await ks.backup_to(tmp_path / f"backup{number}")

        await asyncio.gather(
            *(write(part) for part in range(3)), read(), back_up(0), back_up(1), ks.flush(), ks.compact()
        )
        assert await p.items().to_list() == PAIRS[:600]
        await ks.persist()
        await p.flush()
        await p.compact()
        assert await p.disk_space() > 0
        assert (await ks.stats())["id"] == ks.id


@in_loop
async def test_closing_ends_what_waits(path: Path) -> None:
    """A cancelled close closes all the same."""
    ks = await fjeld.aio.open(path)
    gate = Gate("close:refused")
    closing = asyncio.create_task(ks.close())
    await asyncio.to_thread(gate.wait)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    gate.open()
    await until(lambda: lock_is_free(path))


def lock_is_free(path: Path) -> bool:
    try:
        fjeld.open(path).close()
    except fjeld.LockedError:
        return False
    return True
