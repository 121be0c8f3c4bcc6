"""Reading a keyspace that somebody else owns: what is shown, and that nothing is touched."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from fjeld.recovery import limits, moment
from fjeld.sync_points import set_sync_point
from tests.small import SMALL_PARTITION
from tests.support import (
    abandon,
    content_of,
    crash_copy,
    fill,
    journals_of,
    manifest_of,
    opened,
    settle,
    tables_of,
    traced,
)


@pytest.fixture
def path(quick_folder: Path) -> Path:
    return quick_folder / "keyspace"


def make(path: Path) -> fjeld.Keyspace:
    """Entries in tables of several levels, in sealed journals and in the active one."""
    keyspace = opened(path, memtable_bytes=1 << 20)
    for name in ("a", "b"):
        partition = keyspace.partition(name, options=SMALL_PARTITION)
        fill(partition, 150, seed=1)
        partition.flush()
        fill(partition, 150, seed=2, start=100)
    keyspace.partition("c").ingest([(b"%04d" % number, b"i") for number in range(50)])
    keyspace.partition("a").remove(b"%08d" % 7)
    settle(keyspace)
    return keyspace


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---- what is shown ----


def test_a_live_keyspace(path: Path) -> None:
    with make(path) as keyspace, fjeld.open_readonly(path) as reading:
        assert (reading.path, reading.id, reading.parent) == (path, keyspace.id, None)
        assert reading.seqno == keyspace.seqno
        assert reading.partitions() == ["a", "b", "c"]
        assert content_of(reading) == content_of(keyspace)
        assert reading.digest() == keyspace.digest()
        assert "seqno" in repr(reading)


def test_all_ways_of_reading(path: Path) -> None:
    with make(path) as keyspace, fjeld.open_readonly(path, cache_bytes=1 << 16) as reading:
        expected = dict(keyspace.partition("a").items())
        a = reading.partition("a")
        assert reading.partition("a") is a
        assert isinstance(a, fjeld.ReadOnlyPartition)
        assert a.name == "a"
        assert a.options == SMALL_PARTITION
        assert dict(a) == dict(a.items()) == expected
        assert list(reversed(a)) == sorted(expected, reverse=True)
        assert list(a.keys()) == sorted(expected)
        assert list(a.range(b"00000010", b"00000020")) == sorted(expected.items())[9:19]
        assert list(a.prefix(b"0000024")) == [
            pair for pair in sorted(expected.items()) if pair[0] >= b"0000024"
        ]
        assert a.get_many([b"00000001", b"none"]) == [expected[b"00000001"], None]
        assert b"00000007" not in a
        assert a.first() == min(expected.items())
        assert a.last() == max(expected.items())
        assert a.size_of(b"00000001") == 40
        assert len(a) == len(expected)
        assert a
        with a.cursor() as cursor:
            assert cursor.seek(b"00000100")
            assert cursor.key == b"00000100"
        assert a.approximate_len() >= len(a)
        assert a.disk_space() == keyspace.partition("a").disk_space()
        assert a.stats()["tables"] == keyspace.partition("a").stats()["tables"]
        figures = reading.stats()
        assert figures["seqno"] == keyspace.seqno
        assert figures["open_files"] == sum(part["tables"] for part in figures["partitions"].values())
        assert "fjeld_" in fjeld.prometheus_text(reading)
        with pytest.raises(KeyError):
            reading.partition("none")
        with pytest.raises(TypeError):
            reading.partition(b"a")


def test_there_is_no_writing(path: Path) -> None:
    with make(path), fjeld.open_readonly(path) as reading:
        a = reading.partition("a")
        with pytest.raises(TypeError):
            a[b"k"] = b"v"
        with pytest.raises(TypeError):
            del a[b"00000001"]
        for name in (
            "insert",
            "remove",
            "remove_weak",
            "insert_many",
            "ingest",
            "clear",
            "popitem",
            "compact",
        ):
            assert not hasattr(a, name)
        for name in ("batch", "drop_partition", "persist", "flush", "compact", "backup_to"):
            assert not hasattr(reading, name)


def test_it_stays_until_it_is_refreshed(path: Path) -> None:
    with make(path) as keyspace, fjeld.open_readonly(path) as reading:
        before, seqno = content_of(keyspace), keyspace.seqno
        a, dropped = reading.partition("a"), reading.partition("b")
        scan = iter(a.items())
        first = next(scan)
        fill(keyspace.partition("a"), 400, seed=9)
        keyspace.drop_partition("b")
        keyspace.partition("d")[b"new"] = b"1"
        keyspace.compact()
        settle(keyspace)
        assert content_of(reading) == before
        assert reading.seqno == seqno
        reading.refresh()
        assert content_of(reading) == content_of(keyspace)
        assert dict(a) == dict(keyspace.partition("a"))
        assert reading.digest() == keyspace.digest()
        assert dict([first, *scan]) == before["a"], "an iterator goes on with the moment at which it began"
        with pytest.raises(fjeld.ClosedError, match="'b' was dropped"):
            dropped.get(b"x")


def test_a_refresh_keeps_the_tables_that_are_still_there(path: Path) -> None:
    with make(path) as keyspace, fjeld.open_readonly(path) as reading:
        before = dict(reading._reading._moment.tables)
        contents = reading._reading._contents
        reading.refresh()
        assert reading._reading._contents is contents, "nothing has changed: nothing is replayed"
        keyspace.partition("b").compact()
        settle(keyspace)
        reading.refresh()
        after = reading._reading._moment.tables
        kept = before.keys() & after.keys()
        assert kept
        assert all(before[number] is after[number] for number in kept)
        before.clear()
        del contents
        assert figures_of_open_tables(reading) == len(after)


def figures_of_open_tables(reading: fjeld.ReadOnlyKeyspace) -> int:
    return int(reading.stats()["open_files"])


def test_a_snapshot_stays_after_a_refresh(path: Path) -> None:
    with make(path) as keyspace, fjeld.open_readonly(path) as reading:
        before, digest = content_of(reading), reading.digest()
        with reading.snapshot() as snapshot:
            fill(keyspace.partition("a"), 300, seed=4)
            keyspace.partition("c").clear()
            keyspace.compact()
            reading.refresh()
            assert content_of(snapshot) == before
            assert reading.digest(snapshot=snapshot) == digest
            assert snapshot.seqno < reading.seqno
            assert reading.digest() == keyspace.digest() != digest
        with pytest.raises(fjeld.ClosedError):
            snapshot.partition("a")
        with keyspace.snapshot() as foreign, pytest.raises(ValueError, match="another keyspace"):
            reading.digest(snapshot=foreign)
        with pytest.raises(TypeError):
            reading.digest(snapshot=b"")


def test_many_readers_at_once(path: Path) -> None:
    with make(path) as keyspace:
        readers = [fjeld.open_readonly(path) for _ in range(5)]
        assert {reader.digest() for reader in readers} == {keyspace.digest()}
        for reader in readers:
            reader.close()


def test_a_closed_keyspace_and_a_checkpoint(path: Path, quick_folder: Path) -> None:
    with make(path) as keyspace:
        digest = keyspace.digest()
        info = keyspace.backup_to(quick_folder / "copy")
        assert keyspace.digest() == digest
    with fjeld.open_readonly(path) as closed, fjeld.open_readonly(quick_folder / "copy") as copy:
        assert closed.digest() == copy.digest() == digest
        assert copy.parent == (closed.id, info.seqno)
        assert copy.seqno == closed.seqno == info.seqno
        with fjeld.open(path) as keyspace:
            fill(keyspace.partition("a"), 300, seed=8)
            keyspace.compact()
            assert closed.digest() == digest, "it was opened and compacted meanwhile"


def test_what_a_killed_owner_left_is_read_without_recovering_it(path: Path, quick_folder: Path) -> None:
    with make(path) as keyspace:
        keyspace.persist()
        fill(keyspace.partition("a"), 20, seed=3)
        expected, seqno = content_of(keyspace), keyspace.seqno
        killed = crash_copy(path, quick_folder / "killed")
    before = snapshot_of_folder(killed)
    with fjeld.open_readonly(killed) as reading:
        assert content_of(reading) == expected
        assert reading.seqno == seqno
    assert snapshot_of_folder(killed) == before


def test_a_torn_end_is_not_there(path: Path, quick_folder: Path) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a")
        for number in range(10):
            partition[b"%d" % number] = b"v"
        killed = crash_copy(path, quick_folder / "killed")
    journal = journals_of(killed)[0]
    data = bytearray(journal.read_bytes())
    end = data.rindex(b"9v")
    data[end] ^= 1
    journal.write_bytes(data)
    with fjeld.open_readonly(killed) as reading:
        assert list(reading.partition("a")) == [b"%d" % number for number in range(9)]
        assert reading.seqno == 9


def test_an_ingestion_that_has_not_happened_yet(path: Path) -> None:
    """Its seqno is in the journal before its tables are in the manifest."""
    with make(path) as keyspace:
        expected, seqno = keyspace.digest(), keyspace.seqno
        seen: list[tuple[str, int]] = []

        def look() -> None:
            with fjeld.open_readonly(path) as reading:
                seen.append((reading.digest(), reading.seqno))

        set_sync_point("manifest:synced", look)
        set_sync_point("journal:before_sync", look)
        keyspace.partition("c").ingest([(b"x", b"1")])
        set_sync_point("manifest:synced", None)
        set_sync_point("journal:before_sync", None)
        assert seen[0] == (expected, seqno)
        assert seen[-1] == (keyspace.digest(), keyspace.seqno)


# ---- nothing is touched ----


def snapshot_of_folder(path: Path) -> dict[str, tuple[int, ...]]:
    """All that a write, a lock file or a new name would change."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, _, names in os.walk(path):
        for name in (*names, "."):
            status = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (
                status.st_ino,
                status.st_mode,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_nlink,
            )
    return found


