from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from fjeld.errors import ClosedError
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import file_xxh128
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.view import View
from fjeld.maintenance.output import write_tables
from fjeld.manifest.live_file import Reaper
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from tests.manifest.samples import ID
from tests.small import SMALL_PARTITION
from tests.support import tables_of

ENTRIES = 200


@pytest.fixture
def store(path: Path) -> Iterator[VersionStore]:
    (path / "tables").mkdir(parents=True)
    made = VersionStore(
        str(path), Version(id=ID), cache=BlockCache(0), descriptors=DescriptorPool(8), reaper=Reaper()
    )
    yield made
    files.clear_faults()
    made.close()


def compaction(entries: int = ENTRIES, *, kind: int = 1, drop: bool = True) -> Compaction:
    memtable = MemtableOwner()
    for number in range(entries):
        value = b"" if kind == 0 else random.Random(number).randbytes(50)
        memtable.insert(b"%06d" % number, number + 1, kind, value)
    memtable.seal()
    return Compaction(View((MemtableOwner(), memtable), ()), [], drop)


def test_tables_of_about_the_size_that_was_asked_for(store: VersionStore, path: Path) -> None:
    tables = write_tables(store, SMALL_PARTITION, compaction(), level=1, table_bytes=2000, created_ns=77)
    assert len(tables) > 3
    assert sum(table.entries for table in tables) == ENTRIES
    assert [table.number for table in tables] == sorted({table.number for table in tables})
    for before, after in pairwise(tables):
        assert before.largest < after.smallest
    for table in tables:
        assert table.created_ns == 77
        assert (table.size_bytes, table.xxh128) == file_xxh128(store.table_path(table.number))
    assert len(tables_of(path)) == len(tables)


def test_nothing_left_makes_no_table(store: VersionStore, path: Path) -> None:
    assert (
        write_tables(store, SMALL_PARTITION, compaction(kind=0), level=1, table_bytes=2000, created_ns=77)
        == []
    )
    assert tables_of(path) == []


@pytest.mark.parametrize("operation", ["create", "write", "sync", "seal", "sync_dir"])
@pytest.mark.parametrize("after", [0, 2])
def test_a_failure_leaves_nothing(store: VersionStore, path: Path, operation: str, after: int) -> None:
    if operation == "sync_dir":
        after = 0
    files.inject(operation, after, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        write_tables(store, SMALL_PARTITION, compaction(), level=1, table_bytes=2000, created_ns=77)
    assert tables_of(path) == []
    assert write_tables(store, SMALL_PARTITION, compaction(), level=1, table_bytes=2000, created_ns=77)


def test_what_cannot_be_deleted_after_a_failure_is_left_to_recovery(store: VersionStore, path: Path) -> None:
    files.inject("create", 2, errno.ENOSPC)
    files.inject("unlink", 0, errno.EIO, count=100)
    with pytest.raises(OSError, match="No space"):
        write_tables(store, SMALL_PARTITION, compaction(), level=1, table_bytes=2000, created_ns=77)
    assert len(tables_of(path)) == 2


def test_a_closed_store_gives_no_numbers(store: VersionStore, path: Path) -> None:
    store.close()
    with pytest.raises(ClosedError):
        write_tables(store, SMALL_PARTITION, compaction(), level=1, table_bytes=2000, created_ns=77)
    assert tables_of(path) == []
