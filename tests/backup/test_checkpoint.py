"""The checkpoint: what is in it, what it says of itself, what it refuses, and what is left when it fails."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld import CancelledError, InvalidOptionError, PoisonedError
from fjeld.kernel import files
from fjeld.kernel.checksum import file_xxh128, xxh128_hex
from tests.small import SMALL_PARTITION, small_options
from tests.support import (
    Task,
    content_at,
    content_of,
    digest_at,
    fast_folder,
    fill,
    opened,
    running,
    settle,
    tree_of,
)


@pytest.fixture
def keyspace(path: Path) -> Iterator[fjeld.Keyspace]:
    """Tables on several levels, sealed journals and unflushed writes, in two partitions."""
    with opened(path) as found:
        partition = found.partition("a", options=SMALL_PARTITION)
        fill(partition, 700)
        partition.compact()
        fill(partition, 300, seed=1)
        found.partition("b").insert(b"unflushed", b"v")
        settle(found)
        yield found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"


# ---- what it says of itself ----


def test_the_info(keyspace: fjeld.Keyspace, target: Path) -> None:
    before = datetime.now(UTC)
    info = keyspace.backup_to(target)
    assert info.path == target
    assert uuid.UUID(info.id) != uuid.UUID(info.keyspace_id)
    assert info.keyspace_id == keyspace.id
    assert info.seqno == keyspace.seqno
    assert info.partitions == ("a", "b")
    assert before <= info.created_at <= datetime.now(UTC)
    assert info.metadata is None
    assert info.snapshot is None
    assert 0 < info.stall_seconds < info.elapsed_seconds
    total = sum(file.size_bytes or 0 for file in info.files)
    assert (info.linked_bytes, info.reflinked_bytes, info.copied_bytes) == (total, 0, 0)
    assert {file.path.split("/")[0] for file in info.files} == {"tables", "journals"}
    for file in info.files:
        assert file_xxh128(str(target / file.path)) == (file.size_bytes, file.xxh128)
        assert (target / file.path).stat().st_nlink >= 2


def test_the_document(keyspace: fjeld.Keyspace, target: Path) -> None:
    metadata = {"why": "nightly", "nested": {"list": [1, 2.5, None, True, "ø"]}}
    info = keyspace.backup_to(target, metadata=metadata)
    document = json.loads((target / "checkpoint.json").read_bytes())
    checksum = document.pop("xxh128")
    assert checksum == xxh128_hex(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    assert document == {
        "format": 1,
        "id": info.id,
        "parent": {"id": keyspace.id, "seqno": info.seqno},
        "created_at": info.created_at.isoformat(),
        "seqno": info.seqno,
        "partitions": ["a", "b"],
        "metadata": metadata,
        "files": [
            {"path": file.path, "size_bytes": file.size_bytes, "xxh128": file.xxh128} for file in info.files
        ],
    }
    assert info.metadata == metadata
    assert (target / "checkpoint.json").stat().st_mode & 0o777 == 0o444


def test_the_time_is_the_clocks(path: Path, target: Path) -> None:
    with opened(path, clock=lambda: 1_700_000_000_000_000_000) as keyspace:
        assert keyspace.backup_to(target).created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_metadata_is_a_copy(keyspace: fjeld.Keyspace, target: Path) -> None:
    metadata = {"list": [1]}
    info = keyspace.backup_to(target, metadata=metadata)
    metadata["list"].append(2)
    assert info.metadata == {"list": [1]}


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"in": found}
    return found


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ([1], TypeError),
        ("text", TypeError),
        ({"bytes": b"x"}, ValueError),
        ({"nan": float("nan")}, ValueError),
        ({("a", "tuple"): 1}, ValueError),
        (nested(100_000), ValueError),
    ],
    ids=["list", "text", "bytes", "nan", "key", "depth"],
)
def test_metadata_that_json_cannot_hold(
    keyspace: fjeld.Keyspace, tmp_path: Path, metadata: Any, error
) -> None:
    with pytest.raises(error, match="metadata"):
        keyspace.backup_to(tmp_path / "checkpoint", metadata=metadata)
    assert os.listdir(tmp_path) == ["keyspace"]


def test_a_checkpoint_of_a_checkpoint(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    first = keyspace.backup_to(tmp_path / "first")
    with fjeld.open(tmp_path / "first") as child:
        assert (child.id, child.parent) == (first.id, (keyspace.id, first.seqno))
        assert child.seqno == first.seqno
        child.partition("a").insert(b"k", b"v")
        second = child.backup_to(tmp_path / "second")
        expected = content_of(child)
    with fjeld.open(tmp_path / "second") as grandchild:
        assert grandchild.parent == (first.id, first.seqno + 1)
        assert content_of(grandchild) == expected
    assert keyspace.parent is None
    assert len({keyspace.id, first.id, second.id}) == 3


# ---- what is in it ----


@pytest.mark.parametrize("link", ["auto", "never"])
@pytest.mark.parametrize("flush", [False, True])
def test_the_content(keyspace: fjeld.Keyspace, target: Path, link: str, flush: bool) -> None:
    info = keyspace.backup_to(target, link=link, flush=flush)
    assert any(file.path.endswith(".jnl") for file in info.files) != flush
    with fjeld.open(target) as checkpoint:
        assert checkpoint.digest() == keyspace.digest()
        assert content_of(checkpoint) == content_of(keyspace)
        assert checkpoint.partition("a").options == SMALL_PARTITION


def test_an_empty_keyspace(path: Path, target: Path) -> None:
    with opened(path) as keyspace:
        info = keyspace.backup_to(target)
        assert (info.seqno, info.files, info.partitions, info.linked_bytes) == (0, (), (), 0)
    with fjeld.open(target) as checkpoint:
        assert checkpoint.partitions() == []
        checkpoint.partition("a").insert(b"k", b"v")
    assert content_at(target) == {"a": {b"k": b"v"}}


def test_partitions_without_entries(path: Path, target: Path) -> None:
    with opened(path) as keyspace:
        keyspace.partition("a", options=SMALL_PARTITION)
        assert keyspace.backup_to(target).partitions == ("a",)
    with fjeld.open(target) as checkpoint:
        assert checkpoint.partition("a", create=False).options == SMALL_PARTITION


def test_only_unflushed_writes(path: Path, target: Path) -> None:
    with opened(path) as keyspace:
        keyspace.partition("a").insert(b"k", b"v")
        info = keyspace.backup_to(target)
        assert [Path(file.path).suffix for file in info.files] == [".jnl"]
        assert info.files[0].size_bytes < 200  # not what was allocated
    assert content_at(target) == {"a": {b"k": b"v"}}


def test_dropped_cleared_and_removed_things_do_not_come_back(keyspace: fjeld.Keyspace, target: Path) -> None:
    keyspace.drop_partition("b")
    keyspace.partition("c").insert(b"old", b"v")
    keyspace.partition("c").clear()
    for key in list(keyspace.partition("a"))[::2]:
        keyspace.partition("a").remove(key)
    keyspace.backup_to(target)
    expected = content_of(keyspace)
    assert content_at(target) == expected
    assert expected["c"] == {}
    assert "b" not in expected


def test_a_snapshot_of_the_same_moment(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """While writers run, a digest of the source as of the checkpoint's seqno equals that of the checkpoint."""
    partition, other = keyspace.partition("a"), keyspace.partition("b")

    def write(stop: threading.Event) -> None:
        for number in itertools.count():
            with keyspace.batch() as batch:
                batch.insert(partition, b"%06d" % (number % 500), b"%d" % number)
                batch.insert(other, b"%06d" % (number % 300), b"%d" % number)
            if number % 700 == 0:
                partition.clear()
            if stop.is_set():
                return

    taken = []
    with running(write, threads=2):
        for number in range(6):
            info = keyspace.backup_to(tmp_path / f"checkpoint {number}", with_snapshot=True)
            with info.snapshot as snapshot:
                assert snapshot.seqno == info.seqno
                taken.append((info.path, keyspace.digest(snapshot=snapshot)))
    assert [digest_at(path) for path, _ in taken] == [digest for _, digest in taken]
    assert keyspace.stats()["open_snapshots"] == 0


