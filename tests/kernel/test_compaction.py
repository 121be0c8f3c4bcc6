"""Flush and compaction in the kernel: what is kept, what may go, and where outputs are split."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fjeld.errors import CancelledError, CorruptionError
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.commit import Commit
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.core import TreeCore
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.reader import Reader
from fjeld.kernel.table import TableReader
from fjeld.kernel.table_writer import TableWriter
from fjeld.kernel.view import View
from tests.kernel.layers import (
    TOMBSTONE,
    VALUE,
    WEAK,
    NoControl,
    Operation,
    build,
    histories,
    shapes,
    state_at,
)
from tests.kernel.tables import Version, open_table, order, write

HUGE = 1 << 40


def run(folder: Path, compaction: Compaction, target_bytes: int = HUGE) -> list[list[Version]]:
    """The outputs, one list of versions a table."""
    outputs = []
    for number in itertools.count():
        writer = TableWriter(folder / f"out{number}", keyspace_id="test", number=number, block_bytes=100)
        more = compaction.run(writer, target_bytes)
        if writer.entries:
            writer.finish()
            outputs.append(list(open_table(folder / f"out{number}").scan()))
        else:
            writer.abandon()
        if not more:
            return outputs
    raise AssertionError


# ---- the plain reference ----


def reference(versions: list[Version], snapshots: list[int], drop: bool) -> list[Version]:
    """What is kept, key by key, as the module's text says."""
    kept: list[Version] = []
    for _, group in itertools.groupby(versions, key=lambda version: version[0]):
        stripes: dict[int, list[Version]] = {}
        for version in group:
            stripes.setdefault(sum(snapshot < version[1] for snapshot in snapshots), []).append(version)
        for stripe, members in stripes.items():
            kept += of_stripe(members, beneath_is_nothing=drop and stripe == 0)
    return kept


def of_stripe(members: list[Version], *, beneath_is_nothing: bool) -> list[Version]:
    """Of the versions of one key between two snapshots, newest first, those that are kept."""
    kept: list[Version] = []
    members = list(members)
    while members:
        key, seqno, kind, value = members.pop(0)
        if kind == WEAK and members and members[0][2] == VALUE:
            members.pop(0)  # the two vanish together
        elif kind == WEAK and members and not kept:
            kept.append((key, seqno, TOMBSTONE, b""))  # it met no value: now it hides all there is
        elif (kind == WEAK and not members) or not kept:
            kept.append((key, seqno, kind, value))
        if kept and kept[0][2] == TOMBSTONE:
            members = []
    if not beneath_is_nothing:
        return kept
    return [(key, 0, kind, value) for key, _, kind, value in kept[:1] if kind == VALUE]


snapshots_drawn = st.lists(st.integers(0, 60), max_size=4)


@given(histories(), shapes, snapshots_drawn, st.booleans(), st.sampled_from([1, 300, HUGE]))
@example([(b"k", VALUE, b"1"), (b"k", WEAK, b"")], {
    "cuts": [], "memtables": 1, "runs": 0, "table_entries": 1, "block_bytes": 1, "cache_bytes": 0,
}, [1], False, HUGE)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_against_the_reference(tmp_path_factory, history, shape, snapshots, drop, target) -> None:
    folder = tmp_path_factory.mktemp("t")
    layers = build(folder, history, **shape)
    everything = sorted(
        ((key, i + 1, kind, value) for i, (key, kind, value) in enumerate(history)), key=order
    )
    compaction = Compaction(layers.core.current_view(), snapshots, drop)
    outputs = run(folder, compaction, target)
    kept = list(itertools.chain.from_iterable(outputs))
    assert kept == reference(everything, sorted(set(snapshots)), drop)
    assert compaction.entries_read == len(everything)
    assert compaction.entries_dropped == len(everything) - len(kept)
    for left, right in itertools.pairwise(outputs):
        assert left[-1][0] < right[0][0]  # never two versions of a key in two tables


@given(histories(), shapes, st.integers(0, 60), st.booleans())
@settings(max_examples=200, deadline=None)
def test_what_is_newer_than_the_wanted_seqno_is_not_there(
    tmp_path_factory, history, shape, last, drop
) -> None:
    layers = build(tmp_path_factory.mktemp("t"), history, **shape)
    older = sorted(
        ((key, i + 1, kind, value) for i, (key, kind, value) in enumerate(history) if i + 1 <= last),
        key=order,
    )
    compaction = Compaction(layers.core.current_view(), [], drop, max_seqno=last)
    outputs = run(tmp_path_factory.mktemp("out"), compaction)
    assert list(itertools.chain.from_iterable(outputs)) == reference(older, [], drop)
    assert compaction.entries_read == len(older)


