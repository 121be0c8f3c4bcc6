"""The memtable against a sorted list."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.kernel.memtable import MemtableOwner

# Few letters and shared beginnings: equal heads, prefixes of each other, empty keys.
keys = st.one_of(
    st.binary(max_size=3),
    st.binary(max_size=4).map(lambda b: b"common-prefix/" + b),
    st.sampled_from([b"", b"\x00", b"\x00" * 8, b"\x00" * 9, b"\xff" * 8, b"\xff" * 9, b"common-prefi"]),
)


def reference(rows):
    return sorted(rows, key=lambda row: (row[0], -row[1]))


def fill(operations):
    table, rows = MemtableOwner(), []
    for seqno, (key, kind) in enumerate(operations, 1):
        value = b"" if kind != 1 else b"value-%d" % seqno
        table.insert(key, seqno, kind, value)
        rows.append((key, seqno, kind, value))
    return table, reference(rows)


@given(st.lists(st.tuples(keys, st.sampled_from([0, 1, 1, 2])), max_size=400))
@settings(max_examples=150, deadline=None)
def test_scans_like_a_sorted_list(operations):
    table, rows = fill(operations)
    table.check()
    assert table.scan() == rows
    assert table.scan(True) == rows[::-1]


@given(st.lists(st.tuples(keys, st.just(1)), min_size=1, max_size=300), keys, st.integers(0, 320))
@settings(max_examples=150, deadline=None)
def test_get_and_seek(operations, probe, seqno):
    table, rows = fill(operations)
    for key in {probe, *(row[0] for row in rows)}:
        versions = [row[1:] for row in rows if row[0] == key and row[1] <= seqno]
        assert table.get(key, seqno) == (versions[0] if versions else None)
        assert table.scan(False, key) == [row for row in rows if row[0] >= key]
        assert table.scan(True, key) == [row for row in rows if row[0] < key][::-1]


@pytest.mark.parametrize("order", ["random", "ascending", "descending"])
def test_deep_trees(order):
    names = [b"%08d" % i for i in range(20_000)]
    if order == "random":
        random.Random(7).shuffle(names)
    elif order == "descending":
        names.reverse()
    table = MemtableOwner()
    for seqno, name in enumerate(names, 1):
        table.insert(name, seqno, 1, name)
    table.check()
    assert [row[0] for row in table.scan()] == sorted(names)
    assert all(table.get(name)[2] == name for name in names)


def test_a_key_outside_the_prefix_shrinks_it():
    table = MemtableOwner()
    for i in range(1000):
        table.insert(b"tenant-1/user-%04d" % i, i + 1, 1, b"")
    assert table.prefix_bytes == len(b"tenant-1/user-0")  # chosen at 48 keys as -00, shrunk at the 100th
    table.insert(b"tenant-1/user-0500x", 2000, 1, b"")
    table.insert(b"tenant-2/user", 2001, 1, b"")
    assert table.prefix_bytes == len(b"tenant-")
    table.check()
    table.insert(b"", 2002, 1, b"empty")
    assert table.prefix_bytes == 0
    table.check()
    assert table.get(b"") == (2002, 1, b"empty")
    assert table.get(b"tenant-1/user-0500") == (501, 1, b"")
    assert table.get(b"tenant-1/user") is None


def test_check_sees_a_broken_order():
    table = MemtableOwner()
    table.insert(b"k", 2, 1, b"")
    table.insert(b"k", 2, 1, b"")  # the same seqno twice: what no writer may do
    rows = table.scan()
    assert rows[0] == rows[1]
    table.insert(b"k", 1, 1, b"")
    table.check()  # an older version arriving later is still put in its place
    assert [row[1] for row in table.scan()] == [2, 2, 1]


def test_a_small_memtable_stays_small():
    """What it holds counts in chunks: they double from 4 KiB up to 256 KiB, but for entries that are larger."""
    table = MemtableOwner()
    held = [table.memory_bytes]
    for i in range(20_000):
        table.insert(b"%08d" % i, i + 1, 1, b"v" * 60)
        if table.memory_bytes != held[-1]:
            held.append(table.memory_bytes)
    assert held[:4] == [4096, 3 * 4096, 7 * 4096, 15 * 4096]
    assert max(after - before for before, after in itertools.pairwise(held)) == 256 << 10
    table.insert(b"large", 30_000, 1, b"v" * 1_000_000)
    assert 1_000_000 < table.memory_bytes - held[-1] < 1_000_200
