"""A folder of checkpoints: take, find, verify, expire, and what crashes leave."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import fjeld
from fjeld.backup.removal import REMOVING_SUFFIX, finish_removals, remove_folder
from fjeld.backup.staging import Staging
from fjeld.kernel import files
from fjeld.sync_points import set_sync_point
from tests.support import Gate, Task, content_of, digest_at, fast_folder, fill, opened, tables_of, traced

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """Ten hours for each checkpoint."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return int(self.now.timestamp()) * 10**9

    def forward(self, **spans: float) -> None:
        self.now += timedelta(**spans)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fast_folder(tmp_path_factory.mktemp("folder")) as folder:
        yield folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keyspace(path: Path, clock: Clock) -> Iterator[fjeld.Keyspace]:
    with opened(path, clock=clock) as keyspace:
        fill(keyspace.partition("a"), 100)
        yield keyspace


@pytest.fixture
def folder(tmp_path: Path) -> fjeld.CheckpointFolder:
    return fjeld.CheckpointFolder(tmp_path / "checkpoints")


def take(
    folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock, count: int
) -> list[fjeld.CheckpointInfo]:
    taken = []
    for number in range(count):
        keyspace.partition("a")[b"new"] = b"%d" % number
        taken.append(folder.take(keyspace, metadata={"number": number}))
        clock.forward(hours=10)
    return taken


def test_taking(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock) -> None:
    one, two = take(folder, keyspace, clock, 2)
    assert one.path == folder.path / "20260301T120000.000000Z-000000000101"
    assert two.path.name == "20260301T220000.000000Z-000000000102"
    assert sorted(os.listdir(folder.path)) == [one.path.name, two.path.name]
    assert digest_at(two.path) == keyspace.digest()
    clock.now = one.created_at
    info = folder.take(keyspace, with_snapshot=True, link="never", flush=True)
    assert info.path.name == "20260301T120000.000000Z-000000000102"
    info.snapshot.close()
    again = folder.take(keyspace)
    assert again.path.name == "20260301T120000.000000Z-000000000102-2", "names are unique"


