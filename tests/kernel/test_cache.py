"""The block cache: budget, second chance, and tables that go."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.table import TableReader
from tests.kernel.tables import numbered, write

BLOCKS = 60
KEYS = [key for key, _, _, _ in numbered(BLOCKS)]
CHARGE = 150  # of a block of one entry, more or less: struct, arrays, payload


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A table of one entry a block."""
    path = tmp_path_factory.mktemp("cache") / "a.sst"
    write(path, numbered(BLOCKS, b"x" * 20), block_bytes=1)
    return path


def open_with(path: Path, budget_bytes: int) -> tuple[BlockCache, TableReader]:
    cache = BlockCache(budget_bytes)
    return cache, TableReader(path, cache, DescriptorPool(1))


def cached(cache: BlockCache, table: TableReader, key: bytes) -> bool:
    """Whether looking at the key now is a hit."""
    before = cache.stats()["hits"]
    table.get(key)
    return cache.stats()["hits"] > before


def test_hits_and_misses(path: Path) -> None:
    cache, table = open_with(path, 1 << 20)
    for _ in range(3):
        for key in KEYS:
            table.get(key)
    stats = cache.stats()
    assert (stats["misses"], stats["blocks"], stats["evictions"]) == (BLOCKS, BLOCKS, 0)
    assert stats["hits"] == 2 * BLOCKS
    assert stats["used_bytes"] == cache.used_bytes > BLOCKS * 50
    assert stats["budget_bytes"] == cache.budget_bytes == 1 << 20
    cache.check()


def test_the_budget_is_kept(path: Path) -> None:
    whole, table = open_with(path, 1 << 20)
    for key in KEYS:
        table.get(key)
    budget = whole.used_bytes // 3
    cache, table = open_with(path, budget)
    for key in KEYS * 2:
        table.get(key)
        cache.check()
        assert cache.used_bytes <= budget
    assert cache.stats()["evictions"] >= BLOCKS


def test_what_is_used_stays_when_a_scan_comes_through(path: Path) -> None:
    whole, table = open_with(path, 1 << 20)
    for key in KEYS:
        table.get(key)
    cache, table = open_with(path, whole.used_bytes // 3)
    hot = KEYS[:10]
    for key in hot * 2:
        table.get(key)
    for key in KEYS[10:]:
        table.get(key)
    assert [cached(cache, table, key) for key in hot] == [True] * 10


def test_what_is_not_used_goes_in_order(path: Path) -> None:
    whole, table = open_with(path, 1 << 20)
    for key in KEYS:
        table.get(key)
    cache, table = open_with(path, whole.used_bytes // 3)
    for key in KEYS:
        table.get(key)
    held = cache.stats()["blocks"]
    assert all(cached(cache, table, key) for key in KEYS[-held:])
    assert not cached(cache, table, KEYS[0])


def test_a_few_blocks_stay_without_any_budget(path: Path) -> None:
    """Who is told to load a block, loads it and looks again must find it."""
    cache, table = open_with(path, 0)
    for key in KEYS:
        assert table.get(key) is not None
        assert cached(cache, table, key)
        cache.check()
    assert cache.stats()["blocks"] == 8


def test_a_table_that_goes_takes_its_blocks_along(path: Path) -> None:
    cache, table = open_with(path, 1 << 20)
    other = TableReader(path, cache, DescriptorPool(1))
    for key in KEYS:
        table.get(key)
        other.get(key)
    both = cache.used_bytes
    del table
    gc.collect()
    cache.check()
    assert cache.used_bytes * 2 == both
    del other
    assert cache.stats()["blocks"] == cache.used_bytes == 0


@given(
    st.integers(0, 30 * CHARGE),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, BLOCKS - 1)) | st.just(None), max_size=80),
)
@settings(max_examples=60)
def test_any_use_keeps_the_invariants(path: Path, budget: int, uses: list[tuple[int, int] | None]) -> None:
    cache, pool = BlockCache(budget), DescriptorPool(2)
    tables = [TableReader(path, cache, pool) for _ in range(3)]
    for use in uses:
        if use is None:
            tables = [*tables[1:], TableReader(path, cache, pool)]
        else:
            which, key = use
            assert tables[which].get(KEYS[key]) == (key + 1, 1, b"x" * 20)
        cache.check()
    tables.clear()
    assert cache.used_bytes == 0


def test_wrong_budgets() -> None:
    with pytest.raises(OverflowError):
        BlockCache(-1)
    with pytest.raises(TypeError):
        BlockCache("much")
