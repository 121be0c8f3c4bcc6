"""A full disk: OSError(ENOSPC), all stays readable, nothing acknowledged is lost, it goes on afterwards."""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from tests.small import SMALL_PARTITION
from tests.support import content_at, content_of, crash_copy, digest_at, leftovers, opened, settle, tree_of

FOR_EVER = 1_000_000
VALUE_BYTES = 500


def fill_up(operation: str, path_contains: str) -> None:
    files.inject(operation, 0, errno.ENOSPC, path_contains=path_contains, count=FOR_EVER)


def key(number: int) -> bytes:
    return b"%06d" % number


def value(number: int) -> bytes:
    return random.Random(number).randbytes(VALUE_BYTES)  # nothing that could be compressed


def write_until_full(partition: fjeld.Partition, written: dict[bytes, bytes], most: int = 5000) -> int:
    """Insert until the disk is full; `written` gets what was acknowledged. Gives what failed."""
    for number in range(most):
        try:
            partition.insert(key(number), value(number))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            return number
        written[key(number)] = value(number)
    raise AssertionError(f"{most} writes, and the disk is not full")


def go_on(keyspace: fjeld.Keyspace, written: dict[bytes, bytes]) -> None:
    """There is space: writing, flushing and compaction work again."""
    partition = keyspace.partition("a")
    for number in range(100_000, 100_100):
        partition.insert(key(number), value(number))
        written[key(number)] = value(number)
    keyspace.flush()
    keyspace.compact()
    assert content_of(keyspace)["a"] == written
    keyspace._engine.maintainer._retry_now()  # not after half a second
    settle(keyspace)
    stats = keyspace.stats()
    assert not stats["poisoned"]
    assert stats["failure"] is None
    keyspace._engine.store.version.check()


# ---- the journal ----


@pytest.mark.parametrize("mapped", [True, False])
def test_no_space_for_the_next_journal(path: Path, tmp_path: Path, mapped: bool) -> None:
    written: dict[bytes, bytes] = {}
    with opened(path, memtable_bytes=1 << 20, mapped_journal=mapped) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        settle(keyspace)
        fill_up("allocate", "journals")
        failed = write_until_full(partition, written)
        assert failed >= 32 * 1024 // VALUE_BYTES // 2, "the journals that were ready are used first"
        assert partition.get(key(failed)) is None, "what failed was not written"
        with pytest.raises(OSError, match="No space left") as caught:
            partition.insert(key(failed), value(failed))
        assert caught.value.errno == errno.ENOSPC
        assert "journals" in str(caught.value.filename)
        assert dict(partition.items()) == written
        assert content_at(crash_copy_without_faults(path, tmp_path / "crashed"))["a"] == written
        go_on(keyspace, written)
    assert content_at(path) == {"a": written}


def crash_copy_without_faults(path: Path, target: Path) -> Path:
    """What a process killed now would leave; it is opened on a disk that has space."""
    files.clear_faults()
    return crash_copy(path, target)


def test_a_batch_that_finds_no_space_is_not_there_at_all(path: Path) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        a, b = keyspace.partition("a"), keyspace.partition("b")
        a.insert(b"before", b"1")
        settle(keyspace)
        fill_up("allocate", "journals")
        with pytest.raises(OSError, match="No space left"), keyspace.batch() as batch:
            for number in range(200):  # more than a journal holds
                batch.insert(a, key(number), value(number))
                batch.insert(b, key(number), value(number))
        assert content_of(keyspace) == {"a": {b"before": b"1"}, "b": {}}
        a.insert(b"small", b"fits")  # into the journal that is there
        files.clear_faults()
        with keyspace.batch() as batch:
            for number in range(200):
                batch.insert(b, key(number), value(number))
        assert len(dict(b.items())) == 200
    assert content_at(path)["a"] == {b"before": b"1", b"small": b"fits"}


def test_a_backup_that_finds_no_space_for_a_journal(path: Path, tmp_path: Path) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a")
        settle(keyspace)
        written: dict[bytes, bytes] = {}
        fill_up("allocate", "journals")
        write_until_full(partition, written)
        with pytest.raises(OSError, match="No space left"):
            keyspace.backup_to(tmp_path / "checkpoint")
        assert not (tmp_path / "checkpoint").exists()
        assert leftovers(tmp_path) == []
        files.clear_faults()
        keyspace.backup_to(tmp_path / "checkpoint")
        assert content_at(tmp_path / "checkpoint") == {"a": written}


# ---- tables ----


@pytest.mark.parametrize("operation", ["create", "write"])
def test_no_space_for_a_table(path: Path, operation: str) -> None:
    written: dict[bytes, bytes] = {}
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        fill_up(operation, ".sst")
        write_until_full(partition, written)  # memtables wait until there are too many
        with pytest.raises(OSError, match="No space left"):
            keyspace.flush()
        assert dict(partition.items()) == written
        assert list((path / "tables").iterdir()) == []
        assert keyspace.stats()["failure"] is not None
        files.clear_faults()
        go_on(keyspace, written)
    assert content_at(path) == {"a": written}


def test_no_space_in_a_compaction(path: Path) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        keyspace._engine.maintainer.pause_compaction()
        written = {}
        for part in range(3):
            for number in range(part, 60, 2):
                partition.insert(key(number), value(number + part))
                written[key(number)] = value(number + part)
            keyspace.flush()
        settle(keyspace)
        before = tree_of(path / "tables")
        files.inject("write", 3, errno.ENOSPC, path_contains=".sst", count=FOR_EVER)
        with pytest.raises(OSError, match="No space left"):
            keyspace.compact()
        assert tree_of(path / "tables") == before, "the half-written tables are gone, the inputs are there"
        assert dict(partition.items()) == written
        files.clear_faults()
        go_on(keyspace, written)
    assert content_at(path) == {"a": written}