def test_several_at_once(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    expected = content_of(keyspace)
    tasks = [Task(lambda number=number: keyspace.backup_to(tmp_path / f"{number}")) for number in range(8)]
    infos = [task.result() for task in tasks]
    assert len({info.id for info in infos}) == 8
    for info in infos:
        assert content_at(info.path) == expected


# ---- it and the source do not know each other ----


def test_writing_to_one_never_changes_the_other(keyspace: fjeld.Keyspace, target: Path) -> None:
    keyspace.backup_to(target)
    expected, before = content_of(keyspace), tree_of(target)
    fill(keyspace.partition("a"), 500, seed=9)
    keyspace.compact()
    keyspace.partition("b").clear()
    settle(keyspace)
    assert tree_of(target) == before
    changed = content_of(keyspace)
    with opened(target) as checkpoint:
        assert content_of(checkpoint) == expected
        checkpoint.drop_partition("a")
        fill(checkpoint.partition("b"), 500)
        checkpoint.compact()
        settle(checkpoint)
    assert content_of(keyspace) == changed
    keyspace.compact()
    assert content_of(keyspace) == changed


def test_the_source_may_go(keyspace: fjeld.Keyspace, path: Path, target: Path) -> None:
    keyspace.backup_to(target)
    expected = content_of(keyspace)
    keyspace.close()
    shutil.rmtree(path)
    assert content_at(target) == expected


def test_the_checkpoint_may_go(keyspace: fjeld.Keyspace, target: Path) -> None:
    expected = content_of(keyspace)
    keyspace.backup_to(target)
    shutil.rmtree(target)
    keyspace.compact()
    assert content_of(keyspace) == expected


def test_a_copy_of_a_checkpoint_is_a_keyspace(keyspace: fjeld.Keyspace, target: Path, tmp_path: Path) -> None:
    keyspace.backup_to(target)
    shutil.copytree(target, tmp_path / "copy")
    assert content_at(tmp_path / "copy") == content_of(keyspace)


# ---- links and copies ----

LINK_ERRORS = [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES, errno.ENOSYS]


@pytest.mark.parametrize("errnum", LINK_ERRORS)
def test_what_cannot_be_linked_is_copied(keyspace: fjeld.Keyspace, target: Path, errnum: int) -> None:
    files.inject("link", 0, errnum, count=1000)
    files.inject("reflink", 0, errno.EOPNOTSUPP, count=1000)
    info = keyspace.backup_to(target)
    total = sum(file.size_bytes or 0 for file in info.files)
    assert (info.linked_bytes, info.reflinked_bytes, info.copied_bytes) == (0, 0, total)
    for file in info.files:
        assert (target / file.path).stat().st_nlink == 1
        assert (target / file.path).stat().st_mode & 0o777 == 0o444
        assert file_xxh128(str(target / file.path)) == (file.size_bytes, file.xxh128)
    files.clear_faults()
    assert digest_at(target) == keyspace.digest()


def test_each_file_is_decided_by_itself(keyspace: fjeld.Keyspace, target: Path) -> None:
    files.inject("link", 1, errno.EMLINK, count=2)
    files.inject("reflink", 0, errno.EOPNOTSUPP, count=2)
    info = keyspace.backup_to(target)
    copied = [file for file in info.files if (target / file.path).stat().st_nlink == 1]
    assert len(copied) == 2
    assert info.copied_bytes == sum(file.size_bytes or 0 for file in copied)
    assert info.linked_bytes == sum(file.size_bytes or 0 for file in info.files) - info.copied_bytes
    assert digest_at(target) == keyspace.digest()


def test_another_device(keyspace: fjeld.Keyspace, path: Path, tmp_path: Path) -> None:
    with fast_folder(tmp_path) as folder:
        if folder.stat().st_dev == path.stat().st_dev:
            pytest.skip("there is no second file system to write to")
        info = keyspace.backup_to(folder / "checkpoint")
        assert (info.linked_bytes, info.reflinked_bytes) == (0, 0)
        assert info.copied_bytes == sum(file.size_bytes or 0 for file in info.files)
        assert digest_at(folder / "checkpoint") == keyspace.digest()


def test_an_independent_copy(keyspace: fjeld.Keyspace, target: Path) -> None:
    info = keyspace.backup_to(target, link="never")
    assert (info.linked_bytes, info.reflinked_bytes) == (0, 0)
    assert all((target / file.path).stat().st_nlink == 1 for file in info.files)


@pytest.mark.parametrize("how", ["flipped", "cut", "longer"])
def test_a_damaged_source_is_found_when_it_is_copied(
    keyspace: fjeld.Keyspace, path: Path, tmp_path: Path, how: str
) -> None:
    victim = path / next(keyspace._engine.store.version.tables()).path
    data = bytearray(victim.read_bytes())
    if how == "flipped":
        data[len(data) // 3] ^= 0x10
    elif how == "cut":
        del data[-1]
    else:
        data.append(0)
    victim.chmod(0o644)
    victim.write_bytes(data)
    with pytest.raises(fjeld.CorruptionError, match="backup") as raised:
        keyspace.backup_to(tmp_path / "checkpoint", link="never")
    assert raised.value.path == str(victim)
    assert os.listdir(tmp_path) == ["keyspace"]


# ---- what it refuses ----


def test_targets_that_are_refused(keyspace: fjeld.Keyspace, path: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "way in").symlink_to(path / "tables")
    refused = {
        tmp_path / "folder": FileExistsError,
        tmp_path / "file": FileExistsError,
        tmp_path / "dangling": FileExistsError,
        path: FileExistsError,
        tmp_path / "missing" / "checkpoint": FileNotFoundError,
        tmp_path / "file" / "checkpoint": NotADirectoryError,
        path / "checkpoint": ValueError,
        path / "tables" / "checkpoint": ValueError,
        tmp_path / "folder" / ".." / "keyspace" / "checkpoint": ValueError,
        tmp_path / "way in" / "checkpoint": ValueError,
    }
    before, listing = tree_of(tmp_path), sorted(os.listdir(tmp_path))
    files.start_trace()
    for target, error in refused.items():
        with pytest.raises(error):
            keyspace.backup_to(target)
    assert files.stop_trace() == []  # before any work
    assert (tree_of(tmp_path), sorted(os.listdir(tmp_path))) == (before, listing)


def test_arguments_that_are_refused(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="link"):
        keyspace.backup_to(tmp_path / "checkpoint", link="always")
    with pytest.raises(TypeError):
        keyspace.backup_to(7)
    assert os.listdir(tmp_path) == ["keyspace"]


def test_a_neighbour_with_a_longer_name_is_not_inside(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    (tmp_path / "keyspace-backups").mkdir()
    keyspace.backup_to(tmp_path / "keyspace-backups" / "monday")
    assert digest_at(tmp_path / "keyspace-backups" / "monday") == keyspace.digest()


def test_relative_and_bytes_paths(
    keyspace: fjeld.Keyspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert keyspace.backup_to("relative").path == tmp_path / "relative"
    assert keyspace.backup_to(os.fsencode(tmp_path / "bytes")).path == tmp_path / "bytes"


def test_a_closed_keyspace(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    keyspace.close()
    with pytest.raises(fjeld.ClosedError):
        keyspace.backup_to(tmp_path / "checkpoint")
    assert os.listdir(tmp_path) == ["keyspace"]


# ---- progress and cancel ----


@pytest.mark.parametrize("link", ["auto", "never"])
def test_progress(keyspace: fjeld.Keyspace, target: Path, link: str) -> None:
    calls: list[tuple[int, int, int, int]] = []
    info = keyspace.backup_to(target, link=link, progress=lambda *call: calls.append(call))
    total_bytes = sum(file.size_bytes or 0 for file in info.files)
    assert {(call[1], call[3]) for call in calls} == {(len(info.files), total_bytes)}
    assert calls == sorted(calls)
    assert calls[-1] == (len(info.files), len(info.files), total_bytes, total_bytes)
    assert len(calls) == (len(info.files) if link == "never" else 2), "tables, then journals"


class Refusal(Exception):
    """What a callback raises."""


def test_a_progress_that_raises(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    def refuse(*_: int) -> None:
        raise Refusal

    with pytest.raises(Refusal):
        keyspace.backup_to(tmp_path / "checkpoint", progress=refuse, with_snapshot=True)
    assert os.listdir(tmp_path) == ["keyspace"]
    assert keyspace.stats()["open_snapshots"] == 0


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_cancel(keyspace: fjeld.Keyspace, tmp_path: Path, when: str) -> None:
    cancel = threading.Event()
    if when == "before":
        cancel.set()
    with pytest.raises(CancelledError, match="nothing"):
        keyspace.backup_to(
            tmp_path / "checkpoint",
            link="never",
            cancel=cancel,
            progress=lambda *_: cancel.set(),
            with_snapshot=True,
        )
    assert os.listdir(tmp_path) == ["keyspace"]
    assert keyspace.stats()["open_snapshots"] == 0
    cancel.clear()
    keyspace.backup_to(tmp_path / "checkpoint", cancel=cancel)
    assert digest_at(tmp_path / "checkpoint") == keyspace.digest()


# ---- failures ----

STEPS = 400


@pytest.mark.parametrize("link", ["auto", "never"])
@pytest.mark.parametrize("errnum", [errno.ENOSPC, errno.EIO])
def test_every_operation_fails_once(tmp_path: Path, link: str, errnum: int) -> None:
    """Until the backup succeeds: no target, no staging, no snapshot left open, and the source as it was."""
    with fast_folder(tmp_path) as folder:
        path, poisoned = folder / "keyspace", 0
        keyspace = quiet(path)
        fill(keyspace.partition("a", options=SMALL_PARTITION), 60)
        keyspace.flush()
        for step in range(STEPS):
            keyspace.compact()  # else there would be a table and a journal more each time
            keyspace.partition("a").insert(b"step", b"%d" % step)
            expected = content_of(keyspace)
            files.inject(None, step, errnum)
            try:
                info = keyspace.backup_to(folder / "checkpoint", link=link, with_snapshot=True)
            except (OSError, PoisonedError) as error:
                assert isinstance(error, PoisonedError) or error.errno == errnum
                info = None
            hit = files.faults_hit()
            files.clear_faults()
            if info is None:
                assert sorted(os.listdir(folder)) == ["keyspace"], step
                assert content_of(keyspace) == expected
                assert keyspace.stats()["open_snapshots"] == 0
            else:
                info.snapshot.close()
                assert digest_at(folder / "checkpoint") == keyspace.digest()
                shutil.rmtree(folder / "checkpoint")
            if keyspace.stats()["poisoned"]:
                poisoned += 1
                keyspace.close()
                keyspace = quiet(path)
                assert content_of(keyspace) == expected
            if not hit:
                break
        else:
            pytest.fail(f"a backup takes more than {STEPS} operations")
        assert poisoned >= 1
        keyspace.close()


def quiet(path: Path) -> fjeld.Keyspace:
    """Nothing happens in the background: a fault meets the backup, and the same operation of it each time."""
    options = small_options(memtable_bytes=1 << 20, journal_bytes=1 << 16, journals_max_bytes=1 << 24)
    keyspace = fjeld.open(path, options=options)
    settle(keyspace)
    keyspace._engine.maintainer._workers.stop()
    keyspace._engine.maintainer._journal_worker.stop()
    return keyspace


def test_metadata_that_looks_like_the_document(keyspace: fjeld.Keyspace, target: Path) -> None:
    """A mutant of the encoder lived: it found the list of files in the caller's metadata."""
    metadata = {"files": [], "xxh128": "0" * 32}
    assert keyspace.backup_to(target, metadata=metadata).metadata == metadata
    assert json.loads((target / "checkpoint.json").read_bytes())["metadata"] == metadata