def test_no_byte_is_written(path: Path) -> None:
    make(path).close()
    before = snapshot_of_folder(path)
    with traced() as events, fjeld.open_readonly(path) as reading:
        reading.digest()
        reading.refresh()
        assert fjeld.verify(path).ok
        fjeld.inspect(path)
    assert snapshot_of_folder(path) == before
    assert {event[0] for event in events} <= {"open", "read", "close", "size"}


def as_nobody(work: Callable[[], str]) -> str:
    """What it gives in a child process without any rights."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(write, work().encode())
            status = 0
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, text
    return text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights away")
def test_without_the_right_to_write(path: Path, quick_folder: Path) -> None:
    if quick_folder.parent != Path("/dev/shm"):
        pytest.skip("others may not look into the folder of the tests here")
    with make(path) as keyspace:
        expected = keyspace.digest()
        quick_folder.chmod(0o755)
        for folder in (path, path / "tables", path / "journals"):
            folder.chmod(0o555)

        def read() -> str:
            with pytest.raises(PermissionError):
                (path / "new").touch()
            with fjeld.open_readonly(path) as reading:
                reading.refresh()
                assert fjeld.verify(path).digest == reading.digest()
                assert fjeld.inspect(path).in_use
                return reading.digest()

        assert as_nobody(read) == expected
        for folder in (path, path / "tables", path / "journals"):
            folder.chmod(0o755)


# ---- closing, forking, limits ----


def test_using_it_after_close(path: Path) -> None:
    make(path).close()
    before = open_files()
    reading = fjeld.open_readonly(path)
    assert open_files() > before
    a, snapshot = reading.partition("a"), reading.snapshot()
    scan = iter(a)
    next(scan)
    reading.close()
    reading.close()
    uses: list[Callable[[], object]] = [
        lambda: a.get(b"x"),
        lambda: list(a),
        lambda: a.options,
        lambda: reading.partition("a"),
        reading.partitions,
        reading.refresh,
        reading.digest,
        reading.stats,
        reading.__enter__,
    ]
    for use in uses:
        with pytest.raises(fjeld.ClosedError, match="was closed"):
            use()
    assert "closed" in repr(reading)
    with pytest.raises(fjeld.ClosedError, match="was closed"):
        snapshot.partition("a")
    del scan, snapshot
    assert open_files() == before


def test_a_forgotten_one_lets_go_of_its_files(path: Path) -> None:
    make(path).close()
    before = open_files()
    reading = fjeld.open_readonly(path)
    assert open_files() > before
    del reading
    assert open_files() == before


def test_a_child_of_fork_must_open_its_own(path: Path) -> None:
    make(path).close()
    with fjeld.open_readonly(path) as reading:
        a = reading.partition("a")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for use in (lambda: a.get(b"x"), reading.refresh, reading.partitions):
                    with pytest.raises(fjeld.ClosedError, match="parent process"):
                        use()
                reading.close()
                with fjeld.open_readonly(path) as own:
                    assert len(own.partition("a")) == 249
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert len(a) == 249


def test_the_limit_of_open_files(path: Path) -> None:
    with make(path) as keyspace:
        fill(keyspace.partition("a"), 3000)
        settle(keyspace)
    tables = len(tables_of(path))
    assert tables > 20
    script = f"""