# ---- the manifest ----


@pytest.mark.parametrize("operation", ["write", "pwrite_short"])
def test_no_space_for_an_edit(path: Path, operation: str) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        partition.insert(b"k", b"v")
        settle(keyspace)
        fill_up(operation, "MANIFEST")
        with pytest.raises(OSError, match="No space left"):
            keyspace.partition("b")
        with pytest.raises(OSError, match="No space left"):
            keyspace.flush()
        with pytest.raises(OSError, match="No space left"):
            partition.clear()
        with pytest.raises(OSError, match="No space left"):
            keyspace.drop_partition("a")
        assert keyspace.partitions() == ["a"]
        partition.insert(b"l", b"w")  # a drop that failed refuses no writes
        assert dict(partition.items()) == {b"k": b"v", b"l": b"w"}
        files.clear_faults()
        keyspace.partition("b").insert(b"m", b"x")
        go_on_with = {b"k": b"v", b"l": b"w"}
        go_on(keyspace, go_on_with)
    assert content_at(path) == {"a": go_on_with, "b": {b"m": b"x"}}


# ---- opening and closing ----


@pytest.mark.parametrize("pattern", [".sst", "MANIFEST", "journals"])
def test_closing_on_a_full_disk_loses_nothing(path: Path, pattern: str) -> None:
    keyspace = opened(path, memtable_bytes=1 << 20)
    partition = keyspace.partition("a")
    for number in range(50):
        partition.insert(key(number), value(number))
    settle(keyspace)
    for operation in ("create", "write", "allocate"):
        fill_up(operation, pattern)
    keyspace.close()
    files.clear_faults()
    assert content_at(path) == {"a": {key(number): value(number) for number in range(50)}}


@pytest.mark.parametrize(
    ("operation", "pattern"),
    [("write", "MANIFEST"), ("create", "MANIFEST"), ("write", "CURRENT"), ("allocate", "journals")],
)
def test_opening_on_a_full_disk(path: Path, tmp_path: Path, operation: str, pattern: str) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        keyspace.partition("a").insert(b"k", b"v")
        crashed = crash_copy(path, tmp_path / "crashed")
    for _ in range(3):
        fill_up(operation, pattern)
        with pytest.raises(OSError, match="No space left"):
            opened(crashed)
        files.clear_faults()
    assert content_at(crashed) == {"a": {b"k": b"v"}}


def test_creating_on_a_full_disk(path: Path) -> None:
    fill_up("write", "")
    with pytest.raises(OSError, match="No space left"):
        opened(path)
    files.clear_faults()
    with opened(path) as keyspace:
        keyspace.partition("a").insert(b"k", b"v")
    assert content_at(path) == {"a": {b"k": b"v"}}


@pytest.mark.parametrize("link", ["auto", "never"])
@pytest.mark.parametrize("operation", ["write", "copy", "link", "mkdir"])
def test_a_target_that_fills_up(path: Path, tmp_path: Path, operation: str, link: str) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a")
        for number in range(50):
            partition.insert(key(number), value(number))
        keyspace.flush()
        partition.insert(b"in the journal", b"v")
        expected = keyspace.digest()
        settle(keyspace)
        fill_up(operation, "staging")
        full = False
        try:
            keyspace.backup_to(tmp_path / "checkpoint", link=link)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            full = True
        assert full or operation in ("copy", "link")  # another way was found
        assert (tmp_path / "checkpoint").exists() is not full
        assert leftovers(tmp_path) == []
        files.clear_faults()
        keyspace.backup_to(tmp_path / "another", link=link)
        assert keyspace.digest() == expected
    assert digest_at(tmp_path / "another") == expected


# ---- a real one ----


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command to make a small file system with")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if made.returncode != 0:
        pytest.skip(f"a small file system can not be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_real_disk_fills_up(small_disk: Path, mapped: bool) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2400 * 1024))
    written: dict[bytes, bytes] = {}
    with opened(small_disk / "keyspace", mapped_journal=mapped) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        write_until_full(partition, written)
        assert len(written) > 100
        assert dict(partition.items()) == written
        ballast.unlink()
        go_on(keyspace, written)
    with opened(small_disk / "keyspace") as keyspace:
        assert content_of(keyspace) == {"a": written}


def fill_to_the_last_byte(file: Path) -> None:
    with pytest.raises(OSError, match="No space left"), open(file, "wb", 0) as ballast:
        while True:
            ballast.write(bytes(4096))


def test_a_real_disk_without_a_byte_left(small_disk: Path) -> None:
    path = small_disk / "keyspace"
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a")
        expected = {key(number): value(number) for number in range(20)}
        for name, content in expected.items():
            partition.insert(name, content)
        settle(keyspace)
        fill_to_the_last_byte(small_disk / "ballast")
        partition.insert(b"k", b"v")  # the journal has its space already
        expected[b"k"] = b"v"
        with pytest.raises(OSError, match="No space left"):
            keyspace.flush()
        assert dict(partition.items()) == expected
    fill_to_the_last_byte(small_disk / "more")  # what closing has let go
    with pytest.raises(OSError, match="No space left"):
        opened(path)
    (small_disk / "ballast").unlink()
    with opened(path) as keyspace:
        assert content_of(keyspace) == {"a": expected}
