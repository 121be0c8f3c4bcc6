"""The cursor over a run: every movement against a list, cold and warm, cached and streamed."""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.run_scan import RunScan
from fjeld.kernel.table import TableReader
from tests.kernel.tables import Version, keys, numbered, open_table, options, order, seqnos, versions, write


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    files.clear_faults()
    files.stop_trace()


def split(entries: list[Version], cuts: list[int]) -> list[list[Version]]:
    """Into tables; all versions of a key stay together."""
    parts: list[list[Version]] = [[]]
    for i, entry in enumerate(entries):
        if i in cuts and entry[0] != entries[i - 1][0] and parts[-1]:
            parts.append([])
        parts[-1].append(entry)
    return parts


class Model:
    """A list and a position in it."""

    def __init__(self, entries: list[Version]) -> None:
        self.entries = entries
        self.at: int | None = None

    def stand(self, at: int) -> Version | None:
        self.at = at if 0 <= at < len(self.entries) else None
        return None if self.at is None else self.entries[self.at]

    def move(self, name: str, key: bytes, seqno: int | None) -> Version | None:
        if name == "first":
            return self.stand(0)
        if name == "last":
            return self.stand(len(self.entries) - 1)
        if name in ("next", "prev"):
            return None if self.at is None else self.stand(self.at + (1 if name == "next" else -1))
        tag = 2**64 if seqno is None else seqno
        target = bisect_left(self.entries, (key, -tag), key=order)
        return self.stand(target if name == "seek" else target - 1)


steps = st.lists(
    st.tuples(
        st.sampled_from(["first", "last", "next", "next", "prev", "prev", "seek", "seek_before"]),
        st.integers(0, 60),
        keys,
        st.none() | seqnos,
    ),
    max_size=25,
)


@given(
    versions(),
    st.lists(st.integers(1, 40), max_size=4),
    options,
    steps,
    st.booleans(),
    st.sampled_from([0, 1 << 24]),
)
@settings(max_examples=200)
def test_any_walk(tmp_path_factory, entries, cuts, chosen, walk, stream, budget) -> None:
    folder = tmp_path_factory.mktemp("t")
    cache, pool = BlockCache(budget), DescriptorPool(2)
    tables = []
    for i, part in enumerate(split(entries, cuts)):
        write(folder / str(i), part, **chosen)
        tables.append(TableReader(folder / str(i), cache, pool))
    run, model = RunScan(tables, stream=stream), Model(entries)
    for name, which, key, seqno in walk:
        if name.startswith("seek"):
            if which < len(entries):  # at an entry, or beside one
                key = entries[which][0] + key[:1]
            assert getattr(run, name)(key, seqno) == model.move(name, key, seqno)
        else:
            assert getattr(run, name)() == model.move(name, b"", None)
    del run
    cache.check()
    pool.check()