import os, resource, sys, fjeld
from fjeld.recovery import limits
limits.SPARE_DESCRIPTORS = 8
open_now = len(os.listdir("/proc/self/fd"))
low = open_now + {tables} // 2
resource.setrlimit(resource.RLIMIT_NOFILE, (low, low + 10_000))
with fjeld.open_readonly(sys.argv[1]) as reading:
    reading.digest()
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > low
resource.setrlimit(resource.RLIMIT_NOFILE, (low, low))
try:
    fjeld.open_readonly(sys.argv[1])
except OSError as error:
    print(error.errno, error)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{errno.EMFILE} ")
    assert f"needs {tables} files open" in done.stdout
    assert "hard limit" in done.stdout


def test_enough_descriptors_are_allowed_already() -> None:
    limits.allow_descriptors(1, "path")


# ---- what is not there, or damaged ----


def test_not_a_keyspace(path: Path) -> None:
    with pytest.raises(fjeld.NotAKeyspaceError):
        fjeld.open_readonly(path)
    path.mkdir()
    with pytest.raises(fjeld.NotAKeyspaceError):
        fjeld.open_readonly(path)
    assert os.listdir(path) == []


def test_a_missing_table(path: Path) -> None:
    make(path).close()
    table = tables_of(path)[0]
    table.unlink()
    with pytest.raises(fjeld.CorruptionError, match="missing") as caught:
        fjeld.open_readonly(path)
    assert caught.value.path == str(table)