# ---- the law, without the algorithm ----


@st.composite
def lawful(draw: st.DrawFn) -> list[Operation]:
    """A history in which some keys are only inserted once and removed weakly, in turns; the others are used
    at will.
    """
    history: list[Operation] = []
    alive: dict[bytes, bool] = {}
    for key, kind in draw(
        st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"w", b"x"]), st.booleans()), max_size=40)
    ):
        value = b"%d" % len(history)
        if key < b"w":
            history.append((key, VALUE, value) if kind else (key, TOMBSTONE, b""))
        else:
            history.append((key, WEAK, b"") if alive.get(key) else (key, VALUE, value))
            alive[key] = not alive.get(key)
    return history


def reads_the_same(
    folder: Path,
    history: list[Operation],
    parts: list[list[Version]],
    snapshots: list[int],
    steps: list[tuple],
) -> None:
    """Compact neighbouring parts again and again, a snapshot closing now and then; readers must not notice."""
    cache, pool = BlockCache(1 << 20), DescriptorPool(4)
    numbers = itertools.count()

    def table(versions: list[Version]) -> TableReader:
        name = folder / f"in{next(numbers)}"
        write(name, versions)
        return TableReader(name, cache, pool)

    layers = [versions for versions in parts if versions]  # newest first
    snapshots = sorted(set(snapshots))
    for first, width, closes in steps:
        if closes and snapshots:
            snapshots.pop(first % len(snapshots))
        if layers:
            first %= len(layers)
            chosen = layers[first : first + width]
            lowest = first + len(chosen) == len(layers)
            compaction = Compaction(View((), (tuple(table(part) for part in chosen),)), snapshots, lowest)
            inner = folder / f"step{next(numbers)}"
            inner.mkdir()
            merged = list(itertools.chain.from_iterable(run(inner, compaction)))
            layers[first : first + len(chosen)] = [merged] if merged else []
        commit = Commit(NoControl())
        commit.start_at(len(history))
        view = View((MemtableOwner(),), (tuple(table(part) for part in layers),))
        core = TreeCore(commit, 1, "p", 1 << 20, view)
        for seqno in (*snapshots, len(history)):
            reader = Reader(core)
            reader.fix(seqno)
            expected = state_at(history, seqno)
            assert dict(reader.scan_items()) == expected
            assert {key: reader.get(key) for key in expected} == expected
            assert all(key in expected or reader.get(key) is None for key in (b"a", b"b", b"c", b"w", b"x"))


@given(
    lawful(),
    st.lists(st.integers(0, 40), max_size=5),
    st.lists(st.integers(0, 40), max_size=4),
    st.lists(st.tuples(st.integers(0, 10), st.integers(1, 4), st.booleans()), min_size=1, max_size=6),
)
@example(
    [(b"w", VALUE, b"1"), (b"w", WEAK, b""), (b"w", VALUE, b"3"), (b"w", WEAK, b"")], [1], [], [(0, 1, False)]
)
@example(  # the weak tombstone in the middle lies under a newer value; it still has a value of its own to remove
    [(b"w", VALUE, b"1"), (b"w", WEAK, b""), (b"w", VALUE, b"3"), (b"w", WEAK, b"")],
    [1, 3],
    [],
    [(1, 1, False), (0, 2, False)],
)
@example(
    [(b"w", VALUE, b"1"), (b"w", WEAK, b""), (b"w", VALUE, b"3"), (b"w", WEAK, b"")],
    [3],
    [1],
    [(1, 1, False), (1, 1, True), (0, 2, False)],
)
@settings(max_examples=300, deadline=None)
def test_readers_notice_nothing(tmp_path_factory, history, cuts, snapshots, steps) -> None:
    bounds = sorted({0, *(min(cut, len(history)) for cut in cuts), len(history)}, reverse=True)
    parts = [
        sorted(
            ((key, i + 1, kind, value) for i, (key, kind, value) in enumerate(history) if low <= i < high),
            key=order,
        )
        for high, low in itertools.pairwise(bounds)
    ]
    reads_the_same(
        tmp_path_factory.mktemp("t"), history, parts, [min(s, len(history)) for s in snapshots], steps
    )


# ---- cases ----


def compact(
    tmp_path: Path, versions: list[tuple[int, int]], snapshots: list[int], drop: bool
) -> list[tuple[int, int]]:
    """(seqno, kind) of what is kept of one key."""
    memtable = MemtableOwner()
    for seqno, kind in sorted(versions):
        memtable.insert(b"k", seqno, kind, b"v" if kind == VALUE else b"")
    outputs = run(tmp_path, Compaction(View((memtable,), ()), snapshots, drop))
    return [(seqno, kind) for output in outputs for _, seqno, kind, _ in output]