def test_the_folder_itself(tmp_path: Path, folder: fjeld.CheckpointFolder) -> None:
    assert folder.path.is_dir()
    assert fjeld.CheckpointFolder(folder.path).list() == []
    assert "checkpoints" in repr(folder)
    assert (folder.latest(), folder.at(seqno=5)) == (None, None)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        fjeld.CheckpointFolder(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        fjeld.CheckpointFolder(tmp_path / "no" / "folder")


def test_finding(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock) -> None:
    taken = take(folder, keyspace, clock, 3)
    found = folder.list()
    assert [info.path for info in found] == [info.path for info in taken]
    for info, known in zip(found, taken, strict=True):
        assert (info.id, info.keyspace_id, info.seqno) == (known.id, known.keyspace_id, known.seqno)
        assert (info.created_at, info.partitions) == (known.created_at, known.partitions)
        assert (info.files, info.metadata) == (known.files, known.metadata)
    assert folder.latest() == found[2]
    assert folder.at(seqno=found[1].seqno) == found[1]
    assert folder.at(seqno=found[2].seqno - 1) == found[1]
    assert folder.at(seqno=found[0].seqno - 1) is None
    assert folder.at(seqno=1 << 50) == found[2]
    assert folder.at(time=found[1].created_at) == found[1]
    assert folder.at(time=found[1].created_at - timedelta(seconds=1)) == found[0]
    assert folder.at(time=START - timedelta(days=1)) is None
    with pytest.raises(ValueError, match="no zone"):
        folder.at(time=datetime(2026, 1, 1))  # noqa: DTZ001
    for both in ({}, {"seqno": 1, "time": START}):
        with pytest.raises(ValueError, match="one of them"):
            folder.at(**both)


def test_names_are_for_people(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock) -> None:
    one, two = take(folder, keyspace, clock, 2)
    two.path.rename(folder.path / "a keeper")
    assert [info.id for info in folder.list()] == [one.id, two.id]


@pytest.mark.parametrize("errnum", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_lack_of_files_is_no_damage(
    folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock, errnum: int
) -> None:
    """Else the newest checkpoint is passed over, and the one before it restored."""
    newest = take(folder, keyspace, clock, 3)[-1]
    for look in (folder.latest, lambda: folder.expire(fjeld.RetentionPolicy(last=1))):
        files.inject("open", 0, errnum, path_contains=newest.path.name)
        with pytest.raises(OSError) as noticed:
            look()
        assert noticed.value.errno == errnum
        files.clear_faults()
    assert len(folder.list()) == 3


def test_damaged_ones_are_told(
    folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock, caplog
) -> None:
    one, two, three = take(folder, keyspace, clock, 3)
    document = two.path / "checkpoint.json"
    text = document.read_text()
    document.unlink()
    document.write_text(text.replace('"seqno":102', '"seqno":109'))
    (folder.path / "lost+found").mkdir()
    assert [info.id for info in folder.list()] == [one.id, three.id]
    assert {each.path.name for each in folder.damaged()} == {two.path.name, "lost+found"}
    assert two.path.name in caplog.text
    report = folder.expire(fjeld.RetentionPolicy(last=1))
    assert [info.id for info in report.removed] == [one.id]
    assert len(report.damaged) == 2
    assert two.path.exists(), "what cannot be read is not thrown away"
    reports = folder.verify()
    assert [each.ok for each in reports] == [True, False, False]


def test_verifying(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock) -> None:
    keyspace.flush()
    one, two = take(folder, keyspace, clock, 2)
    seen: list[tuple[int, ...]] = []
    assert all(each.ok for each in folder.verify(progress=lambda *numbers: seen.append(numbers)))
    total = sum(record.size_bytes for info in (one, two) for record in info.files)
    assert seen[-1] == (2, 2, total, total)
    table = tables_of(two.path)[0]
    data = table.read_bytes()
    table.unlink()
    table.write_bytes(data[:-9] + b"?" + data[-8:])
    reports = folder.verify()
    assert [each.ok for each in reports] == [True, False]
    assert reports[1].problems[0].path == f"tables/{table.name}"
    table.unlink()
    assert "missing" in str(folder.verify()[1].problems[0])
    with fjeld.open(one.path):
        first = folder.verify(scan=False)[0]
        assert (first.ok, first.in_use, first.digest) == (True, True, None)


def test_expiring(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock) -> None:
    taken = take(folder, keyspace, clock, 6)
    policy = fjeld.RetentionPolicy(last=2, daily=2)
    plan = folder.expire(policy, dry_run=True)
    assert plan.dry_run
    assert len(folder.list()) == 6
    report = folder.expire(policy)
    assert [info.id for info in report.removed] == [info.id for info in plan.removed]
    kept = [each.checkpoint.id for each in report.kept]
    assert kept == [info.id for info in folder.list()]
    assert taken[5].id in kept
    assert [info.path.exists() for info in taken] == [info.id in kept for info in taken]
    assert digest_at(taken[5].path) == keyspace.digest()
    assert not folder.expire(policy).removed


def test_what_is_open_is_not_removed(
    folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock
) -> None:
    one, two = take(folder, keyspace, clock, 2)
    with fjeld.open(one.path) as opened_one:
        report = folder.expire(fjeld.RetentionPolicy(last=1))
        assert report.kept[0].reasons == ("it is open",)
        assert content_of(opened_one)
    assert [info.id for info in folder.expire(fjeld.RetentionPolicy(last=1)).removed] == [one.id]
    assert [info.id for info in folder.list()] == [two.id]


def test_two_expire_at_once(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock) -> None:
    taken = take(folder, keyspace, clock, 4)
    gate = Gate("checkpoints:removed")
    task = Task(lambda: folder.expire(fjeld.RetentionPolicy(last=1)))
    gate.wait()
    folder.expire(fjeld.RetentionPolicy(last=1))
    gate.open()
    task.result()
    assert [info.id for info in folder.list()] == [taken[3].id]
    assert os.listdir(folder.path) == [taken[3].path.name]


def test_space(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock) -> None:
    fill(keyspace.partition("a"), 2000, value_bytes=200)
    keyspace.compact()
    take(folder, keyspace, clock, 2)
    space = folder.disk_space()
    assert space.size_bytes == sum(each.own_bytes for each in space.checkpoints) + _shared_once(folder)
    assert space.own_bytes < space.size_bytes, "the keyspace has the tables too"
    keyspace.partition("a").clear()
    keyspace.close()
    alone = folder.disk_space()
    assert alone.own_bytes == alone.size_bytes, "the keyspace has let go of them"
    assert all(each.shared_bytes > 0 for each in alone.checkpoints), "with each other"
    folder.expire(fjeld.RetentionPolicy(last=1))
    last = folder.disk_space()
    assert last.checkpoints[0].own_bytes == last.checkpoints[0].size_bytes == last.own_bytes


def _shared_once(folder: fjeld.CheckpointFolder) -> int:
    """By hand: the blocks of every inode that some other name shares, once each."""
    inodes: dict[int, tuple[int, set[str], int]] = {}
    for place, _, names in os.walk(folder.path):
        checkpoint = Path(place).relative_to(folder.path).parts[:1]
        for name in names:
            about = os.stat(os.path.join(place, name))
            _, owners, _ = inodes.setdefault(about.st_ino, (about.st_nlink, set(), about.st_blocks * 512))
            owners.add(str(checkpoint))
    return sum(size for links, owners, size in inodes.values() if links > 1)


# ---- what crashes leave ----


def test_cleaning(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock) -> None:
    one = take(folder, keyspace, clock, 1)[0]
    dead = folder.path / ".x.0123456789ab.fjeld-staging"
    shutil.copytree(one.path, dead)
    half = folder.path / f".y.0123456789ab{REMOVING_SUFFIX}"
    shutil.copytree(one.path, half)
    (half / "FJELD").unlink()
    taken = folder.path / ".taken.0123456789ab.fjeld-taken"
    keyspace.partition("a")[b"later"] = b"1"
    keyspace.backup_to(taken)
    damaged = folder.path / ".taken.ba9876543210.fjeld-taken"
    shutil.copytree(one.path, damaged)
    (damaged / "checkpoint.json").chmod(0o644)
    (damaged / "checkpoint.json").write_text("{")
    assert [info.id for info in folder.list()] == [one.id], "none of them is a checkpoint"
    assert folder.damaged() == []
    with Staging(str(folder.path / "alive")) as staging:
        assert {path.name for path in folder.clean()} == {dead.name, half.name, taken.name}
        assert os.path.exists(staging.path), "somebody works in it"
    assert len(folder.list()) == 2
    assert folder.latest().seqno == keyspace.seqno
    assert damaged.exists()
    assert folder.clean() == []


def test_cleaning_touches_nothing_else(
    folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace, clock: Clock
) -> None:
    """What somebody has put aside keeps its name, hidden or with one much like ours."""
    one = take(folder, keyspace, clock, 1)[0]
    names = {".put aside", "mine.fjeld-taken", "mine.fjeld-staging", "mine.fjeld-removing"}
    for name in names:
        shutil.copytree(one.path, folder.path / name)
    assert folder.clean() == []
    assert set(os.listdir(folder.path)) == names | {one.path.name}


def test_taking_beside_cleaning(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace) -> None:
    set_sync_point("checkpoints:taken", lambda: folder.clean())
    info = folder.take(keyspace)
    assert [found.path for found in folder.list()] == [info.path], "the other has given it its name"


def test_a_take_that_fails_leaves_nothing(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace) -> None:
    set_sync_point("checkpoints:taken", lambda: files.inject("rename", 0, 5, path_contains=".fjeld-taken"))
    with pytest.raises(OSError, match="Input/output"):
        folder.take(keyspace, with_snapshot=True)
    assert os.listdir(folder.path) == []
    assert keyspace._engine.snapshots.seqnos() == []


def test_a_name_is_given_for_good(folder: fjeld.CheckpointFolder, keyspace: fjeld.Keyspace) -> None:
    """What a power cut takes away again has not been taken."""
    with traced() as trace:
        info = folder.take(keyspace)
    named = trace.index(next(event for event in trace if event[0] == "rename" and event[2] == str(info.path)))
    assert ("sync_dir", str(folder.path)) in trace[named:]


def test_removal_begins_with_a_rename(
    tmp_path: Path, folder: fjeld.CheckpointFolder, keyspace, clock: Clock
) -> None:
    one = take(folder, keyspace, clock, 1)[0]
    with traced() as trace:
        remove_folder(str(one.path))
    assert [event[0] for event in trace[:2]] == ["rename", "sync_dir"]
    assert re.fullmatch(rf"\.{one.path.name}\.[0-9a-f]{{12}}\.fjeld-removing", Path(trace[0][2]).name)
    assert trace[-1] == ("sync_dir", str(folder.path))
    assert os.listdir(folder.path) == []


def test_a_removal_that_failed_is_finished(
    tmp_path: Path, folder: fjeld.CheckpointFolder, keyspace, clock
) -> None:
    one = take(folder, keyspace, clock, 1)[0]
    (one.path / "link").symlink_to(tmp_path)
    (one.path / "folderlink").symlink_to(tmp_path, target_is_directory=True)
    files.inject("unlink", 2, 5)
    with pytest.raises(OSError, match="Input/output"):
        remove_folder(str(one.path))
    files.clear_faults()
    assert folder.list() == []
    assert len(finish_removals(str(folder.path))) == 1
    assert os.listdir(folder.path) == []
    assert tmp_path.exists(), "links are not followed"
