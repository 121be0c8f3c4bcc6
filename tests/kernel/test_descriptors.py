"""The pool of open files: a limit, second chance, and nothing that leaks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.table import TableReader
from tests.kernel.tables import numbered, write


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    files.clear_faults()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for i in range(8):
        write(tmp_path / f"{i}.sst", numbered(3), block_bytes=1)
    return [tmp_path / f"{i}.sst" for i in range(8)]


def open_files(paths: list[Path]) -> list[str]:
    """Which of them this process has open, by the system's account."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return sorted(name for name in found if name in {str(path) for path in paths})


def test_the_limit_is_kept(paths: list[Path]) -> None:
    pool = DescriptorPool(3)
    tables = [TableReader(path, BlockCache(0), pool) for path in paths]
    assert pool.limit == 3
    assert pool.open_count == 3 == len(open_files(paths))
    for key in (b"key000000", b"key000001", b"key000002"):
        for table in tables:
            assert table.get(key) is not None
            pool.check()
            assert pool.open_count == 3 == len(open_files(paths))
    del tables, table
    assert pool.open_count == 0
    assert open_files(paths) == []


def test_what_is_used_stays_open(paths: list[Path]) -> None:
    """One file is read in every round, the others in turn: it is seldom the one that has to go."""
    pool = DescriptorPool(4)
    busy, *others = [TableReader(path, BlockCache(0), pool) for path in paths]
    reopened = 0
    for i in range(70):
        reopened += str(paths[0]) not in open_files(paths[:1])
        busy.scan().first()
        others[i % 7].scan().first()
    assert reopened < 35


def test_close_all_and_open_again(paths: list[Path]) -> None:
    pool = DescriptorPool(8)
    tables = [TableReader(path, BlockCache(1 << 20), pool) for path in paths]
    assert pool.open_count == 8
    pool.close_all()
    pool.check()
    assert pool.open_count == 0
    assert open_files(paths) == []
    assert tables[5].get(b"key000001") is not None
    assert open_files(paths) == [str(paths[5])]


def test_a_failed_open_leaves_nothing_open(paths: list[Path], tmp_path: Path) -> None:
    pool = DescriptorPool(2)
    (tmp_path / "bad").write_bytes(b"not a table " * 20)
    for _ in range(5):
        with pytest.raises(Exception, match=r"not that of a table"):
            TableReader(tmp_path / "bad", BlockCache(0), pool)
    assert pool.open_count == 0
    assert open_files([tmp_path / "bad"]) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_without_descriptors_it_gives_up_its_own(paths: list[Path], number: int) -> None:
    pool = DescriptorPool(8)
    tables = [TableReader(path, BlockCache(0), pool) for path in paths[:4]]
    files.inject("open", 0, number)
    tables.append(TableReader(paths[4], BlockCache(0), pool))
    assert pool.open_count == 4
    files.clear_faults()
    files.inject("open", 0, number, count=100)
    with pytest.raises(OSError, match=r"7\.sst") as failed:
        TableReader(paths[7], BlockCache(0), pool)
    assert failed.value.errno == number
    assert pool.open_count == 0
    files.clear_faults()
    assert all(table.get(b"key000002") is not None for table in tables)
    pool.check()


def test_threads_share_one_descriptor(paths: list[Path]) -> None:
    pool = DescriptorPool(1)
    tables = [TableReader(path, BlockCache(0), pool) for path in paths]

    def read(i: int) -> bool:
        return all(list(tables[(i + k) % 8].scan()) == numbered(3) for k in range(200))

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(read, range(6)))
    pool.check()
    assert pool.open_count == 1


def test_a_wrong_limit() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        DescriptorPool(0)
