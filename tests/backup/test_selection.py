"""Which tables a range of keys takes as they are, which it cuts, which it leaves: a table of cases."""

from __future__ import annotations

import pytest

from fjeld.backup.selection import EVERYTHING, select
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