@pytest.mark.parametrize("stream", [False, True])
def test_every_seek(tmp_path: Path, stream: bool) -> None:
    entries = [(b"k%03d" % (i // 5 * 2), 9 - i % 5, 1, b"") for i in range(300)]
    write(tmp_path / "a", entries[:150], block_bytes=30)
    write(tmp_path / "b", entries[150:], block_bytes=30)
    cache, pool = BlockCache(1 << 20), DescriptorPool(2)
    run = RunScan([TableReader(tmp_path / name, cache, pool) for name in "ab"], stream=stream)
    model = Model(entries)
    for number in range(125):
        for seqno in (None, 0, 5, 7, 9, 10):
            for key in (b"k%03d" % number, b"k%03d\x00" % number):
                for name in ("seek", "seek_before"):
                    expected = model.move(name, key, seqno)
                    assert getattr(run, name)(key, seqno) == expected
                    if expected is not None:
                        assert run.next() == model.move("next", b"", None)
                        if model.at is not None:
                            assert run.prev() == model.move("prev", b"", None) == expected


def test_no_tables() -> None:
    for stream in (False, True):
        run = RunScan([], stream=stream)
        assert run.first() is run.last() is run.next() is run.prev() is None
        assert run.seek(b"k") is run.seek_before(b"k") is None
        assert list(run) == []


def test_a_stream_reads_in_large_pieces_and_past_the_cache(tmp_path: Path) -> None:
    entries = numbered(40_000)
    size = write(tmp_path / "a", entries, codec=0)["size_bytes"]
    assert size > 2 << 20
    cache = BlockCache(1 << 24)
    table = TableReader(tmp_path / "a", cache, DescriptorPool(1))
    assert list(table.scan()) == entries
    assert cache.stats()["blocks"] == cache.stats()["misses"] == 0
    reads = 0
    for after in range(100):  # as many reads as can be made to fail
        files.inject("read", after, errno.EIO)
        try:
            list(table.scan())
        except OSError:
            reads += 1
            files.clear_faults()
        else:
            break
    assert reads <= 3 + size // (1 << 20)


def test_a_cold_walk_loads_ahead_and_marks_nothing_as_used(tmp_path: Path) -> None:
    """A scan through the cache leaves what was used before it where it is."""
    entries = numbered(20_000)
    write(tmp_path / "a", entries, codec=0)
    cache = BlockCache(200_000)
    table = TableReader(tmp_path / "a", cache, DescriptorPool(1))
    hot = [entries[i][0] for i in (5, 10_000, 19_000)]
    for _ in range(2):
        for key in hot:
            table.get(key)
    misses = cache.stats()["misses"]
    assert list(table.scan(stream=False)) == entries
    assert cache.stats()["evictions"] > 100
    scanned = cache.stats()["misses"]
    assert scanned - misses >= table.blocks - len(hot)
    for key in hot:
        table.get(key)
    assert cache.stats()["misses"] == scanned
    cache.check()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_cold_walk_reads_neighbours_together(tmp_path: Path, reverse: bool) -> None:
    entries = numbered(20_000)
    write(tmp_path / "a", entries, codec=0)
    held = TableReader(tmp_path / "a", BlockCache(1 << 24), DescriptorPool(1)).blocks
    reads = 0
    for after in range(held):  # as many reads as can be made to fail
        table = TableReader(tmp_path / "a", BlockCache(1 << 24), DescriptorPool(1))
        run = table.scan(stream=False)
        step = run.prev if reverse else run.next
        files.inject("read", after, errno.EIO)
        try:
            seen = [run.last() if reverse else run.first()]
            while (entry := step()) is not None:
                seen.append(entry)
        except OSError:
            reads += 1
        else:
            break
        finally:
            files.clear_faults()
    assert seen == (entries[::-1] if reverse else entries)
    assert held > 200
    assert reads <= 20 + held // 8, "two for sixteen blocks, once it is under way"


def test_a_walk_that_turns_round(tmp_path: Path) -> None:
    entries = numbered(4_000)
    write(tmp_path / "a", entries, codec=0, block_bytes=256)
    cache = BlockCache(4_000)
    run = TableReader(tmp_path / "a", cache, DescriptorPool(1)).scan(stream=False)
    model = Model(entries)
    assert run.seek(entries[2_000][0]) == model.move("seek", entries[2_000][0], None)
    for length in (300, 500, 200, 700, 1_500, 50):
        for name in ("next", "prev"):
            for _ in range(length):
                assert getattr(run, name)() == model.move(name, b"", None)
    del run
    cache.check()


def test_damage_beyond_the_position_is_met_when_it_is_reached(tmp_path: Path) -> None:
    entries = numbered(400)
    path = tmp_path / "a"
    write(path, entries, codec=0, block_bytes=256)
    whole = bytearray(path.read_bytes())
    whole[20_000] ^= 1
    path.chmod(0o644)
    path.write_bytes(whole)
    for stream in (False, True):
        run = open_table(path).scan(stream)
        seen = []
        with pytest.raises(CorruptionError, match="checksum") as met:
            for entry in run:
                seen.append(entry)
        assert seen == entries[: len(seen)]
        assert 200 < len(seen) < 400
        assert met.value.offset is not None
        assert met.value.offset <= 20_000 < met.value.offset + 400
        assert run.next() is None
        assert run.first() == entries[0]
        assert run.last() == entries[-1]
        seen = []
        with pytest.raises(CorruptionError, match="checksum"):
            while (entry := run.prev()) is not None:
                seen.append(entry)
        assert seen == entries[-1 - len(seen) : -1][::-1]
        assert 0 < len(seen) < 200


def test_a_scan_keeps_its_tables_alive(tmp_path: Path) -> None:
    entries = numbered(500)
    write(tmp_path / "a", entries)
    scan = open_table(tmp_path / "a").scan(stream=False)
    (tmp_path / "a").unlink()
    assert list(scan) == entries
