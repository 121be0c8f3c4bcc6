"""Backups of a keyspace that nobody has open: under its lock, and without a change in it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld import CancelledError, CorruptionError, LockedError, NotAKeyspaceError
from fjeld.kernel import files
from fjeld.manifest.log import read_manifest
from tests.small import SMALL_PARTITION
from tests.support import (
    Content,
    content_at,
    content_of,
    crash_copy,
    digest_at,
    fill,
    journals_of,
    leftovers,
    manifest_of,
    opened,
    settle,
    tables_of,
    tree_of,
)


@pytest.fixture
def path(quick_folder: Path) -> Path:
    return quick_folder / "keyspace"


def populate(keyspace: fjeld.Keyspace) -> Content:
    fill(keyspace.partition("a", options=SMALL_PARTITION), 400)
    keyspace.flush()
    fill(keyspace.partition("a"), 100, seed=1, start=350)
    fill(keyspace.partition("b"), 50)
    for number in range(0, 400, 5):
        keyspace.partition("a").remove(b"%08d" % number)
    settle(keyspace)
    return content_of(keyspace)


@pytest.fixture
def closed(path: Path) -> tuple[Path, Content]:
    with opened(path) as keyspace:
        return path, populate(keyspace)


@pytest.fixture
def killed(quick_folder: Path) -> tuple[Path, Content]:
    """The folder that a killed process leaves: journals that were not sealed, and one that was."""
    with opened(quick_folder / "living", memtable_bytes=1 << 20) as keyspace:
        expected = populate(keyspace)
        path = crash_copy(quick_folder / "living", quick_folder / "keyspace")
    shutil.rmtree(quick_folder / "living")
    return path, expected


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "copy": {"link": "never"},
    "verify": {"verify": True},
    "partitions": {"partitions": ["a"]},
    "range": {"key_range": (b"%08d" % 100, b"%08d" % 370)},
    "compact": {"compact": True},
}


def expected_of(content: Content, chosen: dict[str, Any]) -> Content:
    start, stop = chosen.get("key_range", (b"", b"\xff" * 9))
    return {
        name: {key: value for key, value in entries.items() if start <= key < stop}
        for name, entries in content.items()
        if name in chosen.get("partitions", content)
    }


@pytest.mark.parametrize("chosen", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("state", ["closed", "killed"])
def test_what_opening_would_find(
    request: pytest.FixtureRequest, quick_folder: Path, state: str, chosen
) -> None:
    path, content = request.getfixturevalue(state)
    before = tree_of(path)
    info = fjeld.backup_offline(path, quick_folder / "checkpoint", **chosen)
    assert tree_of(path) == before, "nothing in the source was changed"
    expected = expected_of(content, chosen)
    assert info.path == quick_folder / "checkpoint"
    assert info.partitions == tuple(sorted(expected))
    if chosen.get("link") == "never":
        assert info.linked_bytes == 0
    for _ in range(2):
        with opened(info.path) as checkpoint:
            assert content_of(checkpoint) == expected
            assert (checkpoint.id, checkpoint.seqno) == (info.id, info.seqno)
            assert checkpoint.parent == (info.keyspace_id, info.seqno)
    with opened(path) as source:
        assert (source.id, source.seqno) == (info.keyspace_id, info.seqno)
        assert content_of(source) == content
        fill(source.partition("a"), 100, seed=9)
        source.compact()
    assert content_at(info.path) == expected
    shutil.rmtree(path)
    assert content_at(info.path) == expected


def test_journals_are_linked(killed: tuple[Path, Content], quick_folder: Path) -> None:
    path, expected = killed
    assert journals_of(path)
    info = fjeld.backup_offline(path, quick_folder / "checkpoint")
    assert info.copied_bytes == 0
    assert journals_of(quick_folder / "checkpoint")
    for journal in journals_of(quick_folder / "checkpoint"):
        assert journal.samefile(path / "journals" / journal.name)
    with opened(path) as source:  # it recovers, and retires them
        fill(source.partition("a"), 500, seed=2)
        source.flush()
    assert content_at(quick_folder / "checkpoint") == expected


def test_only_journals_that_count_are_taken(killed: tuple[Path, Content], quick_folder: Path) -> None:
    """What retired, or is no journal, may lie about: recovery would delete it."""
    path, expected = killed
    floor = read_manifest(manifest_of(path))[0].journal_floor
    for name in (f"{floor - 1:012d}.jnl", "notes.txt"):
        (path / "journals" / name).write_bytes(b"of no meaning")
    info = fjeld.backup_offline(path, quick_folder / "copy")
    names = {Path(file.path).name for file in info.files}
    assert not names & {f"{floor - 1:012d}.jnl", "notes.txt"}
    assert f"{floor:012d}.jnl" in {file.name for file in journals_of(path)}
    assert content_at(quick_folder / "copy") == expected


def test_they_are_on_disk_before_they_are_linked(killed: tuple[Path, Content], quick_folder: Path) -> None:
    path, _ = killed
    files.start_trace()
    fjeld.backup_offline(path, quick_folder / "checkpoint")
    trace = [(event[0], *map(str, event[1:2])) for event in files.stop_trace()]
    for journal in journals_of(quick_folder / "checkpoint"):
        source = str(path / "journals" / journal.name)
        assert trace.index(("sync_all", source)) < trace.index(("link", source))


def test_a_torn_tail_is_left_out(killed: tuple[Path, Content], quick_folder: Path) -> None:
    path, whole = killed
    # The last one that has records: one made ready for later may follow.
    journal = [found for found in journals_of(path) if len(found.read_bytes().rstrip(b"\0")) > 100][-1]
    data = bytearray(journal.read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end - 3] ^= 1
    journal.write_bytes(data)
    recovered = crash_copy(path, quick_folder / "recovered")
    fjeld.backup_offline(path, quick_folder / "checkpoint")
    expected = content_at(recovered)
    assert expected != whole
    assert content_at(quick_folder / "checkpoint") == expected


# ---- the lock ----


def test_it_is_locked_out_by_whoever_has_it_open(closed: tuple[Path, Content], quick_folder: Path) -> None:
    path, _ = closed
    with opened(path), pytest.raises(LockedError, match="open already"):
        fjeld.backup_offline(path, quick_folder / "checkpoint")
    holder = "import fjeld, sys; ks = fjeld.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(LockedError):
            fjeld.backup_offline(path, quick_folder / "checkpoint")
        process.communicate()
    assert os.listdir(quick_folder) == ["keyspace"]
    fjeld.backup_offline(path, quick_folder / "checkpoint")


def test_it_locks_others_out(closed: tuple[Path, Content], quick_folder: Path) -> None:
    path, expected = closed

    def try_it(*_: int) -> None:
        with pytest.raises(LockedError):
            fjeld.open(path)
        with pytest.raises(LockedError):
            fjeld.backup_offline(path, quick_folder / "another")

    fjeld.backup_offline(path, quick_folder / "checkpoint", progress=try_it)
    assert content_at(path) == expected  # it is free again


def test_a_checkpoint_that_was_never_opened(closed: tuple[Path, Content], quick_folder: Path) -> None:
    """It has no lock file: it gets one."""
    path, expected = closed
    first = fjeld.backup_offline(path, quick_folder / "1")
    before = tree_of(quick_folder / "1")
    second = fjeld.backup_offline(quick_folder / "1", quick_folder / "2")
    assert tree_of(quick_folder / "1") == before | {"LOCK": (0o644, b"")}
    assert second.keyspace_id == first.id
    assert content_at(quick_folder / "2") == expected


@pytest.mark.parametrize("error", [CorruptionError, FileNotFoundError])
def test_a_failure_without_a_lock_file_is_raised(
    closed: tuple[Path, Content], quick_folder: Path, error: type[Exception]
) -> None:
    """Of a checkpoint that was never opened: there is no LOCK that would be held."""
    path, _ = closed
    fjeld.backup_offline(path, quick_folder / "checkpoint")
    if error is CorruptionError:
        manifest_of(quick_folder / "checkpoint").unlink()
    else:
        tables_of(quick_folder / "checkpoint")[0].unlink()
    assert not (quick_folder / "checkpoint" / "LOCK").exists()
    with pytest.raises((CorruptionError, FileNotFoundError)):
        fjeld.backup_offline(quick_folder / "checkpoint", quick_folder / "copy")
    assert not (quick_folder / "copy").exists()
    assert leftovers(quick_folder) == []


def test_a_lock_that_fails_is_no_lock(closed: tuple[Path, Content], quick_folder: Path) -> None:
    """Unlike a file system without locks: nobody can tell whether it is open."""
    files.inject("lock", 0, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        fjeld.backup_offline(closed[0], quick_folder / "copy")
    assert not (quick_folder / "copy").exists()


@pytest.mark.parametrize("errnum", [errno.EROFS, errno.EACCES])
def test_a_read_only_source(closed: tuple[Path, Content], quick_folder: Path, errnum: int) -> None:
    """Without a lock file, and none can be made: then nobody can open it either."""
    path, expected = closed
    (path / "LOCK").unlink()
    original, os_open = errnum, os.open

    def read_only(name: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_CREAT | os.O_RDWR | os.O_WRONLY) and os.fsdecode(name).startswith(str(path)):
            if not os.path.exists(name) and not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "none", name)
            raise OSError(original, "read-only", name)
        return os_open(name, flags, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", read_only)
        info = fjeld.backup_offline(path, quick_folder / "checkpoint")
    assert not (path / "LOCK").exists()
    assert content_at(info.path) == expected


def test_a_lock_file_that_cannot_be_written_to(closed: tuple[Path, Content], quick_folder: Path) -> None:
    path, expected = closed
    (path / "LOCK").chmod(0o444)
    path.chmod(0o555)
    try:
        info = fjeld.backup_offline(path, quick_folder / "checkpoint")
    finally:
        path.chmod(0o755)
    assert content_at(info.path) == expected


# ---- what it refuses ----


def test_sources_and_targets_that_are_refused(closed: tuple[Path, Content], quick_folder: Path) -> None:
    path, _ = closed
    (quick_folder / "folder").mkdir()
    refused: list[tuple[Path, Path, type[Exception]]] = [
        (quick_folder / "nothing", quick_folder / "checkpoint", NotAKeyspaceError),
        (quick_folder / "folder", quick_folder / "checkpoint", NotAKeyspaceError),
        (path, quick_folder / "folder", FileExistsError),
        (path, path, FileExistsError),
        (path, quick_folder / "missing" / "checkpoint", FileNotFoundError),
        (path, path / "checkpoint", ValueError),
    ]
    before = tree_of(quick_folder)
    for source, target, error in refused:
        with pytest.raises(error):
            fjeld.backup_offline(source, target)
    assert tree_of(quick_folder) == before
    assert sorted(os.listdir(quick_folder)) == ["folder", "keyspace"]


def test_a_partition_that_does_not_exist(closed: tuple[Path, Content], quick_folder: Path) -> None:
    with pytest.raises(KeyError, match="nope"):
        fjeld.backup_offline(closed[0], quick_folder / "checkpoint", partitions=["nope"])
    assert os.listdir(quick_folder) == ["keyspace"]


@pytest.mark.parametrize("victim", ["table", "missing", "manifest", "CURRENT", "journal"])
def test_damage_is_refused(killed: tuple[Path, Content], quick_folder: Path, victim: str) -> None:
    path, _ = killed
    if victim == "missing":
        tables_of(path)[0].unlink()
    else:
        manifest = path / (path / "CURRENT").read_text().strip()
        chosen = {
            "table": tables_of(path)[0],
            "manifest": manifest,
            "CURRENT": path / "CURRENT",
            "journal": journals_of(path)[0],
        }[victim]
        data = bytearray(chosen.read_bytes())
        data[5] ^= 0x40
        chosen.chmod(0o644)
        chosen.write_bytes(data)
    before = tree_of(path)
    with pytest.raises(CorruptionError):
        fjeld.backup_offline(path, quick_folder / "checkpoint", verify=True)
    assert tree_of(path) == before
    assert os.listdir(quick_folder) == ["keyspace"]


def test_cancel(closed: tuple[Path, Content], quick_folder: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        fjeld.backup_offline(closed[0], quick_folder / "checkpoint", cancel=cancel)
    assert leftovers(quick_folder) == []
    assert digest_at(closed[0])  # unlocked


# ---- no tool at all ----


def test_a_plain_copy_of_a_closed_keyspace(closed: tuple[Path, Content], quick_folder: Path) -> None:
    path, expected = closed
    subprocess.run(["cp", "-R", path, quick_folder / "copy"], check=True)
    shutil.rmtree(path)
    assert content_at(quick_folder / "copy") == expected
    with opened(quick_folder / "copy") as copy:
        fill(copy.partition("a"), 300, seed=7)
        changed = content_of(copy)
    assert content_at(quick_folder / "copy") == changed
