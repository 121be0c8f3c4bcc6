"""Single writes and batches: one record, one run of seqnos, all or nothing, and what the control plane is
asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import ClosedError
from fjeld.kernel.tree import Tree
from fjeld.kernel.write_batch import WriteBatch
from tests.kernel.layers import TOMBSTONE, VALUE, WEAK
from tests.kernel.writing import DURABLE, PRESSURE, REFUSE, Control, rows


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path, journal_bytes=1 << 16, memtable_bytes=1 << 20)


entries = st.tuples(
    st.integers(0, 1),
    st.sampled_from([TOMBSTONE, VALUE, WEAK]),
    st.binary(max_size=20),
    st.binary(max_size=200),
)


@given(st.lists(st.lists(entries, max_size=8), max_size=12), st.sampled_from([600, 4000, 1 << 20]))
@settings(max_examples=100, deadline=None)
def test_journal_and_memtables_hold_what_was_written(tmp_path_factory, batches, limit) -> None:
    control = Control(tmp_path_factory.mktemp("t"), journal_bytes=limit, memtable_bytes=max(limit, 5000))
    trees = [control.tree("a"), control.tree("b")]
    expected: list[list[tuple]] = [[], []]
    records = []
    seqno = 0
    for drawn in batches:
        batch = WriteBatch(control.commit)
        for which, kind, key, value in drawn:
            if kind == VALUE:
                batch.insert(trees[which], key, value)
            elif kind == TOMBSTONE:
                batch.remove(trees[which], key)
            else:
                batch.remove_weak(trees[which], key)
        assert len(batch) == len(drawn)
        batch.write_now()
        written = [
            (kind, which + 1, key, value if kind == VALUE else b"") for which, kind, key, value in drawn
        ]
        if written:
            records.append((seqno + 1, written))
        for kind, partition, key, value in written:
            seqno += 1
            expected[partition - 1].append((key, seqno, kind, value))
        assert control.commit.last_seqno == seqno
    assert [(first, found) for first, _, found in control.records()] == records
    for tree, wanted in zip(trees, expected, strict=True):
        assert rows(tree.core) == sorted(wanted, key=lambda row: (row[0], -row[1]))


def test_single_writes(control: Control) -> None:
    tree = control.tree()
    tree.insert(b"k", b"v")
    tree[b"l"] = b"w"
    tree.remove(b"k")
    tree.remove_weak(b"l")
    tree.insert_many([(b"m", b"1"), (b"n", b"2")])
    assert control.records() == [
        (1, 1000, [(VALUE, 1, b"k", b"v")]),
        (2, 2000, [(VALUE, 1, b"l", b"w")]),
        (3, 3000, [(TOMBSTONE, 1, b"k", b"")]),
        (4, 4000, [(WEAK, 1, b"l", b"")]),
        (5, 5000, [(VALUE, 1, b"m", b"1"), (VALUE, 1, b"n", b"2")]),
    ]
    assert control.asked == []


def test_a_batch_is_seen_whole_or_not_at_all(control: Control) -> None:
    """Readers look all the time, through both partitions at once, while batches are written."""
    left, right = control.tree("left"), control.tree("right")
    torn: list[tuple] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            a, b = left.get_many([b"x", b"y"])
            if a != b:
                torn.append((a, b))
            if (right.get(b"z") or b"0") < (left.get(b"x") or b"0"):
                pass  # two reads are two moments
            entries = list(left.scan_items())
            if len({value for _, value in entries}) > 1:
                torn.append(tuple(entries))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for i in range(3000):
        batch = WriteBatch(control.commit)
        value = b"%08d" % i
        batch.insert(left, b"x", value)
        batch.insert(right, b"z", value)
        batch.insert(left, b"y", value)
        batch.write_now()
        if i % 500 == 0:
            control.switch_journal(0)
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_what_was_put_in_was_copied(control: Control) -> None:
    tree = control.tree()
    key, value = bytearray(b"key"), bytearray(b"value")
    batch = WriteBatch(control.commit)
    batch.insert(tree, key, value)
    key[:], value[:] = b"KEY", b"VALUE"
    batch.write_now()
    assert rows(tree.core) == [(b"key", 1, VALUE, b"value")]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda batch, tree: batch.insert(tree, "k", b"v"), TypeError),
        (lambda batch, tree: batch.insert(tree, b"k", "v"), TypeError),
        (lambda batch, tree: batch.insert(tree, b"k", None), TypeError),
        (lambda batch, tree: batch.insert(tree, None, b"v"), TypeError),
        (lambda batch, tree: batch.insert(None, b"k", b"v"), TypeError),
        (lambda batch, tree: batch.insert("p", b"k", b"v"), TypeError),
        (lambda batch, tree: batch.insert(tree, 5, b"v"), TypeError),
        (lambda batch, tree: batch.remove(tree, "k"), TypeError),
        (lambda batch, tree: batch.remove_weak(tree, None), TypeError),
        (lambda batch, tree: batch.insert(tree, b"k" * 65_536, b"v"), ValueError),
        (lambda batch, tree: batch.remove(tree, b"k" * 65_536), ValueError),
        (lambda batch, tree: tree.insert(b"k", None), TypeError),
        (lambda batch, tree: tree.insert(b"k", "v"), TypeError),
        (lambda batch, tree: tree.insert("k", b"v"), TypeError),
        (lambda batch, tree: tree.insert(b"k" * 65_536, b"v"), ValueError),
        (lambda batch, tree: tree.remove("k"), TypeError),
        (lambda batch, tree: tree.remove(b"k" * 65_536), ValueError),
        (lambda batch, tree: tree.insert_many([(b"a", b"1"), (b"b", None)]), TypeError),
        (lambda batch, tree: tree.insert_many([(b"a", b"1"), (b"b",)]), ValueError),
        (lambda batch, tree: tree.insert_many([(b"a", b"1"), b"bc"]), TypeError),
        (lambda batch, tree: tree.insert_many(None), TypeError),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    control: Control, call: Callable[[WriteBatch, Tree], None], error: type[Exception]
) -> None:
    tree = control.tree()
    batch = WriteBatch(control.commit)
    batch.insert(tree, b"before", b"1")
    with pytest.raises(error):
        call(batch, tree)
    assert control.records() == []
    assert len(batch) == 1
    batch.write_now()  # what was in it is still sound
    assert [found for _, _, found in control.records()] == [[(VALUE, 1, b"before", b"1")]]


def test_the_largest_key_and_empty_ones(control: Control) -> None:
    tree = control.tree()
    tree.insert(b"k" * 65_535, b"")
    tree.insert(b"", b"empty")
    assert tree.get(b"k" * 65_535) == b""
    assert tree.get(b"") == b"empty"
    assert tree.first() == (b"", b"empty")
    assert tree.size_of(b"k" * 65_535) == 0


def test_a_value_is_not_read_past_its_failure(control: Control) -> None:
    class Hostile:
        def __iter__(self):
            yield (b"a", b"1")
            raise RuntimeError("half-way")

    tree = control.tree()
    with pytest.raises(RuntimeError):
        tree.insert_many(Hostile())
    assert control.records() == []
    assert tree.is_empty()


def test_a_partition_of_another_keyspace_is_refused(control: Control, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Control(tmp_path / "other", 1 << 16, 1 << 20).tree("other")
    batch = WriteBatch(control.commit)
    with pytest.raises(ValueError, match="another keyspace"):
        batch.insert(other, b"k", b"v")


def test_a_snapshot_of_a_partition_is_not_written_to(control: Control) -> None:
    tree = control.tree()
    fixed = Tree(tree.core)
    fixed.fix(0)
    with pytest.raises(TypeError, match="snapshot"):
        WriteBatch(control.commit).insert(fixed, b"k", b"v")
    with pytest.raises(TypeError, match="snapshot"):
        WriteBatch(control.commit).remove(fixed, b"k")


def test_a_finished_batch_is_closed(control: Control) -> None:
    tree = control.tree()
    for finish in (WriteBatch.write_now, WriteBatch.finish):
        batch = WriteBatch(control.commit)
        batch.insert(tree, b"k", b"v")
        finish(batch)
        assert batch.finished
        with pytest.raises(ClosedError):
            batch.insert(tree, b"k", b"v")
        with pytest.raises(ClosedError):
            batch.write_now()
        batch.finish()
    assert len(control.records()) == 1


def test_a_cleared_batch_is_used_on(control: Control) -> None:
    tree = control.tree()
    batch = WriteBatch(control.commit)
    batch.insert(tree, b"a", b"1")
    batch.clear()
    assert len(batch) == 0
    batch.insert(tree, b"b", b"2")
    batch.write_now()
    assert [found for _, _, found in control.records()] == [[(VALUE, 1, b"b", b"2")]]


def test_a_full_journal_is_switched_and_a_full_memtable_sealed(tmp_path: Path) -> None:
    control = Control(tmp_path, journal_bytes=5000, memtable_bytes=16 << 10)
    tree = control.tree()
    for i in range(200):
        tree.insert(b"%04d" % i, b"v" * 200)
    assert control.asked.count("switch") > 5
    assert control.asked.count("seal p") > 1
    assert [memtable.memory_bytes <= 32 << 10 for memtable in tree.core.current_view().memtables]
    assert [first for first, _, _ in control.records()] == list(range(1, 201))
    assert len(list(tree.scan_keys())) == 200


def test_a_record_larger_than_a_journal_gets_one_of_its_own(tmp_path: Path) -> None:
    control = Control(tmp_path, journal_bytes=5000, memtable_bytes=16 << 10)
    tree = control.tree()
    tree.insert(b"small", b"v")
    tree.insert(b"large", b"v" * 100_000)
    batch = WriteBatch(control.commit)
    for i in range(50):
        batch.insert(tree, b"%04d" % i, b"w" * 3000)
    batch.write_now()
    assert tree.get(b"large") == b"v" * 100_000
    assert len(control.records()[-1][2]) == 50


def test_a_refusal_comes_before_the_record(control: Control) -> None:
    tree = control.tree()
    control.commit.attend(REFUSE, True)
    batch = WriteBatch(control.commit)
    batch.insert(tree, b"k", b"v")
    empty = WriteBatch(control.commit)
    for write in (lambda: tree.insert(b"k", b"v"), batch.write_now, empty.write_now):
        with pytest.raises(ClosedError):
            write()
    assert control.records() == []
    control.commit.attend(REFUSE, False)
    batch.write_now()  # it was not lost
    assert len(control.records()) == 1


def test_a_dropped_partition_is_refused_even_in_a_filled_batch(control: Control) -> None:
    kept, dropped = control.tree("kept"), control.tree("dropped")
    batch = WriteBatch(control.commit)
    batch.insert(kept, b"k", b"v")
    batch.insert(dropped, b"k", b"v")
    dropped.core.refuse()
    with pytest.raises(ClosedError, match="dropped"):
        batch.write_now()
    assert control.records() == []
    assert kept.get(b"k") is None


def test_pressure_is_attended_to_and_durability_asked_for(control: Control) -> None:
    tree = control.tree()
    control.commit.attend(PRESSURE, True)
    tree.insert(b"a", b"1")
    control.commit.attend(PRESSURE, False)
    control.commit.note_unfinished(1)  # else the kernel syncs by itself: test_group_commit.py
    control.commit.attend(DURABLE, True)
    tree.insert(b"b", b"2")
    tree.insert_many([(b"c", b"3"), (b"d", b"4")])
    batch = WriteBatch(control.commit)
    batch.insert(tree, b"e", b"5")
    batch.write_now(durable=False)
    control.commit.attend(DURABLE, False)
    batch = WriteBatch(control.commit)
    batch.insert(tree, b"f", b"6")
    batch.write_now(durable=True)
    assert control.asked == ["relieve", "persist", "persist", "persist"]
    assert control.persisted == [2, 4, 6]


def test_a_clock_that_raises_stops_the_write(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = control.tree()

    def broken() -> int:
        raise RuntimeError("no time")

    from fjeld.kernel.commit import Commit

    commit = Commit(control, broken)
    commit.replace_journal(control.commit.active_journal)
    core = type(tree.core)(commit, 9, "late", 1 << 20, tree.core.current_view())
    with pytest.raises(RuntimeError, match="no time"):
        Tree(core).insert(b"k", b"v")
    assert control.records() == []
    commit.replace_journal(None)
