"""The iterator: lazy, as of its creation, droppable, and never in two threads at once."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import ClosedError, CorruptionError
from fjeld.kernel.commit import Commit
from fjeld.kernel.core import TreeCore
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.reader import Reader
from fjeld.kernel.view import View
from tests.kernel.layers import TOMBSTONE, VALUE, Layers, NoControl, build, histories, shapes, state_at
from tests.kernel.tables import keys

FLAT = {
    "cuts": [40],
    "memtables": 1,
    "runs": 1,
    "table_entries": 5,
    "block_bytes": 100,
    "cache_bytes": 1 << 20,
}


def numbered(count: int) -> list[tuple[bytes, int, bytes]]:
    return [(b"key%05d" % i, VALUE, b"value%d" % i) for i in range(count)]


@given(histories(), shapes, keys)
@settings(max_examples=80, deadline=None)
def test_keys_values_items_and_prefixes(tmp_path_factory, history, shape, prefix) -> None:
    reader = build(tmp_path_factory.mktemp("t"), history, **shape).reader
    state = state_at(history)
    assert list(reader) == list(reader.scan_keys()) == list(state)
    assert list(reversed(reader)) == list(state)[::-1]
    assert list(reader.scan_values()) == list(state.values())
    assert list(reader.scan_values(True)) == list(state.values())[::-1]
    matching = [(key, value) for key, value in state.items() if key.startswith(prefix)]
    assert list(reader.prefix(prefix)) == matching
    assert list(reader.prefix(prefix, reverse=True)) == matching[::-1]


@given(st.lists(st.tuples(keys, st.booleans()), max_size=60), st.lists(keys, max_size=60), st.booleans())
@settings(max_examples=150, deadline=None)
def test_writes_between_two_steps_are_not_seen(before, during, reverse) -> None:
    """The active memtable changes under the iterator: what it sees does not, wherever the new keys fall."""
    memtable, commit = MemtableOwner(), Commit(NoControl())
    state: dict[bytes, bytes] = {}
    seqno = 0
    for seqno, (key, alive) in enumerate(before, 1):
        memtable.insert(key, seqno, VALUE if alive else TOMBSTONE, b"old" if alive else b"")
        if alive:
            state[key] = b"old"
        else:
            state.pop(key, None)
    commit.start_at(seqno)
    scan = Reader(TreeCore(commit, 1, "p", 1 << 20, View((memtable,), ()))).scan_items(reverse)
    seen = []
    for key in during:
        seqno += 1
        memtable.insert(key, seqno, VALUE, b"new")
        commit.start_at(seqno)
        seen += [entry for entry in [next(scan, None)] if entry is not None]
    assert seen + list(scan) == sorted(state.items(), reverse=reverse)


def test_the_end_is_the_end(tmp_path: Path) -> None:
    scan = build(tmp_path, numbered(50), **FLAT).reader.scan_keys()
    assert len(list(scan)) == 50
    assert next(scan, None) is None
    assert next(scan, None) is None
    assert iter(scan) is scan


def test_an_iterator_dropped_half_way_lets_go_of_everything(tmp_path: Path) -> None:
    layers = build(tmp_path, numbered(80), **FLAT)
    for reverse in (False, True):
        scan = layers.reader.scan_items(reverse)
        for _ in range(30):
            next(scan)
        del scan
    gc.collect()
    layers.check()  # no block is held any more but by the cache


class Watched(MemtableOwner):
    """A memtable whose end can be watched."""


def test_an_iterator_keeps_its_view_alive_and_no_longer() -> None:
    memtable = Watched()
    for i in range(100):
        memtable.insert(b"%03d" % i, i + 1, VALUE, b"v")
    commit = Commit(NoControl())
    commit.start_at(100)
    core = TreeCore(commit, 1, "p", 1 << 20, View((memtable,), ()))
    scan = Reader(core).scan_keys()
    core.replace(View((MemtableOwner(),), ()))
    watch = weakref.ref(memtable)
    del memtable
    assert len(list(scan)) == 100
    assert watch() is None  # an exhausted iterator holds nothing, even while somebody holds it


def test_a_refused_partition_ends_its_iterators(tmp_path: Path) -> None:
    layers = build(tmp_path, numbered(80), **FLAT)
    scan = layers.reader.scan_keys()
    next(scan)
    layers.core.refuse()
    with pytest.raises(PermissionError):
        next(scan)
    for call in (layers.reader.scan_keys, layers.reader.range, layers.reader.cursor, layers.reader.first):
        with pytest.raises(PermissionError):
            call()
    layers.core.refuse(False)
    assert next(scan) == b"key00001"


def test_a_released_snapshot_ends_its_iterators(tmp_path: Path) -> None:
    reader = build(tmp_path, numbered(80), **FLAT).at(50)
    scan = reader.scan_keys()
    next(scan)
    reader.release()
    with pytest.raises(ClosedError, match="snapshot"):
        next(scan)
    with pytest.raises(ClosedError):
        reader.get(b"key00001")


def test_damage_ends_an_iterator_for_good(tmp_path: Path) -> None:
    layers = build(tmp_path, numbered(80), **{**FLAT, "cuts": [80], "memtables": 0})
    for file in tmp_path.iterdir():
        data = bytearray(file.read_bytes())
        data[3] ^= 1
        file.chmod(0o644)
        file.write_bytes(data)
    scan = layers.reader.scan_keys()
    with pytest.raises(CorruptionError):
        list(scan)
    assert list(scan) == []


def test_two_threads_share_an_iterator_only_by_turns(tmp_path: Path) -> None:
    """Whoever comes while another is inside gets a ValueError; no entry is lost or given twice."""
    count = 4000
    layers: Layers = build(
        tmp_path,
        numbered(count),
        **{**FLAT, "cuts": [count], "memtables": 0, "table_entries": 500, "cache_bytes": 0},
    )
    scan = layers.reader.scan_keys()
    seen: list[bytes] = []
    failures: list[Exception] = []

    def read() -> None:
        while True:
            try:
                seen.append(next(scan))
            except StopIteration:
                return
            except ValueError as error:
                failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [b"key%05d" % i for i in range(count)]
    assert all("another thread" in str(error) for error in failures)


@pytest.mark.parametrize("bad", ["text", 5, [b"x"]])
def test_bounds_are_bytes(tmp_path: Path, bad: object) -> None:
    reader = build(tmp_path, numbered(3), **FLAT).reader
    for call in (
        lambda: reader.range(bad),
        lambda: reader.range(None, bad),
        lambda: reader.prefix(bad),
        lambda: reader.cursor(start=bad),
        lambda: reader.cursor(prefix=bad),
        lambda: reader.cursor().seek(bad),
        lambda: reader.cursor().seek_for_prev(bad),
        lambda: reader.get(bad),
        lambda: reader.get_many([b"key00001", bad]),
        lambda: reader.size_of(bad),
        lambda: bad in reader,
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError):
        reader.prefix(None)


def test_bounds_may_be_any_bytes_like(tmp_path: Path) -> None:
    reader = build(tmp_path, numbered(20), **FLAT).reader
    start, stop = bytearray(b"key00003"), memoryview(b"key00006")
    scan = reader.range(start, stop)
    start[:] = b"zzzzzzzz"
    assert [key for key, _ in scan] == [b"key00003", b"key00004", b"key00005"]
    assert reader.get(bytearray(b"key00007")) == b"value7"
    assert [key for key, _ in reader.prefix(memoryview(b"key0001"))] == [
        b"key%05d" % i for i in range(10, 20)
    ]
