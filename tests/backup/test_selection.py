"""Which tables a range of keys takes as they are, which it cuts, which it leaves: a table of cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fjeld.backup.selection import EVERYTHING, select
from fjeld.manifest.blob_meta import BlobMeta
from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.options import LEVELS, PartitionOptions


def table(number: int, smallest: bytes, largest: bytes) -> TableMeta:
    return TableMeta(
        number=number,
        size_bytes=1,
        xxh128="0" * 32,
        entries=2,
        tombstones=0,
        weak_tombstones=0,
        min_seqno=1,
        max_seqno=2,
        smallest=smallest,
        largest=largest,
        raw_bytes=1,
        blocks=1,
        created_ns=0,
    )


TABLES = [table(1, b"b", b"d"), table(2, b"f", b"h"), table(3, b"j", b"j")]


@pytest.mark.parametrize(
    ("keys", "inside", "crossing"),
    [
        (EVERYTHING, [1, 2, 3], []),
        ((b"b", None), [1, 2, 3], []),
        ((b"b\0", None), [2, 3], [1]),
        ((b"d", None), [2, 3], [1]),
        ((b"d\0", None), [2, 3], []),
        ((b"e", b"i"), [2], []),
        ((b"f", b"h\0"), [2], []),
        ((b"f", b"h"), [], [2]),
        ((b"g", b"g\0"), [], [2]),
        ((None, b"f"), [1], []),
        ((None, b"f\0"), [1], [2]),
        ((None, b"b"), [], []),
        ((b"j", None), [3], []),
        ((b"j", b"j\0"), [3], []),
        ((None, b"j"), [1, 2], []),
        ((b"j\0", None), [], []),
        ((b"c", b"g"), [], [1, 2]),
    ],
)
@pytest.mark.parametrize("level", [0, 3])
def test_a_range(keys, inside, crossing, level):
    levels = [()] * LEVELS
    levels[level] = tuple(TABLES)
    state = PartitionState(id=1, name="a", options=PartitionOptions(), levels=tuple(levels))
    chosen = select(state, keys)
    assert [found.number for found in chosen.kept.levels[level]] == inside
    assert [(where, found.number) for where, found in chosen.crossing] == [(level, n) for n in crossing]
    assert (chosen.kept.id, chosen.kept.name) == (1, "a")


def blob(number: int, entries: int) -> BlobMeta:
    return BlobMeta(
        number=number,
        size_bytes=1000,
        xxh128="0" * 32,
        entries=entries,
        raw_bytes=1,
        stored_bytes=1,
        created_ns=0,
    )


@pytest.mark.parametrize(
    ("pointed", "keys", "inside", "blobs"),
    [
        # Each table has a file of its own, without garbage.
        ({1: [(7, 2)], 2: [(8, 2)]}, (b"e", b"i"), [2], [8]),
        # The file of the table inside holds a record of the one outside, or garbage.
        ({1: [(7, 1)], 2: [(7, 1)]}, (b"e", b"i"), [], []),
        ({2: [(8, 1)]}, (b"e", b"i"), [], []),
        # Both that share a file are inside.
        ({2: [(8, 1)], 3: [(8, 1)]}, (b"e", None), [2, 3], [8]),
        # Table 2 shares a file with 1, which is outside, and another with 3, which so cannot stay either.
        ({1: [(7, 1)], 2: [(7, 1), (8, 1)], 3: [(8, 1)]}, (b"e", None), [], []),
        # All of it, garbage too.
        ({1: [(7, 1)], 2: [(7, 1)], 3: [(8, 1)]}, EVERYTHING, [1, 2, 3], [7, 8]),
    ],
)
def test_blob_files_bring_nothing_from_outside(pointed, keys, inside, blobs):
    tables = tuple(
        replace(
            table, blobs=tuple((number, entries, 10) for number, entries in pointed.get(table.number, []))
        )
        for table in TABLES
    )
    levels = [()] * LEVELS
    levels[3] = tables
    state = PartitionState(
        id=1, name="a", options=PartitionOptions(), levels=tuple(levels), blobs=(blob(7, 2), blob(8, 2))
    )
    chosen = select(state, keys)
    kept = [table.number for table in chosen.kept.tables()]
    others = [table.number for _, table in chosen.crossing]
    assert kept == inside
    assert [blob.number for blob in chosen.kept.blobs] == blobs
    near = {table.number for table in TABLES} if keys == EVERYTHING else {2} if keys[1] else {2, 3}
    assert set(kept) | set(others) == near
