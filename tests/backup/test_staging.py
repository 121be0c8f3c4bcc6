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


def test_a_killed_backup_is_tidied_up_by_the_next(tmp_path: Path) -> None:
    with opened(tmp_path / "keyspace") as keyspace:
        fill(keyspace.partition("a"), 100)
    target = tmp_path / "checkpoint"
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "keyspace", target], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(leftovers(tmp_path)) == 1
    with opened(tmp_path / "keyspace") as keyspace:
        keyspace.backup_to(tmp_path / "another")
        assert len(leftovers(tmp_path)) == 1, "only what was to become this target"
        keyspace.backup_to(target)
        assert leftovers(tmp_path) == []
        assert digest_at(target) == keyspace.digest()


def test_a_backup_that_runs_is_let_be(tmp_path: Path) -> None:
    """Two backups to one target at once: one of them gets it, the other is told; neither takes the other's."""
    with opened(tmp_path / "keyspace") as keyspace:
        fill(keyspace.partition("a"), 100)
        target = tmp_path / "checkpoint"
        gate = Gate("backup:linked")
        first = Task(lambda: keyspace.backup_to(target))
        gate.wait()
        keyspace.backup_to(target)
        assert len(leftovers(tmp_path)) == 1
        gate.open()
        with pytest.raises(FileExistsError):
            first.result()
        assert leftovers(tmp_path) == []
        assert digest_at(target) == keyspace.digest()


def test_what_is_no_leftover(tmp_path: Path) -> None:
    target = tmp_path / "a.b"
    mine = leftover(target)
    others = [
        leftover(tmp_path / "a"),
        leftover(tmp_path / "x.a.b"),
        leftover(target, "0123456789"),
        leftover(target, "0123456789AB"),
    ]
    named = tmp_path / f".a.b.{HEX[::-1]}.fjeld-staging"
    named.write_text("a file")
    link = tmp_path / f".a.b.{'c' * 12}.fjeld-staging"
    link.symlink_to(tmp_path / "elsewhere")
    leftover(tmp_path / "elsewhere").rename(tmp_path / "elsewhere")
    assert list(leftovers_of(str(target))) == [str(mine)]
    assert remove_leftovers(str(target)) == [str(mine)]
    assert not mine.exists()
    for path in (*others, named, link, tmp_path / "elsewhere" / "tables"):
        assert path.exists()


def test_one_that_somebody_has_locked_stays(tmp_path: Path) -> None:
    path = leftover(tmp_path / "a")
    fd = files.lock_directory(path)
    assert remove_leftovers(str(tmp_path / "a")) == []
    assert path.exists()
    files.unlock_file(fd)
    assert remove_leftovers(str(tmp_path / "a")) == [str(path)]


def test_it_is_locked_until_its_end(tmp_path: Path) -> None:
    with Staging(str(tmp_path / "a")) as staging:
        with pytest.raises(BlockingIOError):
            files.lock_directory(staging.path)
        staging.publish()
        with pytest.raises(BlockingIOError):
            files.lock_directory(tmp_path / "a")
    files.unlock_file(files.lock_directory(tmp_path / "a"))


@pytest.mark.parametrize("moment", ["locked", "gone"])
def test_one_that_is_taken_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Between its making and its locking."""
    original, held, tried = files.lock_directory, [], []

    def too_late(path: str) -> int:
        tried.append(path)
        if len(tried) == 1 and moment == "locked":
            held.append(original(path))
        elif len(tried) == 1:
            os.rename(path, tmp_path / "taken")
        return original(path)

    monkeypatch.setattr(module.files, "lock_directory", too_late)
    with Staging(str(tmp_path / "a")) as staging:
        staging.publish()
    assert len(tried) == 2
    for fd in held:
        files.unlock_file(fd)
    assert (tmp_path / "a" / "tables").is_dir()


def test_one_that_is_always_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(path: str) -> int:
        os.rmdir(path)
        raise BlockingIOError(errno.EWOULDBLOCK, "taken", path)

    monkeypatch.setattr(module.files, "lock_directory", taken)
    with pytest.raises(FileExistsError, match="try again"), Staging(str(tmp_path / "a")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_locked(tmp_path: Path) -> None:
    path = leftover(tmp_path / "a")
    files.inject("lock", 0, errno.EBADF, count=2)
    with Staging(str(tmp_path / "a")) as staging:
        assert files.faults_hit() == 2
        staging.publish()
    assert path.exists(), "it cannot be told whether its maker lives"


def test_another_failure_of_locking_is_one(tmp_path: Path) -> None:
    files.inject("lock", 0, errno.EIO)
    with pytest.raises(OSError, match="Input/output"), Staging(str(tmp_path / "a")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_left_over_that_cannot_be_removed_hinders_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leftover(tmp_path / "checkpoint")
    original = module.shutil.rmtree
    monkeypatch.setattr(module.shutil, "rmtree", lambda *args, **options: None)
    with opened(tmp_path / "keyspace") as keyspace:
        keyspace.backup_to(tmp_path / "checkpoint")
        assert isinstance(keyspace, fjeld.Keyspace)
    assert path.exists()
    original(path)
