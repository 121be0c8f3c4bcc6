"""Law 4: what others can see appears whole or not at all, and its parent is synced."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from fjeld.sync_points import set_sync_point
from tests.support import Event, content_of, fill, leftovers, opened, settle, traced


def unpublished(trace: list[Event]) -> list[str]:
    """Renames of what is not on disk, and renames that are not on disk at the end of the trace."""
    dirty: set[str] = set()
    unnamed: dict[str, set[str]] = {}  # what has come into each folder since it was synced
    found = []
    for name, path, *rest in trace:
        parent = str(Path(path).parent)
        if name in ("create", "mkdir"):
            unnamed.setdefault(parent, set()).add(path)
        elif name == "link":
            unnamed.setdefault(str(Path(rest[0]).parent), set()).add(rest[0])
        elif name == "write":
            dirty.add(path)
        elif name in ("sync", "sync_all"):
            dirty.discard(path)
        elif name == "sync_dir":
            unnamed.pop(path, None)
        elif name == "rename":
            target = rest[0]
            inside = path + "/"
            found += [
                f"{file}: renamed unsynced" for file in dirty if file == path or file.startswith(inside)
            ]
            found += [
                f"{folder}: renamed with unsynced names"
                for folder in unnamed
                if folder == path or folder.startswith(inside)
            ]
            unnamed.setdefault(str(Path(target).parent), set()).add(target)
            unnamed.get(parent, set()).discard(path)
    renamed = {event[2] for event in trace if event[0] == "rename"}
    return found + [f"{folder}: not synced after a rename" for folder in unnamed if unnamed[folder] & renamed]


def test_offences_are_found() -> None:
    staging = [("mkdir", "/p/s"), ("create", "/p/s/f"), ("write", "/p/s/f", 0, b"x"), ("sync_all", "/p/s/f")]
    good = [*staging, ("sync_dir", "/p/s"), ("rename", "/p/s", "/p/t"), ("sync_dir", "/p")]
    assert unpublished(good) == []
    for left_out in (3, 4, 6):
        assert unpublished(good[:left_out] + good[left_out + 1 :])


def test_a_keyspace_and_its_manifests(path: Path) -> None:
    with traced() as trace:
        for _ in range(2):
            with opened(path) as keyspace:
                fill(keyspace.partition("a"), 300)
    assert unpublished(trace) == []
    renamed = {Path(event[2]).name for event in trace if event[0] == "rename"}
    assert renamed == {"CURRENT", "FJELD"}


@pytest.mark.parametrize("link", ["auto", "never"])
def test_a_checkpoint(path: Path, tmp_path: Path, link: str) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 1000)
        settle(keyspace)
        with traced() as trace:
            keyspace.backup_to(tmp_path / "checkpoint", link=link)
    assert unpublished(trace) == []
    assert any(event[0] == "rename" and event[2] == str(tmp_path / "checkpoint") for event in trace)


def test_a_checkpoint_is_there_whole_or_not_at_all(path: Path, tmp_path: Path) -> None:
    """At every operation of a backup the target is not there; once it is, it is whole."""
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 300)
        settle(keyspace)
        target = tmp_path / "checkpoint"
        with traced() as trace:
            keyspace.backup_to(target)
        touched = [event for event in trace if str(target) in (event[1], *event[2:3])]
        assert [event[0] for event in touched] == ["rename"]
        assert content_of(fjeld.open(target)) == content_of(keyspace)


def test_a_rename_never_replaces(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 10)
        target = tmp_path / "checkpoint"

        def somebody_is_faster() -> None:
            target.mkdir()
            (target / "precious").write_text("data")

        set_sync_point("backup:written", somebody_is_faster)
        with pytest.raises(FileExistsError):
            keyspace.backup_to(target)
        assert (target / "precious").read_text() == "data"
        assert leftovers(tmp_path) == []


def test_a_parent_that_cannot_be_synced_leaves_no_target(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 10)
        settle(keyspace)
        parent = tmp_path / "parent"
        parent.mkdir()
        with traced() as trace:
            keyspace.backup_to(parent / "another")
        syncs = [event for event in trace if event[0] == "sync_dir" and str(parent) in event[1]]
        assert syncs[-1][1] == str(parent)
        files.inject("sync_dir", len(syncs) - 1, errno.EIO, path_contains=str(parent))
        with pytest.raises(OSError, match="Input/output"):
            keyspace.backup_to(parent / "checkpoint")
        assert os.listdir(parent) == ["another"]
