"""What no caller should give: refused by kind, before anything is written."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld.kernel import files

Call = Callable[[fjeld.Keyspace, fjeld.Partition], Any]


@pytest.fixture
def ks(path: Path) -> Iterator[fjeld.Keyspace]:
    with fjeld.open(path) as keyspace:
        yield keyspace


WRONG_TYPES: dict[str, Call] = {
    "insert str key": lambda ks, p: p.insert("k", b"v"),
    "insert str value": lambda ks, p: p.insert(b"k", "v"),
    "insert None": lambda ks, p: p.insert(b"k", None),
    "insert int": lambda ks, p: p.insert(b"k", 5),
    "insert without a value": lambda ks, p: p.insert(b"k"),
    "set str key": lambda ks, p: p.__setitem__("k", b"v"),
    "set None": lambda ks, p: p.__setitem__(b"k", None),
    "setdefault None": lambda ks, p: p.setdefault(b"new"),
    "update str": lambda ks, p: p.update({"k": b"v"}),
    "get str": lambda ks, p: p.get("k"),
    "get None": lambda ks, p: p.get(None),
    "item str": lambda ks, p: p["k"],
    "item int": lambda ks, p: p[0],
    "item slice": lambda ks, p: p[b"a":b"b"],
    "delete str": lambda ks, p: p.__delitem__("k"),
    "contains str": lambda ks, p: "k" in p,
    "remove str": lambda ks, p: p.remove("k"),
    "remove_weak int": lambda ks, p: p.remove_weak(1),
    "pop str": lambda ks, p: p.pop("k"),
    "size_of str": lambda ks, p: p.size_of("k"),
    "get_many of a str": lambda ks, p: p.get_many("keys"),
    "get_many of bytes": lambda ks, p: p.get_many(b"keys"),
    "get_many of nothing": lambda ks, p: p.get_many(None),
    "get_many of mixed": lambda ks, p: p.get_many([b"a", "b"]),
    "insert_many str": lambda ks, p: p.insert_many([(b"a", b"1"), ("b", b"2")]),
    "insert_many None": lambda ks, p: p.insert_many([(b"a", b"1"), (b"b", None)]),
    "insert_many of no pairs": lambda ks, p: p.insert_many([1, 2]),
    "insert_many of nothing": lambda ks, p: p.insert_many(None),
    "range str": lambda ks, p: p.range("a"),
    "range positional": lambda ks, p: p.range(b"a", b"b", True),
    "prefix str": lambda ks, p: p.prefix("a"),
    "prefix None": lambda ks, p: p.prefix(None),
    "cursor str": lambda ks, p: p.cursor(start="a"),
    "cursor positional": lambda ks, p: p.cursor(b"a"),
    "seek str": lambda ks, p: p.cursor().seek("a"),
    "seek None": lambda ks, p: p.cursor().seek(None),
    "partition bytes": lambda ks, p: ks.partition(b"p"),
    "partition None": lambda ks, p: ks.partition(None),
    "partition options": lambda ks, p: ks.partition("q", options={"block_bytes": 4096}),
    "partition keyspace options": lambda ks, p: ks.partition("q", options=fjeld.KeyspaceOptions()),
    "drop bytes": lambda ks, p: ks.drop_partition(b"p"),
    "batch durability": lambda ks, p: ks.batch(durability=True),
    "persist int": lambda ks, p: ks.persist(2),
    "persist str": lambda ks, p: ks.persist("SYNC_ALL"),
    "digest": lambda ks, p: ks.digest(snapshot=p),
    "snapshot partition bytes": lambda ks, p: ks.snapshot().partition(b"p"),
    "open options": lambda ks, p: fjeld.open(ks.path + "2", options={"cache_bytes": 1}),
    "open None": lambda ks, p: fjeld.open(None),
    "open int": lambda ks, p: fjeld.open(3),
}


@pytest.mark.parametrize("call", WRONG_TYPES.values(), ids=WRONG_TYPES.keys())
def test_wrong_types(ks: fjeld.Keyspace, call: Call) -> None:
    p = ks.partition("p")
    p[b"k"] = b"v"
    with pytest.raises(TypeError):
        call(ks, p)
    assert (ks.seqno, dict(p), ks.partitions()) == (1, {b"k": b"v"}, ["p"])


WRONG_VALUES: dict[str, Call] = {
    "insert a long key": lambda ks, p: p.insert(b"k" * 65_536, b"v"),
    "set a long key": lambda ks, p: p.__setitem__(bytearray(65_536), b"v"),
    "remove a long key": lambda ks, p: p.remove(b"k" * 65_536),
    "remove_weak a long key": lambda ks, p: p.remove_weak(b"k" * 65_536),
    "get a long key": lambda ks, p: p.get(b"k" * 65_536),
    "get_many a long key": lambda ks, p: p.get_many([b"k" * 65_536]),
    "contains a long key": lambda ks, p: b"k" * 65_536 in p,
    "range a long key": lambda ks, p: p.range(b"k" * 65_536),
    "insert_many a long key": lambda ks, p: p.insert_many([(b"a", b"1"), (b"k" * 65_536, b"2")]),
    "insert_many no pair": lambda ks, p: p.insert_many([(b"a", b"1"), (b"b",)]),
    "cursor with too much": lambda ks, p: p.cursor(start=b"a", prefix=b"b"),
    "an empty name": lambda ks, p: ks.partition(""),
    "a long name": lambda ks, p: ks.partition("n" * 256),
    "a name with a NUL": lambda ks, p: ks.partition("a\0b"),
    "a lone surrogate": lambda ks, p: ks.partition("\ud800"),
    "block_bytes": lambda ks, p: fjeld.PartitionOptions(block_bytes=1),
    "codec": lambda ks, p: fjeld.PartitionOptions(compression=("gzip",)),
    "memtable_bytes": lambda ks, p: fjeld.KeyspaceOptions(memtable_bytes=0),
}


@pytest.mark.parametrize("call", WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_wrong_values(ks: fjeld.Keyspace, call: Call) -> None:
    p = ks.partition("p")
    p[b"k"] = b"v"
    with pytest.raises(ValueError):
        call(ks, p)
    assert (ks.seqno, dict(p), ks.partitions()) == (1, {b"k": b"v"}, ["p"])


def test_a_str_is_told_to_encode(ks: fjeld.Keyspace) -> None:
    p = ks.partition("p")
    for call in (lambda: p.insert("k", b"v"), lambda: p.insert(b"k", "v"), lambda: p.get("k")):
        with pytest.raises(TypeError, match="encode"):
            call()


def test_the_message_says_how_long(ks: fjeld.Keyspace) -> None:
    with pytest.raises(ValueError, match=r"65,535 bytes, this one has 70,000"):
        ks.partition("p").insert(b"k" * 70_000, b"v")


def test_any_bytes_like_is_taken(ks: fjeld.Keyspace) -> None:
    import array

    class Sub(bytes):
        pass

    p = ks.partition("p")
    p[bytearray(b"a")] = memoryview(b"1")
    p[memoryview(b"xbx")[1:2]] = bytearray(b"2")
    p[Sub(b"c")] = Sub(b"3")
    p[b"d"] = array.array("B", b"4")
    p[memoryview(b"e-f-")[::2]] = memoryview(b"5x6x")[::2]
    assert dict(p) == {b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4", b"ef": b"56"}
    assert {type(part) for entry in p.items() for part in entry} == {bytes}
    assert p.get(Sub(b"c")) == b"3"


def test_every_error_has_its_place_in_the_family() -> None:
    for name in (
        "CorruptionError", "LockedError", "PoisonedError", "ClosedError", "ConflictError", "CancelledError",
        "InvalidOptionError", "UnsupportedFormatError", "NotAKeyspaceError",
    ):  # fmt: skip
        assert issubclass(getattr(fjeld, name), fjeld.FjeldError)
    assert issubclass(fjeld.InvalidOptionError, ValueError)
    assert issubclass(fjeld.NotAKeyspaceError, FileNotFoundError)


def test_a_backup_that_cannot_be_is_refused_before_any_work(ks: fjeld.Keyspace, tmp_path: Path) -> None:
    p = ks.partition("p")
    p[b"k"] = b"v"
    (tmp_path / "there").mkdir()
    journals = ks.stats()["journals"]
    for target, error in (
        (tmp_path / "there", FileExistsError),
        (Path(ks.path), FileExistsError),
        (Path(ks.path) / "inside", ValueError),
        (Path(ks.path) / "tables" / "inside", ValueError),
        (tmp_path / "missing" / "copy", FileNotFoundError),
    ):
        with pytest.raises(error):
            ks.backup_to(target)
    for wrong, error in (
        ({"link": "hard"}, ValueError),
        ({"metadata": "text"}, TypeError),
        ({"metadata": {"a": object()}}, ValueError),
        ({"metadata": {"a": float("nan")}}, ValueError),
    ):
        with pytest.raises(error):
            ks.backup_to(tmp_path / "copy", **wrong)
    with pytest.raises(TypeError):
        ks.backup_to(None)
    assert ks.stats()["journals"] == journals
    assert sorted(name.name for name in tmp_path.iterdir()) == ["keyspace", "there"]


def test_a_full_disk_refuses_writes_and_loses_nothing(path: Path) -> None:
    """Where a journal finds no room: a clean error, reads go on, and so do writes once there is space."""
    from tests.small import small_options

    with fjeld.open(path, options=small_options(journal_bytes=8192)) as ks:
        p = ks.partition("p")
        files.inject("allocate", 0, errno.ENOSPC, count=10_000)
        written = 0
        with pytest.raises(OSError) as met:
            for i in range(10_000):
                p.insert(b"%06d" % i, b"v" * 40)
                written += 1
        assert met.value.errno == errno.ENOSPC
        assert written > 10
        assert len(p) == written
        for _ in range(3):
            with pytest.raises(OSError):
                p.insert_many((b"batch%04d" % i, b"v" * 100) for i in range(200))
        assert len(p) == written
        files.clear_faults()
        for i in range(written, written + 500):
            p.insert(b"%06d" % i, b"v" * 40)
        assert len(p) == written + 500
    with fjeld.open(path) as ks:
        assert len(ks.partition("p")) == written + 500
