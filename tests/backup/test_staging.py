"""The staging folder: what it is called, who may remove it, and what is left when it is not published."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fjeld
from fjeld.backup import staging as module
from fjeld.backup.staging import Staging, leftovers_of, remove_leftovers
from fjeld.kernel import files
from tests.support import Gate, Task, digest_at, fill, leftovers, opened

HEX = "0123456789ab"

KILLED = """
import os, signal, sys
import fjeld
from fjeld.sync_points import set_sync_point
set_sync_point("backup:linked", lambda: os.kill(os.getpid(), signal.SIGKILL))
with fjeld.open(sys.argv[1]) as keyspace:
    keyspace.backup_to(sys.argv[2])
"""


def leftover(target: Path, digits: str = HEX) -> Path:
    path = target.parent / f".{target.name}.{digits}.fjeld-staging"
    (path / "tables").mkdir(parents=True)
    (path / "tables" / "000000000001.sst").write_bytes(b"half of it")
    return path


def test_a_killed_backup_is_tidied_up_by_the_next(quick_folder: Path) -> None:
    with opened(quick_folder / "keyspace") as keyspace:
        fill(keyspace.partition("a"), 100)
    target = quick_folder / "checkpoint"
    killed = subprocess.run([sys.executable, "-c", KILLED, quick_folder / "keyspace", target], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(leftovers(quick_folder)) == 1
    with opened(quick_folder / "keyspace") as keyspace:
        keyspace.backup_to(quick_folder / "another")
        assert len(leftovers(quick_folder)) == 1, "only what was to become this target"
        keyspace.backup_to(target)
        assert leftovers(quick_folder) == []
        assert digest_at(target) == keyspace.digest()


def test_a_backup_that_runs_is_let_be(quick_folder: Path) -> None:
    """Two backups to one target at once: one of them gets it, the other is told; neither takes the other's."""
    with opened(quick_folder / "keyspace") as keyspace:
        fill(keyspace.partition("a"), 100)
        target = quick_folder / "checkpoint"
        gate = Gate("backup:linked")
        first = Task(lambda: keyspace.backup_to(target))
        gate.wait()
        keyspace.backup_to(target)
        assert len(leftovers(quick_folder)) == 1
        gate.open()
        with pytest.raises(FileExistsError):
            first.result()
        assert leftovers(quick_folder) == []
        assert digest_at(target) == keyspace.digest()


def test_what_is_no_leftover(quick_folder: Path) -> None:
    target = quick_folder / "a.b"
    mine = leftover(target)
    others = [
        leftover(quick_folder / "a"),
        leftover(quick_folder / "x.a.b"),
        leftover(target, "0123456789"),
        leftover(target, "0123456789AB"),
    ]
    named = quick_folder / f".a.b.{HEX[::-1]}.fjeld-staging"
    named.write_text("a file")
    link = quick_folder / f".a.b.{'c' * 12}.fjeld-staging"
    link.symlink_to(quick_folder / "elsewhere")
    leftover(quick_folder / "elsewhere").rename(quick_folder / "elsewhere")
    assert list(leftovers_of(str(target))) == [str(mine)]
    assert remove_leftovers(str(target)) == [str(mine)]
    assert not mine.exists()
    for path in (*others, named, link, quick_folder / "elsewhere" / "tables"):
        assert path.exists()


def test_one_that_somebody_has_locked_stays(quick_folder: Path) -> None:
    path = leftover(quick_folder / "a")
    fd = files.lock_directory(path)
    assert remove_leftovers(str(quick_folder / "a")) == []
    assert path.exists()
    files.unlock_file(fd)
    assert remove_leftovers(str(quick_folder / "a")) == [str(path)]


def test_one_that_is_published_meanwhile_is_none(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = leftover(quick_folder / "a")
    original = files.lock_directory

    def published(name: str) -> int:
        fd = original(name)
        os.rename(name, quick_folder / "a")
        return fd

    monkeypatch.setattr(module.files, "lock_directory", published)
    assert remove_leftovers(str(quick_folder / "a")) == []
    assert (quick_folder / "a" / "tables").is_dir()
    assert not path.exists()


def test_it_is_locked_until_its_end(quick_folder: Path) -> None:
    with Staging(str(quick_folder / "a")) as staging:
        with pytest.raises(BlockingIOError):
            files.lock_directory(staging.path)
        staging.publish()
        with pytest.raises(BlockingIOError):
            files.lock_directory(quick_folder / "a")
    files.unlock_file(files.lock_directory(quick_folder / "a"))


@pytest.mark.parametrize("moment", ["locked", "gone", "moved"])
def test_one_that_is_taken_for_a_leftover_is_made_again(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Between its making and its locking."""
    original, held, tried = files.lock_directory, [], []

    def too_late(path: str) -> int:
        tried.append(path)
        if len(tried) == 1 and moment == "locked":
            held.append(original(path))
        elif len(tried) == 1:
            fd = original(path)
            os.rename(path, quick_folder / "taken")
            if moment == "moved":
                return fd
            files.unlock_file(fd)
        return original(path)

    monkeypatch.setattr(module.files, "lock_directory", too_late)
    before = len(os.listdir("/proc/self/fd"))
    with Staging(str(quick_folder / "a")) as staging:
        staging.publish()
    assert len(tried) == 2
    for fd in held:
        files.unlock_file(fd)
    assert len(os.listdir("/proc/self/fd")) == before
    assert (quick_folder / "a" / "tables").is_dir()


def test_one_that_is_always_taken(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(path: str) -> int:
        os.rmdir(path)
        raise BlockingIOError(errno.EWOULDBLOCK, "taken", path)

    monkeypatch.setattr(module.files, "lock_directory", taken)
    with pytest.raises(FileExistsError, match="try again"), Staging(str(quick_folder / "a")):
        pass
    assert list(quick_folder.iterdir()) == []


def test_folders_that_cannot_be_locked(quick_folder: Path) -> None:
    path = leftover(quick_folder / "a")
    files.inject("lock", 0, errno.EBADF, count=2)
    with Staging(str(quick_folder / "a")) as staging:
        assert files.faults_hit() == 2
        staging.publish()
    assert path.exists(), "it cannot be told whether its maker lives"


def test_another_failure_of_locking_is_one(quick_folder: Path) -> None:
    files.inject("lock", 0, errno.EIO)
    with pytest.raises(OSError, match="Input/output"), Staging(str(quick_folder / "a")):
        pass
    assert list(quick_folder.iterdir()) == []


def test_a_left_over_that_cannot_be_removed_hinders_nobody(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leftover(quick_folder / "checkpoint")
    original = module.shutil.rmtree
    monkeypatch.setattr(module.shutil, "rmtree", lambda *args, **options: None)
    with opened(quick_folder / "keyspace") as keyspace:
        keyspace.backup_to(quick_folder / "checkpoint")
        assert isinstance(keyspace, fjeld.Keyspace)
    assert path.exists()
    original(path)