def test_a_missing_journal(path: Path, quick_folder: Path) -> None:
    with make(path) as keyspace:
        keyspace.backup_to(quick_folder / "copy")
    journals_of(quick_folder / "copy")[0].unlink()
    with pytest.raises(fjeld.CorruptionError, match="missing"):
        fjeld.open_readonly(quick_folder / "copy")


def test_a_damaged_manifest(path: Path) -> None:
    make(path).close()
    manifest = manifest_of(path)
    data = manifest.read_bytes()
    manifest.chmod(0o644)
    manifest.write_bytes(data[:100] + b"?" + data[101:])
    with pytest.raises(fjeld.CorruptionError) as caught:
        fjeld.open_readonly(path)
    assert caught.value.path == str(manifest)


def test_a_damaged_table_is_met_when_it_is_read(path: Path) -> None:
    make(path).close()
    table = tables_of(path)[0]
    data = table.read_bytes()
    table.chmod(0o644)
    table.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with fjeld.open_readonly(path) as reading, pytest.raises(fjeld.CorruptionError) as caught:
        reading.digest()
    assert caught.value.path == str(table)


def test_a_failed_refresh_goes_on_with_the_moment_before(path: Path, quick_folder: Path) -> None:
    with make(path) as keyspace, fjeld.open_readonly(path) as reading:
        digest = reading.digest()
        keyspace.partition("a")[b"x"] = b"1"
        held = open_files()
        files.inject("open", 0, errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            reading.refresh()
        files.clear_faults()
        assert open_files() == held
        assert reading.digest() == digest
        reading.refresh()
        assert reading.digest() == keyspace.digest()


@pytest.mark.parametrize("after", range(12))
def test_a_failed_opening_lets_go_of_everything(path: Path, after: int) -> None:
    with make(path):
        gc.collect()  # of the tests before
        before = open_files()
        files.inject("open", after, errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            fjeld.open_readonly(path)
        files.clear_faults()
        gc.collect()  # the frames of the error
        assert open_files() == before


def test_another_keyspace_takes_its_place(path: Path, quick_folder: Path) -> None:
    make(path).close()
    with opened(quick_folder / "other") as other:
        other.partition("a")[b"of the other"] = b"1"
        identity = other.id
    with fjeld.open_readonly(path) as reading:
        a = reading.partition("a")
        shutil.move(path, quick_folder / "aside")
        shutil.move(quick_folder / "other", path)
        reading.refresh()
        assert reading.id == identity
        assert content_of(reading) == {"a": {b"of the other": b"1"}}
        with pytest.raises(fjeld.ClosedError):
            a.get(b"x")


def test_an_owner_that_is_always_faster(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "ATTEMPTS", 5)
    monkeypatch.setattr(moment, "LONGEST_PAUSE_SECONDS", 0.0)
    with make(path) as keyspace:
        names = iter(range(1000))
        set_sync_point("moment:loaded", lambda: keyspace.partition(f"new{next(names)}"))
        before = open_files()
        with pytest.raises(BlockingIOError, match="during each of 5 attempts"):
            fjeld.open_readonly(path)
        assert open_files() == before


def test_an_owner_whose_memory_was_lost(path: Path) -> None:
    """Poisoned and closed without a flush: the journals have it all."""
    keyspace = make(path)
    expected = keyspace.digest()
    abandon(keyspace)
    with fjeld.open_readonly(path) as reading:
        assert reading.digest() == expected
