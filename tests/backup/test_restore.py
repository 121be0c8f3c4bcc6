"""Restore: a whole keyspace at the target, or what was there before."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.backup.checkpoint_file import read_checkpoint
from fjeld.backup.swap import _rename_aside, aside_paths, unfinished_swap
from fjeld.kernel import files
from fjeld.manifest.log import read_manifest
from fjeld.sync_points import set_sync_point
from tests.laws.test_law4_publish import unpublished
from tests.small import SMALL_PARTITION
from tests.support import (
    Gate,
    Task,
    abandon,
    content_at,
    content_of,
    crash_copy,
    digest_at,
    fast_folder,
    fill,
    leftovers,
    manifest_of,
    opened,
    settle,
    tables_of,
    traced,
    tree_of,
)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory: hundreds of syncs."""
    with fast_folder(tmp_path_factory.mktemp("folder")) as folder:
        yield folder


@pytest.fixture
def checkpoint(path: Path, tmp_path: Path) -> Path:
    """Of a keyspace that is closed by now: tables and a journal."""
    with opened(path) as keyspace:
        fill(keyspace.partition("a", options=SMALL_PARTITION), 500)
        keyspace.compact()
        fill(keyspace.partition("b"), 20, seed=1)
        assert len(tables_of(path)) > 4
        keyspace.backup_to(tmp_path / "checkpoint", metadata={"why": "test"})
        keyspace.partition("b").clear()
    return tmp_path / "checkpoint"


def hidden(folder: Path) -> list[str]:
    """What is not for users: staging, swaps, removals."""
    return sorted(name for name in os.listdir(folder) if name.startswith("."))


def test_into_a_new_place(checkpoint: Path, tmp_path: Path) -> None:
    before = tree_of(checkpoint)
    with opened(shutil.copytree(checkpoint, tmp_path / "reference")) as reference:
        digest, parent, seqno = reference.digest(), reference.id, reference.seqno
    info = fjeld.restore(checkpoint, tmp_path / "new")
    assert tree_of(checkpoint) == before, "the source is not touched"
    assert info.linked_bytes == sum(record.size_bytes for record in info.files)
    assert (info.copied_bytes, info.reflinked_bytes, info.resumed_bytes, info.replaced) == (0, 0, 0, None)
    assert (info.parent_id, info.seqno, info.metadata) == (parent, seqno, {"why": "test"})
    assert info.partitions == ("a", "b")
    document = json.loads((tmp_path / "new" / "checkpoint.json").read_text())
    assert document["id"] == info.id != parent
    assert document["parent"] == {"id": parent, "seqno": seqno}
    with opened(tmp_path / "new") as keyspace:
        assert keyspace.digest() == digest
        assert (keyspace.id, keyspace.parent, keyspace.seqno) == (info.id, (parent, seqno), seqno)
        assert keyspace.partition("a").options == SMALL_PARTITION
        keyspace.partition("a").clear()
        keyspace.compact()
    assert tree_of(checkpoint) == before, "nor by what is done with the restored one"
    assert digest_at(checkpoint) == digest
    assert hidden(tmp_path) == []


def test_a_part_stays_one(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 100)
        keyspace.partition("b")
        parts = {"partitions": ["a"], "key_range": (b"00000010", None), "compact": True}
        taken = keyspace.backup_to(tmp_path / "part", **parts)
    fjeld.restore(tmp_path / "part", tmp_path / "new")
    for place in ("part", "new"):
        found = read_checkpoint(tmp_path / place)
        assert (found.chosen, found.key_range, found.compacted) == (("a",), (b"00000010", None), True)
    assert not taken.complete
    assert content_at(tmp_path / "new") == content_at(tmp_path / "part")
    assert len(content_at(tmp_path / "new")["a"]) == 90


def test_copies(checkpoint: Path, tmp_path: Path) -> None:
    info = fjeld.restore(checkpoint, tmp_path / "new", link="never")
    assert info.linked_bytes == 0
    assert info.copied_bytes == sum(record.size_bytes for record in info.files)
    for record in info.files:
        assert (tmp_path / "new" / record.path).stat().st_nlink == 1
    shutil.rmtree(checkpoint)
    assert content_at(tmp_path / "new")["a"]


