"""Links that are made ahead: beside the other steps, reported by the caller's thread, gone when it gives up."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.backup import links
from fjeld.kernel import files
from fjeld.sync_points import set_sync_point
from tests.support import (
    TIMEOUT_SECONDS,
    Gate,
    Task,
    content_at,
    content_of,
    fill,
    leftovers,
    opened,
    settle,
    traced,
)


@pytest.fixture
def keyspace(quick_folder: Path) -> Iterator[fjeld.Keyspace]:
    """With several tables, and entries that are in no table."""
    with opened(quick_folder / "keyspace") as made:
        fill(made.partition("a"), 600)
        made.flush()
        fill(made.partition("a"), 50, seed=1)
        settle(made)
        yield made


@pytest.fixture
def target(quick_folder: Path) -> Path:
    return quick_folder / "checkpoint"


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fjeld-backup-links"]


@pytest.mark.parametrize("point", ["backup:finished", "backup:described"])
def test_they_wait_for_nothing(keyspace: fjeld.Keyspace, target: Path, point: str) -> None:
    """Whoever makes the links needs neither the journals nor the documents."""
    done = threading.Event()
    set_sync_point("backup:linked_ahead", done.set)
    set_sync_point(point, lambda: [done.wait(TIMEOUT_SECONDS) or pytest.fail("nobody links")])
    info = keyspace.backup_to(target)
    assert info.copied_bytes == 0
    assert content_at(target) == content_of(keyspace)


def test_nothing_waits_for_them(keyspace: fjeld.Keyspace, target: Path) -> None:
    """The journal is finished and the documents are written while not one link is made."""
    described = threading.Event()
    set_sync_point("backup:linking", lambda: [described.wait(TIMEOUT_SECONDS) or pytest.fail("they wait")])
    set_sync_point("backup:described", described.set)
    with traced() as trace:
        keyspace.backup_to(target)
    first = next(at for at, event in enumerate(trace) if event[0] == "link")
    written = [Path(event[1]).name for event in trace[:first] if event[0] == "sync_all"]
    assert {"checkpoint.json", "FJELD"} < set(written)
    assert any(name.endswith(".jnl") for name in written)
    assert content_at(target) == content_of(keyspace)


def test_the_target_appears_after_the_last_of_them(keyspace: fjeld.Keyspace, target: Path) -> None:
    gate = Gate("backup:linking")
    backup = Task(lambda: keyspace.backup_to(target))
    gate.wait()
    assert not target.exists()
    gate.open()
    assert all((target / file.path).exists() for file in backup.result().files)


def test_progress_comes_from_the_callers_thread(
    keyspace: fjeld.Keyspace, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "LINKS_AT_ONCE", 2)
    here, calls = threading.current_thread(), []

    def note(*call: int) -> None:
        assert threading.current_thread() is here
        calls.append(call[0])

    info = keyspace.backup_to(target, progress=note)
    assert calls == sorted({*range(2, len(info.files) - 1, 2), len(info.files) - 1, len(info.files)})


@pytest.mark.parametrize(
    ("refused", "number"), [("link", errno.EMLINK), ("link", errno.EXDEV), ("link", errno.EPERM)]
)
def test_what_cannot_be_linked_is_copied(
    keyspace: fjeld.Keyspace, target: Path, refused: str, number: int
) -> None:
    files.inject(refused, 1, number)
    info = keyspace.backup_to(target)
    assert info.copied_bytes + info.reflinked_bytes > 0
    assert info.linked_bytes > 0
    files.clear_faults()
    assert content_at(target) == content_of(keyspace)


# ---- the caller gives up ----


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The links are not begun before they are cancelled."""
    gate = Gate("backup:linking")
    cancel = links.Links.cancel

    def cancelled(self: links.Links) -> None:
        cancel(self)
        gate.open()

    monkeypatch.setattr(links.Links, "cancel", cancelled)
    return gate