@pytest.mark.parametrize(
    ("versions", "snapshots", "drop", "kept"),
    [
        ([(5, VALUE), (4, VALUE)], [], False, [(5, VALUE)]),
        ([(5, VALUE), (4, VALUE)], [], True, [(0, VALUE)]),
        ([(5, VALUE), (4, VALUE)], [4], False, [(5, VALUE), (4, VALUE)]),
        ([(5, VALUE), (4, VALUE)], [4], True, [(5, VALUE), (0, VALUE)]),
        ([(5, VALUE), (4, VALUE)], [5], False, [(5, VALUE)]),
        ([(5, VALUE), (4, VALUE)], [3], True, [(5, VALUE)]),  # snapshot 3 sees neither; it must go on so
        ([(5, TOMBSTONE), (4, VALUE)], [], False, [(5, TOMBSTONE)]),
        ([(5, TOMBSTONE), (4, VALUE)], [], True, []),
        ([(5, TOMBSTONE), (4, VALUE)], [4], True, [(5, TOMBSTONE), (0, VALUE)]),
        ([(5, TOMBSTONE)], [7], True, []),
        ([(5, TOMBSTONE)], [3], True, [(5, TOMBSTONE)]),
        ([(5, WEAK), (4, VALUE)], [], False, []),
        ([(5, WEAK), (4, VALUE)], [4], False, [(5, WEAK), (4, VALUE)]),
        ([(5, WEAK)], [], False, [(5, WEAK)]),
        ([(5, WEAK)], [], True, []),
        ([(5, WEAK), (4, TOMBSTONE)], [], False, [(5, TOMBSTONE)]),
        ([(5, WEAK), (4, VALUE), (3, WEAK), (2, VALUE)], [], False, []),
        ([(5, WEAK), (4, VALUE), (3, WEAK)], [], False, [(3, WEAK)]),
        ([(5, WEAK), (4, VALUE), (3, TOMBSTONE)], [], False, [(3, TOMBSTONE)]),
        ([(5, VALUE), (4, WEAK), (3, VALUE)], [], False, [(5, VALUE)]),
        ([(5, VALUE), (4, WEAK)], [], False, [(5, VALUE), (4, WEAK)]),
        ([(5, VALUE), (4, WEAK)], [], True, [(0, VALUE)]),
        ([(5, VALUE), (4, TOMBSTONE)], [], False, [(5, VALUE)]),
    ],
)
def test_of_one_key(tmp_path: Path, versions, snapshots, drop, kept) -> None:
    assert compact(tmp_path, versions, snapshots, drop) == kept
    assert list(reference([(b"k", *v, b"") for v in versions], snapshots, drop)) == [
        (b"k", *v, b"") for v in kept
    ]


def test_a_run_that_never_ends_a_key_makes_one_table(tmp_path: Path) -> None:
    memtable = MemtableOwner()
    for seqno in range(1, 400):
        memtable.insert(b"k", seqno, VALUE, b"v" * 100)
    outputs = run(tmp_path, Compaction(View((memtable,), ()), list(range(1, 400)), False), target_bytes=1000)
    assert [len(output) for output in outputs] == [399]


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    assert run(tmp_path, Compaction(View((MemtableOwner(),), ()), [], True)) == []


def test_cancelled_from_another_thread(tmp_path: Path) -> None:
    memtable = MemtableOwner()
    for seqno in range(1, 20_000):
        memtable.insert(b"%08d" % seqno, seqno, VALUE, b"v")
    compaction = Compaction(View((memtable,), ()), [], False)
    canceller = threading.Thread(target=compaction.cancel)
    canceller.start()
    canceller.join()
    writer = TableWriter(tmp_path / "out", keyspace_id="test", number=1)
    with pytest.raises(CancelledError):
        compaction.run(writer, HUGE)
    assert compaction.entries_read < 19_999
    writer.abandon()


def test_damage_in_an_input_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "in", [(b"%05d" % i, i + 1, VALUE, b"v" * 30) for i in range(500)], block_bytes=200)
    data = bytearray((tmp_path / "in").read_bytes())
    data[4000] ^= 1
    (tmp_path / "in").chmod(0o644)
    (tmp_path / "in").write_bytes(data)
    compaction = Compaction(View((), ((open_table(tmp_path / "in"),),)), [], True)
    writer = TableWriter(tmp_path / "out", keyspace_id="test", number=1)
    with pytest.raises(CorruptionError) as met:
        compaction.run(writer, HUGE)
    assert met.value.path == str(tmp_path / "in")
    writer.abandon()