def test_where_links_cannot_be_made(checkpoint: Path, tmp_path: Path) -> None:
    files.inject("link", 0, errno.EXDEV, count=1000)
    info = fjeld.restore(checkpoint, tmp_path / "new")
    assert info.linked_bytes == 0
    assert info.copied_bytes + info.reflinked_bytes > 0
    files.clear_faults()
    assert content_at(tmp_path / "new") == content_at(checkpoint)


def test_from_a_closed_keyspace_and_from_one_that_died(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 200)
        dead = crash_copy(path, tmp_path / "dead")
        content = {"a": dict(keyspace.partition("a").items())}
    for source, name in ((path, "one"), (dead, "two")):
        info = fjeld.restore(source, tmp_path / name)
        assert info.metadata is None
        assert content_at(tmp_path / name) == content
        assert content_at(source) == content


def test_from_read_only_media(checkpoint: Path, tmp_path: Path) -> None:
    with opened(checkpoint):
        pass  # there is a lock file now
    for folder, _, names in os.walk(checkpoint, topdown=False):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o444)
        os.chmod(folder, 0o555)
    try:
        before = tree_of(checkpoint)
        with traced() as trace:
            fjeld.restore(checkpoint, tmp_path / "new")
        touching = {event[0] for event in trace if str(event[1]).startswith(str(checkpoint))}
        assert touching <= {"open", "read", "close", "link", "copy", "reflink"}
        assert tree_of(checkpoint) == before
    finally:
        for folder, _, _ in os.walk(checkpoint):
            os.chmod(folder, 0o755)


def test_one_source_for_many_restores_at_once(checkpoint: Path, tmp_path: Path) -> None:
    with opened(checkpoint):
        pass
    gate = Gate("restore:moved")
    first = Task(lambda: fjeld.restore(checkpoint, tmp_path / "one"))
    gate.wait()
    fjeld.restore(checkpoint, tmp_path / "two")
    with pytest.raises(fjeld.LockedError):
        fjeld.open(checkpoint)
    gate.open()
    first.result()


# ---- what is refused ----


def test_a_checkpoint_that_is_opened_meanwhile(checkpoint: Path, tmp_path: Path) -> None:
    def open_and_change() -> None:
        with opened(checkpoint) as keyspace:
            keyspace.partition("a").clear()

    set_sync_point("restore:staged", open_and_change)
    with pytest.raises(fjeld.LockedError, match="meanwhile"):
        fjeld.restore(checkpoint, tmp_path / "new")
    assert hidden(tmp_path) == []


