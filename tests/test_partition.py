"""A partition is a mapping of bytes to bytes, in order, and more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

import pytest

import fjeld
from fjeld.mapping import ReaderItems, ReaderKeys, ReaderMapping, ReaderValues
from tests.small import SMALL_PARTITION

ENTRIES = {b"a": b"1", b"b": b"2", b"ba": b"3", b"c": b"4"}


@pytest.fixture
def ks(path: Path, small: fjeld.KeyspaceOptions) -> Iterator[fjeld.Keyspace]:
    with fjeld.open(path, options=small) as keyspace:
        yield keyspace


@pytest.fixture(params=["memtable", "level 0", "one run", "all of them"])
def p(ks: fjeld.Keyspace, request: pytest.FixtureRequest) -> fjeld.Partition:
    """ENTRIES, lying in different places."""
    partition = ks.partition("p", options=SMALL_PARTITION)
    for key, value in ENTRIES.items():
        partition[key] = value
        if request.param == "all of them" and key == b"a":
            partition[b"gone"] = b"x"
            partition.compact()
        if request.param == "all of them" and key == b"b":
            partition.remove(b"gone")
            partition.flush()
    if request.param == "level 0":
        partition.flush()
    if request.param == "one run":
        partition.compact()
    return partition


# ---- the mapping ----


def test_it_is_a_mapping(p: fjeld.Partition) -> None:
    assert isinstance(p, MutableMapping)
    assert isinstance(p, Mapping)
    assert dict(p) == ENTRIES
    assert len(p) == 4
    assert list(p) == list(ENTRIES)
    assert list(reversed(p)) == list(ENTRIES)[::-1]
    assert p[b"a"] == b"1"
    assert b"a" in p
    assert b"x" not in p
    with pytest.raises(KeyError) as met:
        p[b"x"]
    assert met.value.args == (b"x",)
    p[b"x"] = b"5"
    assert p[b"x"] == b"5"
    del p[b"x"]
    with pytest.raises(KeyError) as met:
        del p[b"x"]
    assert met.value.args == (b"x",)


def test_the_methods_of_mappings(p: fjeld.Partition) -> None:
    assert p.get(b"a") == b"1"
    assert p.get(b"x") is None
    assert p.get(b"x", b"default") == b"default"
    assert p.get(b"x", default=7) == 7
    assert p.pop(b"a") == b"1"
    assert p.pop(b"a", b"default") == b"default"
    with pytest.raises(KeyError):
        p.pop(b"a")
    assert p.setdefault(b"b", b"other") == b"2"
    assert p.setdefault(b"new", b"value") == b"value"
    p.update(
        {b"b": b"22"},
    )
    p.update([(b"c", b"44")])
    assert dict(p) == {b"b": b"22", b"ba": b"3", b"c": b"44", b"new": b"value"}
    assert p.popitem() == (b"b", b"22")
    p.clear()
    assert dict(p) == {}
    with pytest.raises(KeyError):
        p.popitem()
    with pytest.raises(KeyError):
        del p[b"c"]


def test_views(p: fjeld.Partition) -> None:
    keys, values, items = p.keys(), p.values(), p.items()
    assert (type(keys), type(values), type(items)) == (ReaderKeys, ReaderValues, ReaderItems)
    assert list(keys) == list(ENTRIES)
    assert list(values) == list(ENTRIES.values())
    assert list(items) == list(ENTRIES.items())
    for view in (keys, values, items):
        assert list(reversed(view)) == list(view)[::-1]
        assert len(view) == 4
    assert b"a" in keys
    assert b"x" not in keys
    assert b"4" in values
    assert b"5" not in values
    assert (b"a", b"1") in items
    assert (b"a", b"2") not in items
    assert (b"x", b"1") not in items
    assert keys & {b"a", b"x"} == {b"a"}
    assert keys - {b"a"} == {b"b", b"ba", b"c"}
    assert items == ENTRIES.items()
    p[b"d"] = b"5"
    assert len(keys) == len(list(values)) == len(list(items)) == 5  # views follow


def test_truth_is_cheap(ks: fjeld.Keyspace, monkeypatch: pytest.MonkeyPatch) -> None:
    p = ks.partition("empty")
    monkeypatch.delattr(ReaderMapping, "__len__")
    assert not p
    p[b"k"] = b"v"
    assert p


def test_equality_is_identity(ks: fjeld.Keyspace) -> None:
    a, b = ks.partition("a"), ks.partition("b")
    assert a == a
    assert a != b
    assert a != {}
    assert {a: 1}[a] == 1


def test_it_says_what_it_is(ks: fjeld.Keyspace, p: fjeld.Partition) -> None:
    assert p.name == "p"
    assert p.options == SMALL_PARTITION
    assert "'p'" in repr(p)
    assert str(ks.path) in repr(p)


# ---- look-ups ----


def test_get_many(p: fjeld.Partition) -> None:
    assert p.get_many([b"c", b"x", b"a", b"a", bytearray(b"b")]) == [b"4", None, b"1", b"1", b"2"]
    assert p.get_many(iter([b"c"])) == [b"4"]
    assert p.get_many([]) == []
    assert p.get_many({b"a": 1, b"b": 2}) == [b"1", b"2"]


def test_get_many_is_one_moment(p: fjeld.Partition) -> None:
    def keys() -> Iterator[bytes]:
        yield b"a"
        p.insert_many([(b"a", b"new"), (b"c", b"new")])
        p.flush()
        p.compact()
        yield b"c"

    assert p.get_many(keys()) == [b"1", b"4"]
    assert p.get_many([b"a", b"c"]) == [b"new", b"new"]


def test_size_of(p: fjeld.Partition) -> None:
    p[b"large"] = b"v" * 100_000
    p[b"empty"] = b""
    assert p.size_of(b"large") == 100_000
    assert p.size_of(b"empty") == 0
    assert p.size_of(b"x") is None


def test_empty_values_and_keys_are_there(p: fjeld.Partition) -> None:
    p[b""] = b""
    assert b"" in p
    assert p[b""] == b""
    assert p.first() == (b"", b"")
    p.flush()
    p.compact()
    assert p.first() == (b"", b"")
    assert p.get(b"", None) == b""


def test_values_of_all_sizes(p: fjeld.Partition) -> None:
    sizes = [0, 1, 255, 256, 4095, 4096, 65_535, 65_536, 1_000_000]
    for size in sizes:
        p[b"size/%08d" % size] = bytes(size)
    for _ in range(2):
        assert [len(value) for _, value in p.prefix(b"size/")] == sizes
        assert p.get_many(b"size/%08d" % size for size in sizes) == [bytes(size) for size in sizes]
        p.compact()


def test_keys_of_all_sizes(p: fjeld.Partition) -> None:
    names = [b"k" * size for size in (1, 7, 8, 9, 255, 256, 4096, 65_534, 65_535)]
    p.insert_many((name, b"%d" % len(name)) for name in names)
    for _ in range(2):
        assert [key for key, _ in p.prefix(b"k")] == names
        assert p.get_many(names) == [b"%d" % len(name) for name in names]
        p.compact()


# ---- ranges ----


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("with_start", [False, True])
@pytest.mark.parametrize("with_stop", [False, True])
def test_ranges(p: fjeld.Partition, reverse: bool, with_start: bool, with_stop: bool) -> None:
    ends = [None, b"", b"a", b"a\x00", b"b", b"bb", b"c", b"zz"]
    for start, stop in itertools.product(ends, ends):
        expected = [
            (key, value)
            for key, value in ENTRIES.items()
            if (start is None or key > start or (with_start and key == start))
            and (stop is None or key < stop or (with_stop and key == stop))
        ]
        found = p.range(start, stop, include_start=with_start, include_stop=with_stop, reverse=reverse)
        assert list(found) == (expected[::-1] if reverse else expected)


def test_the_default_range_is_half_open(p: fjeld.Partition) -> None:
    assert [key for key, _ in p.range(b"a", b"c")] == [b"a", b"b", b"ba"]


def test_prefixes(p: fjeld.Partition) -> None:
    assert list(p.prefix(b"b")) == [(b"b", b"2"), (b"ba", b"3")]
    assert list(p.prefix(b"b", reverse=True)) == [(b"ba", b"3"), (b"b", b"2")]
    assert list(p.prefix(b"")) == list(ENTRIES.items())
    assert list(p.prefix(b"x")) == []
    p[b"\xff"] = p[b"\xff\xff"] = p[b"\xff\xff\x01"] = p[b"\xfe\xff"] = b"v"
    assert [key for key, _ in p.prefix(b"\xff")] == [b"\xff", b"\xff\xff", b"\xff\xff\x01"]
    assert [key for key, _ in p.prefix(b"\xff\xff", reverse=True)] == [b"\xff\xff\x01", b"\xff\xff"]
    assert [key for key, _ in p.prefix(b"\xfe\xff")] == [b"\xfe\xff"]


def test_first_and_last(p: fjeld.Partition) -> None:
    assert p.first() == (b"a", b"1")
    assert p.last() == (b"c", b"4")
    assert not p.is_empty()
    p.clear()
    assert p.first() is None
    assert p.last() is None
    assert p.is_empty()


def test_order_is_by_unsigned_bytes(p: fjeld.Partition) -> None:
    p.clear()
    names = [bytes(pair) for pair in itertools.product([0, 1, 127, 128, 255], repeat=2)] + [
        b"",
        b"\x00",
        b"\xff",
    ]
    p.insert_many((name, b"") for name in reversed(names))
    assert list(p) == sorted(names)
    p.compact()
    assert list(p) == sorted(names)


# ---- iterators ----


@pytest.mark.parametrize("reverse", [False, True])
def test_an_iterator_sees_its_creation(p: fjeld.Partition, reverse: bool) -> None:
    before = sorted(ENTRIES.items(), reverse=reverse)
    iterators = [p.range(reverse=reverse) for _ in range(4)]
    assert next(iterators[0]) == before[0]
    p[b"bb"] = b"new"
    p[b"c"] = b"changed"
    p.remove(b"a")
    assert list(iterators[1]) == before
    p.flush()
    p.compact()
    assert list(iterators[2]) == before
    p.clear()
    assert [before[0], *iterators[0]] == before
    assert list(iterators[3]) == before


def test_writing_while_iterating(p: fjeld.Partition) -> None:
    for key, value in p.items():
        p[key] = value * 2
        p[key + b"/copy"] = value
    assert len(p) == 8
    for key in p:
        del p[key]
    assert len(p) == 0


def test_cursor(p: fjeld.Partition) -> None:
    with p.cursor() as cursor:
        assert not cursor.valid
        assert cursor.seek(b"b")
        assert (cursor.key, cursor.value) == (b"b", b"2")
        assert cursor.next()
        assert cursor.key == b"ba"
        assert cursor.prev()
        assert cursor.prev()
        assert cursor.key == b"a"
        assert not cursor.prev()
        assert not cursor.valid
        assert cursor.next()
        assert cursor.key == b"a"
        assert cursor.seek_for_prev(b"bz")
        assert cursor.key == b"ba"
        assert cursor.seek_last()
        assert not cursor.next()
        assert cursor.prev()
        assert cursor.key == b"c"
        assert not cursor.seek(b"d")
        assert not cursor.seek_for_prev(b"")
        assert cursor.seek_first()
    with pytest.raises(fjeld.ClosedError):
        cursor.next()
    with p.cursor(prefix=b"b") as cursor:
        assert [cursor.key for _ in iter(cursor.next, False)] == [b"b", b"ba"]
    with p.cursor(start=b"b", stop=b"c") as cursor:
        assert cursor.seek_last()
        assert cursor.key == b"ba"
        assert not cursor.seek(b"c")
        assert cursor.seek(b"")
        assert cursor.key == b"b"


def test_a_cursor_sees_its_creation(p: fjeld.Partition) -> None:
    cursor = p.cursor()
    p.clear()
    p[b"new"] = b"v"
    p.compact()
    assert [cursor.key for _ in iter(cursor.next, False)] == list(ENTRIES)


# ---- clearing and removing ----


def test_clear(p: fjeld.Partition, path: Path) -> None:
    p.clear()
    assert (len(p), p.first(), p.get(b"a")) == (0, None, None)
    p[b"a"] = b"after"
    p.clear()
    p[b"b"] = b"after"
    assert dict(p) == {b"b": b"after"}
    p.flush()
    p.compact()
    assert dict(p) == {b"b": b"after"}


def test_a_clear_is_durable_without_a_flush(p: fjeld.Partition, ks: fjeld.Keyspace, path: Path) -> None:
    p.clear()
    p[b"after"] = b"v"
    ks.close()
    with fjeld.open(path) as again:
        assert dict(again.partition("p")) == {b"after": b"v"}


def test_clear_gives_the_space_back(ks: fjeld.Keyspace) -> None:
    p = ks.partition("p", options=SMALL_PARTITION)
    p.insert_many((b"%06d" % i, b"v" * 50) for i in range(2000))
    p.flush()
    assert p.disk_space() > 10_000
    p.clear()
    assert p.disk_space() == 0
    assert p.approximate_len() == 0


def test_remove_is_blind_and_weak_removal_removes(p: fjeld.Partition) -> None:
    p.remove(b"not there")
    p.remove(b"a")
    p[b"once"] = b"v"
    p.remove_weak(b"once")
    for _ in range(2):
        assert b"a" not in p
        assert b"once" not in p
        assert p.get_many([b"a", b"once", b"b"]) == [None, None, b"2"]
        p.compact()


def test_insert_many_is_atomic(p: fjeld.Partition, ks: fjeld.Keyspace) -> None:
    seqno = ks.seqno

    def pairs() -> Iterator[tuple[bytes, bytes]]:
        yield b"x", b"1"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        p.insert_many(pairs())
    with pytest.raises(TypeError):
        p.insert_many([(b"x", b"1"), (b"y", "text")])
    assert (ks.seqno, b"x" in p) == (seqno, False)
    p.insert_many({b"x": b"1", b"y": b"2"}.items())
    p.insert_many([(b"z", b"1"), (b"z", b"2")])
    assert (p[b"x"], p[b"y"], p[b"z"]) == (b"1", b"2", b"2")


def test_one_batch_larger_than_memtable_and_journal(p: fjeld.Partition, ks: fjeld.Keyspace) -> None:
    p.insert_many((b"%06d" % i, b"v" * 100) for i in range(5000))
    assert len(p) == 5004
    ks.flush()
    assert len(p) == 5004


# ---- sizes ----


def test_approximate_len(ks: fjeld.Keyspace) -> None:
    p = ks.partition("p", options=SMALL_PARTITION)
    assert p.approximate_len() == 0
    p.insert_many((b"%06d" % i, b"v") for i in range(1000))
    assert p.approximate_len() == 1000
    p.compact()
    assert p.approximate_len() == 1000
    for i in range(500):
        p.remove(b"%06d" % i)
    p.compact()
    assert p.approximate_len() == len(p) == 500
