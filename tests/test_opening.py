"""Opening: what is there, what is not, what is damaged, and what a killed process left behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from tests.small import SMALL_PARTITION, small_options


def fill(partition: fjeld.Partition, count: int, value: bytes = b"v" * 40) -> None:
    for i in range(count):
        partition.insert(b"key%06d" % i, value)


def copy_of_the_running(ks: fjeld.Keyspace, target: Path) -> Path:
    """What would be on disk if the process were killed now."""
    ks._engine.maintainer.wait_idle()  # else files would change between two that are copied
    shutil.copytree(ks.path, target)
    return target


# ---- there or not ----


def test_the_folder_is_made(path: Path) -> None:
    with fjeld.open(path) as ks:
        assert ks.path == path
        assert ks.partitions() == []
    assert (path / "FJELD").read_bytes() == b"fjeld keyspace\nformat 1\n"


def test_an_empty_folder_becomes_one(path: Path) -> None:
    path.mkdir()
    with fjeld.open(path) as ks:
        ks.partition("p")


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_paths_of_any_kind(path: Path, kind: type) -> None:
    with fjeld.open(kind(path)) as ks:
        assert ks.path == path


def test_a_relative_path_is_settled_at_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with fjeld.open("here", options=small_options()) as ks:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        fill(ks.partition("p"), 500)
        ks.compact()
        assert ks.path == tmp_path / "here"
    assert os.listdir(tmp_path / "elsewhere") == []


def test_create_false(path: Path) -> None:
    with pytest.raises(fjeld.NotAKeyspaceError):
        fjeld.open(path, create=False)
    assert not path.exists()
    path.mkdir()
    with pytest.raises(FileNotFoundError):
        fjeld.open(path, create=False)
    assert os.listdir(path) == []


def test_error_if_exists(path: Path) -> None:
    with fjeld.open(path, error_if_exists=True):
        pass
    with pytest.raises(FileExistsError):
        fjeld.open(path, error_if_exists=True)
    with fjeld.open(path):
        pass


def test_a_missing_parent(path: Path) -> None:
    with pytest.raises(fjeld.NotAKeyspaceError, match="does not exist"):
        fjeld.open(path / "deeper")
    assert not path.exists()


def test_a_folder_of_something_else(path: Path) -> None:
    path.mkdir()
    (path / "holiday.jpg").write_bytes(b"a picture")
    for create in (True, False):
        with pytest.raises(fjeld.NotAKeyspaceError):
            fjeld.open(path, create=create)
    assert os.listdir(path) == ["holiday.jpg"]


def test_a_file(path: Path) -> None:
    path.write_bytes(b"text")
    for create in (True, False):
        with pytest.raises(fjeld.NotAKeyspaceError):
            fjeld.open(path, create=create)
    assert path.read_bytes() == b"text"


@pytest.mark.parametrize("after", range(0, 60, 3))
def test_a_creation_that_fails_is_taken_up_again(path: Path, after: int) -> None:
    files.inject(None, after, errno.EIO, count=1000)
    try:
        with fjeld.open(path) as ks:
            ks.partition("p")
    except OSError:
        pass
    files.clear_faults()
    with fjeld.open(path) as ks:
        ks.partition("p")[b"k"] = b"v"
    with fjeld.open(path, create=False) as ks:
        assert dict(ks.partition("p")) == {b"k": b"v"}


# ---- locked ----


def test_open_twice(path: Path) -> None:
    with fjeld.open(path) as ks:
        with pytest.raises(fjeld.LockedError, match="open already"):
            fjeld.open(path)
        ks.partition("p")[b"k"] = b"v"
    with fjeld.open(path) as ks:
        assert ks.partition("p")[b"k"] == b"v"


def test_open_in_another_process(path: Path) -> None:
    script = (
        "import fjeld, sys\n"
        "try:\n    fjeld.open(sys.argv[1])\n"
        "except fjeld.LockedError:\n    print('locked')\n"
    )
    with fjeld.open(path):
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
        )
    assert done.stdout == "locked\n"


def test_a_failed_opening_lets_go_of_everything(path: Path) -> None:
    with fjeld.open(path) as ks:
        fill(ks.partition("p"), 10)
    before = len(os.listdir("/proc/self/fd"))
    for after in range(30):
        files.inject(None, after, errno.EIO, count=1000)
        try:
            fjeld.open(path, create=False).close()
        except OSError:
            pass
        finally:
            files.clear_faults()
    assert len(os.listdir("/proc/self/fd")) <= before
    with fjeld.open(path) as ks:
        assert len(ks.partition("p")) == 10


# ---- damaged or of another version ----


@pytest.fixture
def closed(path: Path) -> Path:
    """A closed keyspace with tables, and a journal that was not replayed."""
    with fjeld.open(path.parent / "running", options=small_options()) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        fill(p, 1480)
        p.compact()
        p.insert_many((b"later%06d" % i, b"v" * 40) for i in range(20))
        ks.persist(fjeld.PersistMode.SYNC_ALL)
        return copy_of_the_running(ks, path)


def flip(file: Path, offset: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 0x40
    file.chmod(0o644)
    file.write_bytes(data)


def test_a_newer_format(closed: Path) -> None:
    (closed / "FJELD").chmod(0o644)
    (closed / "FJELD").write_bytes(b"fjeld keyspace\nformat 2\n")
    with pytest.raises(fjeld.UnsupportedFormatError, match="format 2"):
        fjeld.open(closed)


def test_a_damaged_marker(closed: Path) -> None:
    flip(closed / "FJELD", 3)
    with pytest.raises(fjeld.CorruptionError) as met:
        fjeld.open(closed)
    assert met.value.path == str(closed / "FJELD")


def test_a_missing_marker_is_not_made_anew(closed: Path) -> None:
    (closed / "FJELD").unlink()
    tables = sorted(os.listdir(closed / "tables"))
    assert tables
    with pytest.raises(fjeld.CorruptionError, match="marker is missing") as raised:
        fjeld.open(closed)
    assert raised.value.path == str(closed / "FJELD")
    assert sorted(os.listdir(closed / "tables")) == tables


@pytest.mark.parametrize("content", [b"", b"MANIFEST-999999\n", b"rubbish", b"MANIFEST-000001"])
def test_a_damaged_current(closed: Path, content: bytes) -> None:
    (closed / "CURRENT").chmod(0o644)
    (closed / "CURRENT").write_bytes(content)
    with pytest.raises(fjeld.CorruptionError) as met:
        fjeld.open(closed)
    assert met.value.path is not None
    assert met.value.path.startswith(str(closed))


def test_a_damaged_manifest(closed: Path) -> None:
    manifest = closed / (closed / "CURRENT").read_text().strip()
    for offset in (0, 20, 40, 200):
        flip(manifest, offset)
        with pytest.raises(fjeld.CorruptionError) as met:
            fjeld.open(closed)
        assert met.value.path == str(manifest)
        assert met.value.offset is not None
        flip(manifest, offset)
    with fjeld.open(closed) as ks:
        assert len(ks.partition("p")) == 1500


def test_a_missing_table(closed: Path) -> None:
    table = sorted((closed / "tables").iterdir())[0]
    table.unlink()
    with pytest.raises(fjeld.CorruptionError, match="missing") as met:
        fjeld.open(closed)
    assert met.value.path == str(table)


def test_a_damaged_table_is_met_when_it_is_read(closed: Path) -> None:
    tables = sorted((closed / "tables").iterdir())
    flip(tables[0], 30)
    with fjeld.open(closed) as ks:
        p = ks.partition("p")
        with pytest.raises(fjeld.CorruptionError) as met:
            list(p.items())
        assert met.value.path == str(tables[0])
        assert met.value.offset is not None
        with pytest.raises(fjeld.CorruptionError):
            len(p)
        with pytest.raises(fjeld.CorruptionError):
            ks.digest()
        with pytest.raises(fjeld.CorruptionError):
            p.get_many(b"key%06d" % i for i in range(1480))
        p[b"still"] = b"written"
        assert p[b"still"] == b"written"


def test_a_table_of_another_length(closed: Path) -> None:
    table = sorted((closed / "tables").iterdir())[0]
    table.chmod(0o644)
    with table.open("ab") as file:
        file.write(b"more")
    with pytest.raises(fjeld.CorruptionError), fjeld.open(closed) as ks:
        list(ks.partition("p"))


def test_a_damaged_journal(closed: Path) -> None:
    """What was persisted is not given up in silence: behind the damage there is a record that claims it."""
    with fjeld.open(closed.parent / "other") as ks:
        p = ks.partition("p")
        fill(p, 100)
        ks.persist(fjeld.PersistMode.SYNC_DATA)
        fill(p, 100)
        copy = copy_of_the_running(ks, closed.parent / "copy")
    journal = next(
        file for file in sorted((copy / "journals").iterdir()) if b"key000050" in file.read_bytes()
    )
    flip(journal, journal.read_bytes().index(b"key000050"))
    with pytest.raises(fjeld.CorruptionError) as met:
        fjeld.open(copy)
    assert met.value.path == str(journal)
    assert met.value.offset is not None


def test_a_torn_tail_is_cut(closed: Path) -> None:
    """What nobody was told to be on disk may be lost from the end."""
    with fjeld.open(closed.parent / "other") as ks:
        fill(ks.partition("p"), 100)
        copy = copy_of_the_running(ks, closed.parent / "copy")
    journal = next(
        file for file in sorted((copy / "journals").iterdir()) if b"key000050" in file.read_bytes()
    )
    flip(journal, journal.read_bytes().index(b"key000050"))
    with fjeld.open(copy) as ks:
        p = ks.partition("p")
        assert list(p) == [b"key%06d" % i for i in range(50)]
        assert ks.seqno == 50
        p[b"after"] = b"v"
    with fjeld.open(copy) as ks:
        assert len(ks.partition("p")) == 51


# ---- what is left behind ----


def test_what_no_version_names_is_deleted(closed: Path) -> None:
    strays = [
        closed / "tables" / "000000999999.sst",
        closed / "tables" / "000000999998.sst.tmp",
        closed / "MANIFEST-999997",
    ]
    for stray in strays:
        stray.write_bytes(b"left over")
    with fjeld.open(closed) as ks:
        ks.flush()
        assert len(ks.partition("p")) == 1500
        number = ks._engine.store.next_file()
    assert number > 999_999  # a number that was seen is never given again
    assert not [stray for stray in strays[::2] if stray.exists()]


def test_a_foreign_file_is_left_alone(closed: Path) -> None:
    (closed / "README").write_text("mine")
    (closed / "tables" / "notes.txt").write_text("mine too")
    with fjeld.open(closed) as ks:
        ks.compact()
    assert (closed / "README").read_text() == "mine"
    assert (closed / "tables" / "notes.txt").read_text() == "mine too"


def test_old_files_are_never_changed(closed: Path) -> None:
    """Law 1: recovery appends to nothing, cuts nothing and repairs nothing; what it needs anew it makes anew."""
    before = {file: (file.stat().st_ino, file.read_bytes()) for file in closed.rglob("*") if file.is_file()}
    for _ in range(3):
        with fjeld.open(closed, options=small_options()) as ks:
            fill(ks.partition("p"), 300, b"other")
            ks.compact()
        for file, (inode, content) in before.items():
            if file.name not in ("LOCK", "CURRENT") and file.exists():
                assert file.stat().st_ino == inode
                assert file.read_bytes() == content


def test_a_killed_process_loses_nothing(path: Path, tmp_path: Path) -> None:
    """Kill upon kill upon kill: every copy is opened, written to, and copied again while it is open."""
    expected: dict[bytes, bytes] = {}
    where = path
    for generation in range(6):
        ks = fjeld.open(where, options=small_options(memtable_bytes=8192, journal_bytes=8192))
        p = ks.partition("p", options=SMALL_PARTITION)
        assert dict(p) == dict(sorted(expected.items()))
        for i in range(250):
            key = b"key%03d" % (i * 31 % 200)
            if i % 9 == 8:
                p.remove(key)
                expected.pop(key, None)
            else:
                p[key] = expected[key] = b"%d/%d" % (generation, i) * 5
        where = copy_of_the_running(ks, tmp_path / f"copy{generation}")
        ks.close()


def test_a_copy_of_a_closed_keyspace_is_one(path: Path, tmp_path: Path) -> None:
    """No absolute path, inode or time is part of the format."""
    with fjeld.open(path, options=small_options()) as ks:
        fill(ks.partition("p"), 1000)
        digest = ks.digest()
    shutil.copytree(path, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(path)
    with fjeld.open(tmp_path / "copy") as ks:
        assert ks.digest() == digest


def test_opening_reads_no_table(path: Path) -> None:
    """It takes milliseconds whatever there is: no table is opened or read before somebody asks for what is in
    it.
    """
    with fjeld.open(path, options=small_options()) as ks:
        fill(ks.partition("p", options=SMALL_PARTITION), 3000)
    assert len(os.listdir(path / "tables")) > 3
    files.start_trace()
    ks = fjeld.open(path, options=small_options(level0_slowdown_runs=50, level0_stop_runs=90))
    trace = files.stop_trace()
    assert not [event for event in trace if event[0] in ("open", "read") and ".sst" in str(event[1])]
    assert len(ks.partition("p")) == 3000
    ks.close()


def test_the_seqno_never_goes_back(closed: Path) -> None:
    seqnos = []
    for _ in range(4):
        with fjeld.open(closed) as ks:
            seqnos.append(ks.seqno)
            ks.partition("p").remove(b"nothing")
    assert seqnos == list(range(seqnos[0], seqnos[0] + 4))


def test_an_empty_write_between_partitions_keeps_the_journal(path: Path, tmp_path: Path) -> None:
    """What is written between the look at a partition and the retirement of journals must not go with them."""
    with fjeld.open(path, options=small_options()) as ks:
        a, b = ks.partition("a"), ks.partition("b")
        a[b"k"] = b"v"
        live = ks._engine.partitions["b"]
        look = live.oldest_seqno

        def looked_at(*args: object) -> int | None:
            found = look(*args)
            if not b:
                b[b"meanwhile"] = b"v"
                ks._engine.switch_journal(1 << 20)
            return found

        live.oldest_seqno = looked_at
        a.flush()
        assert b[b"meanwhile"] == b"v"
        copy = copy_of_the_running(ks, tmp_path / "copy")
    with fjeld.open(copy) as ks:
        assert dict(ks.partition("b")) == {b"meanwhile": b"v"}
        assert dict(ks.partition("a")) == {b"k": b"v"}