def test_bad_arguments(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary").write_text("x")
    (tmp_path / "empty").mkdir()
    before = sorted(os.listdir(tmp_path))
    for source, target, options, kind in (
        (tmp_path / "none", tmp_path / "new", {}, fjeld.NotAKeyspaceError),
        (tmp_path / "file", tmp_path / "new", {}, fjeld.NotAKeyspaceError),
        (tmp_path / "home", tmp_path / "new", {}, fjeld.NotAKeyspaceError),
        (checkpoint, tmp_path / "empty", {}, FileExistsError),
        (checkpoint, tmp_path / "file", {}, FileExistsError),
        (checkpoint, tmp_path / "file", {"replace": True}, FileExistsError),
        (checkpoint, tmp_path / "home", {"replace": True}, fjeld.NotAKeyspaceError),
        (checkpoint, tmp_path / "no" / "new", {}, FileNotFoundError),
        (checkpoint, tmp_path / "file" / "new", {}, NotADirectoryError),
        (checkpoint, checkpoint / "new", {}, ValueError),
        (checkpoint, checkpoint, {"replace": True}, ValueError),
        (checkpoint / "tables", checkpoint, {"replace": True}, ValueError),
        (checkpoint, tmp_path / "new", {"link": "soft"}, fjeld.InvalidOptionError),
    ):
        with pytest.raises(kind):
            fjeld.restore(source, target, **options)
    assert sorted(os.listdir(tmp_path)) == before


def test_what_is_open(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        digest = keyspace.digest()
        with pytest.raises(fjeld.LockedError, match="close it there first"):
            fjeld.restore(checkpoint, path, replace=True)
        with pytest.raises(fjeld.LockedError):
            fjeld.restore(path, tmp_path / "new")
        assert keyspace.digest() == digest
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("link", ["auto", "never"])
def test_a_damaged_source_is_found(checkpoint: Path, path: Path, tmp_path: Path, link: str) -> None:
    digest = digest_at(path)
    table = tables_of(checkpoint)[3]
    data = bytearray(table.read_bytes())
    data[len(data) // 2] ^= 1
    table.unlink()
    table.write_bytes(data)
    for target, replace in ((tmp_path / "new", False), (path, True)):
        with pytest.raises(fjeld.CorruptionError) as caught:
            fjeld.restore(checkpoint, target, replace=replace, link=link)
        assert caught.value.path == str(table)
    table.unlink()
    with pytest.raises((fjeld.CorruptionError, FileNotFoundError)):
        fjeld.restore(checkpoint, tmp_path / "new", link=link)
    assert not (tmp_path / "new").exists()
    assert digest_at(path) == digest
    assert hidden(tmp_path) == []


def test_a_damaged_description_is_found(checkpoint: Path, tmp_path: Path) -> None:
    document = checkpoint / "checkpoint.json"
    text = document.read_text()
    document.unlink()
    document.write_text(text.replace("test", "tests"))
    with pytest.raises(fjeld.CorruptionError, match=r"checkpoint\.json"):
        fjeld.restore(checkpoint, tmp_path / "new")


def test_a_full_disk_is_seen_beforehand(checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    from fjeld.backup import space

    needed = sum(file.size_bytes or 0 for file in read_checkpoint(checkpoint).files)
    monkeypatch.setattr(sys.modules["fjeld.backup.restore"], "FILES_AT_ONCE", 1)  # each would fit
    monkeypatch.setattr(space, "free_bytes", lambda folder: needed - 1)
    with traced() as trace, pytest.raises(OSError, match="free") as caught:
        fjeld.restore(checkpoint, tmp_path / "new", link="never")
    assert caught.value.errno == errno.ENOSPC
    assert not [event for event in trace if event[0] in ("write", "copy")]
    assert hidden(tmp_path) == []
    fjeld.restore(checkpoint, tmp_path / "new")  # links need no room


def test_cancel_and_progress(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []
    info = fjeld.restore(checkpoint, tmp_path / "new", progress=lambda *numbers: seen.append(numbers))
    total = sum(record.size_bytes for record in info.files)
    assert seen[-1] == (len(info.files), len(info.files), total, total)
    assert seen == sorted(seen)
    cancel = threading.Event()
    digest = digest_at(path)
    for point in ("restore:staged", "restore:some", "restore:moved"):
        set_sync_point(point, cancel.set)
        for target in (tmp_path / "other", path):
            with pytest.raises(fjeld.CancelledError, match="restore"):
                fjeld.restore(checkpoint, target, replace=True, cancel=cancel)
            cancel.clear()
        set_sync_point(point, None)
    assert not (tmp_path / "other").exists()
    assert digest_at(path) == digest
    assert hidden(tmp_path) == []


# ---- over an old one ----


@pytest.mark.parametrize("exchange", [True, False])
def test_replacing_keeps_the_old_one(checkpoint: Path, path: Path, tmp_path: Path, exchange: bool) -> None:
    old, new = content_at(path), content_at(checkpoint)
    if not exchange:
        files.inject("exchange", 0, errno.EINVAL, count=100)
    with traced() as trace:
        info = fjeld.restore(checkpoint, path, replace=True)
    assert unpublished([event for event in trace if event[0] != "exchange"]) == []
    assert info.replaced is not None
    assert info.replaced.name.startswith("keyspace.replaced-2")
    assert (content_at(path), content_at(info.replaced)) == (new, old)
    again = fjeld.restore(checkpoint, path, replace=True)
    assert aside_paths(str(path)) == sorted(map(str, (info.replaced, again.replaced)))
    assert {info.replaced, again.replaced} == set(fjeld.discard_replaced(path))
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "keyspace"]
    assert fjeld.discard_replaced(path) == []


def test_the_target_is_never_missing(checkpoint: Path, path: Path) -> None:
    missing = []
    for point in ("staged", "some", "moved", "written", "ready", "exchanged"):
        set_sync_point(f"restore:{point}", lambda: missing.append(not (path / "FJELD").exists()))
    fjeld.restore(checkpoint, path, replace=True)
    assert len(missing) >= 6
    assert not any(missing)


def test_replacing_what_is_damaged(checkpoint: Path, path: Path) -> None:
    new = content_at(checkpoint)
    (path / "FJELD").unlink()
    shutil.rmtree(path / "tables")
    info = fjeld.restore(checkpoint, path, replace=True)
    assert content_at(path) == new
    assert (info.replaced / "CURRENT").exists()


def test_replacing_through_a_link_and_an_empty_folder(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    info = fjeld.restore(checkpoint, tmp_path / "link", replace=True)
    assert info.path == path
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "empty").mkdir()
    fjeld.restore(checkpoint, tmp_path / "empty", replace=True)
    assert content_at(tmp_path / "empty") == content_at(path)
    fjeld.restore(checkpoint, tmp_path / "fresh", replace=True)  # nothing is there: nothing is replaced


def test_discarding_takes_care(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    info = fjeld.restore(checkpoint, path, replace=True)
    (tmp_path / "keyspace.replaced-by-hand").mkdir()
    with fjeld.open(info.replaced), pytest.raises(fjeld.LockedError):
        fjeld.discard_replaced(path)
    moved = path.rename(tmp_path / "moved")
    with pytest.raises(fjeld.NotAKeyspaceError, match="stays"):
        fjeld.discard_replaced(path)
    moved.rename(path)
    assert fjeld.discard_replaced(path) == [info.replaced]
    assert (tmp_path / "keyspace.replaced-by-hand").exists()


def test_two_restores_to_one_target(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    for point, target in (
        ("restore:staged", tmp_path / "new"),
        ("restore:moved", path),
        ("restore:ready", path),
        ("restore:exchanged", path),
    ):
        gate = Gate(point)
        task = Task(lambda target=target: fjeld.restore(checkpoint, target, replace=True))
        gate.wait()
        with pytest.raises(fjeld.LockedError):
            fjeld.restore(checkpoint, target, replace=True)
        gate.open()
        task.result()
        assert content_at(target) == content_at(checkpoint)
    assert hidden(tmp_path) == []


def test_a_swap_that_fails_half_way(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    old = content_at(path)
    files.inject("exchange", 0, errno.EINVAL, count=100)
    set_sync_point("restore:aside", lambda: files.inject("rename", 0, errno.EIO, path_contains=".fjeld-swap"))
    with traced() as trace, pytest.raises(OSError, match="Input/output"):
        fjeld.restore(checkpoint, path, replace=True)
    files.clear_faults()
    set_sync_point("restore:aside", None)
    assert content_at(path) == old, "it was put back"
    back = max(at for at, event in enumerate(trace) if event[0] == "rename" and event[2] == str(path))
    assert ("sync_dir", str(tmp_path)) in trace[back:], "and is there after a power cut"
    assert (hidden(tmp_path), aside_paths(str(path))) == ([], [])


# ---- crashes ----

CHILD = """
import errno, os, sys
import fjeld
from fjeld.kernel import files
from fjeld.sync_points import set_sync_point
checkpoint, target, point, exchange = sys.argv[1:]
sys.modules["fjeld.backup.restore"].FILES_AT_ONCE = 4
if exchange == "no":
    files.inject("exchange", 0, errno.EINVAL, count=100)
set_sync_point(point, lambda: os._exit(9))
fjeld.restore(checkpoint, target, replace=True, link="never")
"""


def die_in(point: str, checkpoint: Path, target: Path, exchange: bool = True) -> None:
    arguments = [checkpoint, target, point, "yes" if exchange else "no"]
    died = subprocess.run([sys.executable, "-c", CHILD, *map(str, arguments)], check=False)
    assert died.returncode == 9


@pytest.mark.parametrize("point", ["staged", "some", "moved", "written", "ready", "exchanged"])
def test_a_process_that_dies_and_the_next(checkpoint: Path, path: Path, tmp_path: Path, point: str) -> None:
    old, new = content_at(path), content_at(checkpoint)
    die_in(f"restore:{point}", checkpoint, path)
    assert content_at(path) == (new if point == "exchanged" else old), "never anything in between"
    info = fjeld.restore(checkpoint, path, replace=True, link="never")
    assert content_at(path) == new
    if point == "some":
        assert info.resumed_bytes > 0 < info.copied_bytes
    elif point in ("moved", "written", "ready"):
        assert info.copied_bytes == 0, "everything was there"
    kept = [content_at(aside) for aside in aside_paths(str(path))]
    assert kept == ([old] if point != "exchanged" else [old, new])[: len(kept)]
    assert old in kept
    assert hidden(tmp_path) == []


def test_a_death_between_two_renames_is_explained(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    """Only where the file system cannot exchange names."""
    old, new = content_at(path), content_at(checkpoint)
    die_in("restore:aside", checkpoint, path, exchange=False)
    assert not path.exists()
    assert unfinished_swap(str(path)) is not None
    with pytest.raises(fjeld.NotAKeyspaceError, match="run it again"):
        fjeld.open(path)
    assert not path.exists(), "no empty keyspace is begun"
    assert [content_at(aside) for aside in aside_paths(str(path))] == [old]
    info = fjeld.restore(checkpoint, path)
    assert info.copied_bytes == info.linked_bytes == 0
    assert content_at(path) == new
    assert hidden(tmp_path) == []


def test_discarding_finishes_a_swap(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    die_in("restore:exchanged", checkpoint, path)
    assert len(fjeld.discard_replaced(path)) == 1
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "keyspace"]


def test_what_is_resumed_is_checked(checkpoint: Path, tmp_path: Path) -> None:
    """A staging folder full of lies: damaged, foreign, writable, a link, another restore's papers."""
    new = content_at(checkpoint)
    die_in("restore:written", checkpoint, tmp_path / "new")
    staging = tmp_path / ".new.restore.fjeld-staging"
    tables = tables_of(staging)
    for table in tables[:3]:
        table.chmod(0o644)
    tables[0].write_bytes(tables[0].read_bytes()[:-1] + b"?")
    tables[1].write_bytes(b"short")
    tables[3].unlink()
    tables[3].symlink_to(tables_of(checkpoint)[3])
    tables[4].unlink()
    tables[4].mkdir()
    (staging / "foreign").mkdir()
    (staging / "foreign" / "file").write_text("x")
    (staging / "tables" / "000000099999.sst").write_text("x")
    shutil.rmtree(staging / "journals")
    (staging / "journals").write_text("x")
    info = fjeld.restore(checkpoint, tmp_path / "new", link="never")
    assert info.resumed_bytes > 0
    assert content_at(tmp_path / "new") == new
    assert sorted(os.listdir(tmp_path / "new" / "tables")) == [
        table.name for table in tables_of(tmp_path / "new")
    ]
    assert not (tmp_path / "new" / "foreign").exists()
    for table in tables_of(tmp_path / "new"):
        assert not table.is_symlink()


def test_a_left_over_of_another_source(checkpoint: Path, path: Path, tmp_path: Path) -> None:
    die_in("restore:moved", checkpoint, tmp_path / "new")
    with opened(tmp_path / "third") as keyspace:
        fill(keyspace.partition("z"), 10)
    fjeld.restore(tmp_path / "third", tmp_path / "new")
    assert list(content_at(tmp_path / "new")) == ["z"]


def test_laws_of_publishing(checkpoint: Path, tmp_path: Path) -> None:
    for link in ("auto", "never"):
        with traced() as trace:
            fjeld.restore(checkpoint, tmp_path / link, link=link)
        assert unpublished(trace) == []


def test_poisoned_and_abandoned_sources_are_closed_ones(path: Path, tmp_path: Path) -> None:
    keyspace = opened(path)
    keyspace.partition("a")[b"k"] = b"v"
    abandon(keyspace)
    fjeld.restore(path, tmp_path / "new")
    assert content_at(tmp_path / "new") == {"a": {b"k": b"v"}}


def test_an_interrupt_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    for point in ("restore:staged", "restore:moved", "restore:written"):
        set_sync_point(point, interrupt)
        with pytest.raises(KeyboardInterrupt):
            fjeld.restore(checkpoint, tmp_path / "new")
        set_sync_point(point, None)
    assert leftovers(tmp_path) == []


def test_the_folder_that_it_is_to_go_into(checkpoint: Path, tmp_path: Path) -> None:
    """What is to be done is said, and nothing is made."""
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileNotFoundError, match="nowhere does not exist: make it first"):
        fjeld.restore(checkpoint, tmp_path / "nowhere" / "restored")
    marker = checkpoint / "FJELD"
    with pytest.raises(NotADirectoryError, match="not a folder: a restore has to go into one"):
        fjeld.restore(checkpoint, marker / "restored")
    assert sorted(os.listdir(tmp_path)) == before


def test_only_journals_that_count_are_restored(checkpoint: Path, tmp_path: Path) -> None:
    """What retired, or is no journal, may lie about."""
    floor = read_manifest(manifest_of(checkpoint))[0].journal_floor
    for name in (f"{floor - 1:012d}.jnl", "notes.txt"):
        (checkpoint / "journals" / name).write_bytes(b"of no meaning")
    fjeld.restore(checkpoint, tmp_path / "new")
    names = set(os.listdir(tmp_path / "new" / "journals"))
    assert names
    assert not names & {f"{floor - 1:012d}.jnl", "notes.txt"}
    assert content_at(tmp_path / "new") == content_at(checkpoint)


def test_the_oldest_journal_that_counts_is_restored(path: Path, tmp_path: Path) -> None:
    """Its number is the floor, and the manifest of a process that died does not list it."""
    with opened(path) as keyspace:
        keyspace.partition("a").insert(b"flushed", b"1")
        keyspace.persist(fjeld.PersistMode.SYNC_DATA)
        with keyspace.pin():
            pass  # the journal is sealed
        keyspace.flush()
        settle(keyspace)
        keyspace.partition("a").insert(b"in the journal", b"1")
        killed = crash_copy(path, tmp_path / "killed")
        expected = content_of(keyspace)
    version = read_manifest(manifest_of(killed))[0]
    assert f"{version.journal_floor:012d}.jnl" in os.listdir(killed / "journals")
    assert version.journals == ()
    fjeld.restore(killed, tmp_path / "new")
    assert content_at(tmp_path / "new") == expected


def test_a_lock_that_fails_is_no_lock(checkpoint: Path, tmp_path: Path) -> None:
    """Unlike a file system without locks: nobody can tell whether the source is open."""
    with fjeld.open(checkpoint):
        pass
    files.inject("lock", 0, errno.EIO, path_contains=str(checkpoint / "LOCK"))
    with pytest.raises(OSError, match="Input/output"):
        fjeld.restore(checkpoint, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert hidden(tmp_path) == []
    files.inject("lock", 0, errno.ENOLCK, path_contains=str(checkpoint / "LOCK"), count=10)
    fjeld.restore(checkpoint, tmp_path / "new")


def test_two_are_kept_aside_in_one_moment(tmp_path: Path) -> None:
    """The later one gets the next name, and both are found."""
    target, kept = tmp_path / "keyspace", []
    for _ in range(3):
        target.mkdir()
        kept.append(_rename_aside(str(target), str(target), "20260301T120000Z"))
    first = f"{target}.replaced-20260301T120000Z"
    assert kept == [first, f"{first}-2", f"{first}-3"]
    assert aside_paths(str(target)) == kept
