"""Compactions of ranges, outputs that split at given keys, and what a user's filter is asked and may decide."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.kernel.compaction import Compaction
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.table_writer import TableWriter
from fjeld.kernel.view import View
from tests.kernel.layers import TOMBSTONE, VALUE, build, histories, shapes
from tests.kernel.tables import order
from tests.kernel.test_compaction import HUGE, reference, run, snapshots_drawn

Pairs = list[tuple[bytes, bytes]]
keys = st.binary(max_size=3)


# ---- ranges and splits ----


@given(
    histories(), shapes, snapshots_drawn, st.booleans(), st.lists(keys, max_size=4, unique=True).map(sorted)
)
@settings(max_examples=150, deadline=None)
def test_ranges_together_keep_what_one_would(tmp_path_factory, history, shape, snapshots, drop, cuts) -> None:
    folder = tmp_path_factory.mktemp("t")
    view = build(folder, history, **shape).core.current_view()
    versions = sorted(((key, i + 1, kind, value) for i, (key, kind, value) in enumerate(history)), key=order)
    kept = []
    for number, (start, stop) in enumerate(itertools.pairwise([None, *cuts, None])):
        (folder / f"part{number}").mkdir()
        compaction = Compaction(view, snapshots, drop, start=start, stop=stop)
        part = list(itertools.chain.from_iterable(run(folder / f"part{number}", compaction)))
        assert all(start is None or key >= start for key, *_ in part)
        assert all(stop is None or key < stop for key, *_ in part)
        kept += part
    assert kept == reference(versions, sorted(set(snapshots)), drop)


@given(histories(), shapes, st.lists(keys, max_size=5, unique=True).map(sorted), st.sampled_from([300, HUGE]))
@settings(max_examples=150, deadline=None)
def test_outputs_split_at_the_keys_given(tmp_path_factory, history, shape, splits, target) -> None:
    folder = tmp_path_factory.mktemp("t")
    view = build(folder, history, **shape).core.current_view()
    outputs = run(folder, Compaction(view, [], False, splits=tuple(splits)), target)
    for output in outputs:
        first, last = output[0][0], output[-1][0]
        assert not [split for split in splits if first < split <= last]
    (folder / "whole").mkdir()
    whole = run(folder / "whole", Compaction(view, [], False))
    assert list(itertools.chain.from_iterable(outputs)) == list(itertools.chain.from_iterable(whole))


# ---- filters ----


def keep_unless(refused: Callable[[bytes, bytes], bool], seen: Pairs) -> Callable[[Pairs], list[bool]]:
    def decide(pairs: Pairs) -> list[bool]:
        seen.extend(pairs)
        return [not refused(key, value) for key, value in pairs]

    return decide


@given(histories(), shapes, snapshots_drawn, st.booleans(), st.integers(0, 3), st.sampled_from([300, HUGE]))
@settings(max_examples=200, deadline=None)
def test_a_filter_against_the_reference(
    tmp_path_factory, history, shape, snapshots, drop, modulus, target
) -> None:
    def refused(key: bytes, value: bytes) -> bool:
        return modulus > 0 and (sum(key) + len(value)) % modulus == 0

    folder = tmp_path_factory.mktemp("t")
    view = build(folder, history, **shape).core.current_view()
    versions = sorted(((key, i + 1, kind, value) for i, (key, kind, value) in enumerate(history)), key=order)
    newest = max(snapshots, default=0)
    bottom = drop and not snapshots
    asked: Pairs = []
    expected = []
    for key, seqno, kind, value in reference(versions, sorted(set(snapshots)), drop):
        unseen = kind == VALUE and (seqno > newest or (bottom and seqno == 0))
        if unseen:
            asked.append((key, value))
        if not (unseen and refused(key, value)):
            expected.append((key, seqno, kind, value))
        elif not bottom:
            expected.append((key, seqno, TOMBSTONE, b""))
    seen: Pairs = []
    compaction = Compaction(view, snapshots, drop, filter=keep_unless(refused, seen))
    outputs = run(folder, compaction, target)
    assert list(itertools.chain.from_iterable(outputs)) == expected
    assert seen == asked
    assert compaction.entries_refused == sum(refused(*pair) for pair in asked)


def memtable_of(entries: int, value: bytes = b"v") -> MemtableOwner:
    memtable = MemtableOwner()
    for seqno in range(1, entries + 1):
        memtable.insert(b"%08d" % seqno, seqno, VALUE, value)
    return memtable


def test_a_filter_is_asked_in_batches(tmp_path: Path) -> None:
    calls: list[int] = []

    def every_second(pairs: Pairs) -> list[bool]:
        calls.append(len(pairs))
        return [int(key) % 2 == 0 for key, _ in pairs]

    (output,) = run(tmp_path, Compaction(View((memtable_of(5000),), ()), [], True, filter=every_second))
    assert [int(key) for key, *_ in output] == list(range(2, 5001, 2))
    assert calls == [1024, 1024, 1024, 1024, 904]


def test_a_batch_is_bounded_in_bytes(tmp_path: Path) -> None:
    calls: list[int] = []

    def none(pairs: Pairs) -> list[bool]:
        calls.append(len(pairs))
        return [False] * len(pairs)

    outputs = run(tmp_path, Compaction(View((memtable_of(30, bytes(200_000)),), ()), [], True, filter=none))
    assert outputs == []
    assert calls == [6] * 5  # a mebibyte and an entry


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (lambda pairs: [True], ValueError),
        (lambda pairs: [True] * (len(pairs) + 1), ValueError),
        (lambda pairs: None, TypeError),
        (lambda pairs: 1 / 0, ZeroDivisionError),
    ],
)
def test_a_filter_that_fails_decides_nothing(tmp_path: Path, answers, error) -> None:
    compaction = Compaction(View((memtable_of(3000),), ()), [], True, filter=answers)
    writer = TableWriter(tmp_path / "out", keyspace_id="test", number=1)
    with pytest.raises(error):
        compaction.run(writer, HUGE)
    assert compaction.entries_refused == 0
    writer.abandon()