def fail_finish(keyspace: fjeld.Keyspace, target: Path) -> None:
    files.inject("sync_all", 0, errno.EIO, path_contains=".jnl")
    with pytest.raises(fjeld.PoisonedError):
        keyspace.backup_to(target)


def fail_documents(keyspace: fjeld.Keyspace, target: Path) -> None:
    files.inject("write", 0, errno.ENOSPC, path_contains="checkpoint.json")
    with pytest.raises(OSError, match="No space"):
        keyspace.backup_to(target)


def interrupt(keyspace: fjeld.Keyspace, target: Path) -> None:
    def now() -> None:
        raise KeyboardInterrupt

    set_sync_point("backup:finished", now)
    with pytest.raises(KeyboardInterrupt):
        keyspace.backup_to(target)


def cancel_beforehand(keyspace: fjeld.Keyspace, target: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(fjeld.CancelledError):
        keyspace.backup_to(target, cancel=cancel)


def cancel_while_it_waits(keyspace: fjeld.Keyspace, target: Path) -> None:
    cancel = threading.Event()
    set_sync_point("backup:described", cancel.set)
    with pytest.raises(fjeld.CancelledError):
        keyspace.backup_to(target, cancel=cancel)


@pytest.mark.parametrize(
    "give_up", [fail_finish, fail_documents, interrupt, cancel_beforehand, cancel_while_it_waits]
)
def test_nobody_links_for_a_backup_that_is_given_up(
    keyspace: fjeld.Keyspace, target: Path, held: Gate, give_up
) -> None:
    with traced() as trace:
        give_up(keyspace, target)
    assert held.reached.is_set()
    assert workers() == []
    assert not any(event[0] == "link" for event in trace)
    assert leftovers(target.parent) == []
    assert not target.exists()


def test_cancelled_while_another_thread_links(keyspace: fjeld.Keyspace, target: Path, held: Gate) -> None:
    """The caller waits for links, and sees it all the same."""
    cancel, described = threading.Event(), threading.Event()
    set_sync_point("backup:described", described.set)
    backup = Task(lambda: keyspace.backup_to(target, cancel=cancel))
    held.wait()
    assert described.wait(TIMEOUT_SECONDS)
    cancel.set()
    with pytest.raises(fjeld.CancelledError):
        backup.result()
    assert workers() == []
    assert leftovers(target.parent) == []


# ---- the other thread ----


def test_its_errors_are_the_callers(keyspace: fjeld.Keyspace, target: Path) -> None:
    def fail() -> None:
        raise MemoryError("no names")

    set_sync_point("backup:linking", fail)
    with pytest.raises(MemoryError, match="no names"):
        keyspace.backup_to(target)
    assert leftovers(target.parent) == []
    assert workers() == []


def test_where_no_thread_can_be_had(
    keyspace: fjeld.Keyspace, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "fjeld-backup-links":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    made = []
    set_sync_point("backup:linked_ahead", lambda: made.append(threading.current_thread()))
    info = keyspace.backup_to(target)
    assert made == [threading.current_thread()]
    assert info.copied_bytes == 0
    assert content_at(target) == content_of(keyspace)


def test_several_keyspaces_have_one_such_thread(quick_folder: Path) -> None:
    keyspaces = [opened(quick_folder / name) for name in "xyz"]
    for keyspace in keyspaces:
        fill(keyspace.partition("a"), 100)
        keyspace.flush()
        settle(keyspace)
    linkers: list[threading.Thread] = []
    set_sync_point("backup:linking", lambda: linkers.append(threading.current_thread()))
    fjeld.backup_together({quick_folder / f"of {ks.path.name}": ks for ks in keyspaces})
    assert len(linkers) == 3
    assert {thread.name for thread in linkers} == {"fjeld-backup-links"}
    assert len(set(linkers)) == 1
    for name, keyspace in zip("xyz", keyspaces, strict=True):
        assert content_at(quick_folder / f"of {name}") == content_of(keyspace)
        keyspace.close()
