"""A backup is stopped between any two of its steps, and all else is done there; and the other way round.

The oracle: the snapshot of the same moment (`info.snapshot`), and a dict that the test keeps itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fjeld
from tests.small import SMALL_PARTITION
from tests.support import (
    Content,
    Gate,
    Task,
    content_at,
    content_of,
    crash_copy,
    digest_at,
    fill,
    leftovers,
    opened,
    settle,
    tables_of,
)

BACKUP_POINTS = [
    "backup:staged",
    "journal:before_cut",
    "backup:cut",
    "backup:finished",
    "backup:linked",
    "backup:written",
    "backup:published",
]
CUT_POINTS = BACKUP_POINTS[:2]
"""What is done here is in the checkpoint."""


@pytest.fixture
def path(quick_folder: Path) -> Path:
    return quick_folder / "keyspace"


@pytest.fixture
def keyspace(path: Path) -> Iterator[fjeld.Keyspace]:
    """Two partitions with entries in tables of several levels, in sealed journals and in the active one."""
    with opened(path, memtable_bytes=1 << 20) as made:
        for name in ("a", "b"):
            partition = made.partition(name, options=SMALL_PARTITION)
            fill(partition, 150, seed=1)
            partition.flush()
            fill(partition, 150, seed=2, start=100)
        settle(made)
        yield made


# ---- what is done in between ----


def write(keyspace: fjeld.Keyspace) -> None:
    fill(keyspace.partition("a"), 50, seed=3, start=500)
    keyspace.partition("b").remove(b"%08d" % 3)


def write_batch(keyspace: fjeld.Keyspace) -> None:
    with keyspace.batch() as batch:
        for name in ("a", "b"):
            batch.insert(keyspace.partition(name), b"batch", name.encode())


def flush(keyspace: fjeld.Keyspace) -> None:
    write(keyspace)
    keyspace.flush()
    settle(keyspace)


def compact(keyspace: fjeld.Keyspace) -> None:
    before = set(tables_of(Path(keyspace.path)))
    write(keyspace)
    keyspace.compact()
    settle(keyspace)
    assert before != set(tables_of(Path(keyspace.path)))


def switch_journals(keyspace: fjeld.Keyspace) -> None:
    before = keyspace._engine.commit.active_journal.number
    fill(keyspace.partition("b"), 1000, seed=4)
    settle(keyspace)
    assert keyspace._engine.commit.active_journal.number > before


def retire_journals(keyspace: fjeld.Keyspace) -> None:
    switch_journals(keyspace)
    keyspace.flush()
    settle(keyspace)
    assert keyspace._engine.store.version.journals == ()


def drop(keyspace: fjeld.Keyspace) -> None:
    keyspace.drop_partition("a")
    settle(keyspace)


def drop_and_create(keyspace: fjeld.Keyspace) -> None:
    keyspace.drop_partition("a")
    keyspace.partition("a").insert(b"another", b"life")
    settle(keyspace)


def clear(keyspace: fjeld.Keyspace) -> None:
    keyspace.partition("a").clear()
    keyspace.partition("a").insert(b"after", b"the clear")
    settle(keyspace)


def create(keyspace: fjeld.Keyspace) -> None:
    keyspace.partition("new", options=SMALL_PARTITION).insert(b"k", b"v")


def new_manifest(keyspace: fjeld.Keyspace) -> None:
    before = (Path(keyspace.path) / "CURRENT").read_bytes()
    keyspace._engine.store.start_manifest()
    assert (Path(keyspace.path) / "CURRENT").read_bytes() != before
    write(keyspace)


def persist(keyspace: fjeld.Keyspace) -> None:
    write(keyspace)
    keyspace.persist()


def everything(keyspace: fjeld.Keyspace) -> None:
    for action in (write, flush, create, compact, clear, switch_journals, drop, new_manifest_alone):
        action(keyspace)
    settle(keyspace)


def new_manifest_alone(keyspace: fjeld.Keyspace) -> None:
    keyspace._engine.store.start_manifest()


ACTIONS: list[Callable[[fjeld.Keyspace], None]] = [
    write_batch,
    flush,
    compact,
    switch_journals,
    retire_journals,
    drop,
    drop_and_create,
    clear,
    create,
    new_manifest,
    persist,
    everything,
]


def check(
    keyspace: fjeld.Keyspace, info: fjeld.CheckpointInfo, expected: Content, *, dropped: bool = False
) -> None:
    """The checkpoint holds what was there at the cut, and so does the snapshot.

    dropped: a partition of it is gone from the source, and cannot be read in the snapshot any more.
    """
    with info.snapshot as snapshot:
        assert snapshot.seqno == info.seqno
        assert snapshot.partitions() == sorted(expected)
        if not dropped:
            assert content_of(snapshot) == expected
            assert digest_at(info.path) == keyspace.digest(snapshot=snapshot)
    with opened(Path(info.path)) as checkpoint:
        assert content_of(checkpoint) == expected
        assert checkpoint.seqno == info.seqno
        assert checkpoint.parent == (keyspace.id, info.seqno)


SWITCHING = [switch_journals, retire_journals, everything]

# Whoever stands at journal:before_cut holds the lock of switching: nothing that needs it can be done there.
DURING = [
    (point, action)
    for point in BACKUP_POINTS
    for action in ACTIONS
    if point != "journal:before_cut" or action not in SWITCHING
]
NOT_SWITCHING = [point for point in BACKUP_POINTS if point != "journal:before_cut"]


def name_of(value: object) -> str:
    return str(getattr(value, "__name__", value))


@pytest.mark.parametrize(("point", "action"), DURING, ids=name_of)
def test_something_happens_during_a_backup(
    keyspace: fjeld.Keyspace, quick_folder: Path, point: str, action: Callable[[fjeld.Keyspace], None]
) -> None:
    before = copy.deepcopy(content_of(keyspace))
    gate = Gate(point)
    backup = Task(lambda: keyspace.backup_to(quick_folder / "checkpoint", with_snapshot=True))
    gate.wait()
    action(keyspace)
    after = copy.deepcopy(content_of(keyspace))
    assert backup.running, "nobody waits for a backup"
    gate.open()
    info = backup.result()
    dropped = action in (drop, drop_and_create, everything) and point not in CUT_POINTS
    check(keyspace, info, after if point in CUT_POINTS else before, dropped=dropped)
    assert content_of(keyspace) == after
    assert leftovers(quick_folder) == []
    settle(keyspace)
    named = {Path(file.path).name for file in keyspace._engine.store.version.tables()}
    assert {file.name for file in tables_of(Path(keyspace.path))} == named, (
        "the backup has let go of its files"
    )


@pytest.mark.parametrize("link", ["auto", "never"])
@pytest.mark.parametrize("point", NOT_SWITCHING)
def test_a_second_backup_during_a_backup(
    keyspace: fjeld.Keyspace, quick_folder: Path, point: str, link: str
) -> None:
    before = copy.deepcopy(content_of(keyspace))
    gate = Gate(point)
    first = Task(lambda: keyspace.backup_to(quick_folder / "first", link=link, with_snapshot=True))
    gate.wait()
    write(keyspace)
    after = copy.deepcopy(content_of(keyspace))
    second = keyspace.backup_to(quick_folder / "second", link=link, with_snapshot=True)
    gate.open()
    check(keyspace, second, after)
    check(keyspace, first.result(), after if point in CUT_POINTS else before)
    assert len({second.id, first.result().id, keyspace.id}) == 3


@pytest.mark.parametrize("point", NOT_SWITCHING)
def test_two_backups_to_one_target(keyspace: fjeld.Keyspace, quick_folder: Path, point: str) -> None:
    target = quick_folder / "checkpoint"
    gate = Gate(point)
    first = Task(lambda: keyspace.backup_to(target))
    gate.wait()
    if point == "backup:published":
        with pytest.raises(FileExistsError):
            keyspace.backup_to(target)
        gate.open()
        winner = first.result()
    else:
        winner = keyspace.backup_to(target)
        gate.open()
        with pytest.raises(FileExistsError):
            first.result()
    assert leftovers(quick_folder) == []
    with fjeld.open(target) as checkpoint:
        assert checkpoint.id == winner.id
        assert checkpoint.digest() == keyspace.digest()


# ---- close ----


@pytest.mark.parametrize("point", BACKUP_POINTS)
def test_the_keyspace_is_closed_during_a_backup(path: Path, quick_folder: Path, point: str) -> None:
    keyspace = opened(path, memtable_bytes=1 << 20)
    fill(keyspace.partition("a", options=SMALL_PARTITION), 200)
    keyspace.flush()
    fill(keyspace.partition("a"), 200, seed=1)
    expected = content_of(keyspace)
    target = quick_folder / "checkpoint"
    gate = Gate(point)
    backup = Task(lambda: keyspace.backup_to(target, link="never"))
    gate.wait()
    if point == "journal:before_cut":  # the switch is not interrupted
        closing = Task(keyspace.close)
        gate.open()
        finish(backup, target, expected)
        closing.result()
    else:
        keyspace.close()
        gate.open()
        finish(backup, target, expected)
    assert leftovers(quick_folder) == []
    assert content_at(path) == expected


def finish(backup: Task, target: Path, expected: Content) -> None:
    """A backup of a keyspace that was closed meanwhile: whole, or ClosedError and nothing."""
    try:
        backup.result()
    except fjeld.ClosedError:
        assert not target.exists()
    else:
        assert content_at(target) == expected


@pytest.mark.parametrize("flush", [False, True])
def test_a_backup_begins_while_the_keyspace_is_closed(path: Path, quick_folder: Path, flush: bool) -> None:
    keyspace = opened(path, memtable_bytes=1 << 20)
    fill(keyspace.partition("a", options=SMALL_PARTITION), 200)
    expected = content_of(keyspace)
    gate = Gate("close:refused")
    closing = Task(keyspace.close)
    gate.wait()
    with pytest.raises(fjeld.ClosedError):
        keyspace.backup_to(quick_folder / "checkpoint", flush=flush)
    gate.open()
    closing.result()
    assert not (quick_folder / "checkpoint").exists()
    assert content_at(path) == expected


# ---- the other way round: the backup runs while something else is stopped ----


def flush_again(keyspace: fjeld.Keyspace) -> None:
    keyspace.flush()


def drop_b(keyspace: fjeld.Keyspace) -> None:
    keyspace.drop_partition("b")


def clear_b(keyspace: fjeld.Keyspace) -> None:
    keyspace.partition("b").clear()


def create_one(keyspace: fjeld.Keyspace) -> None:
    keyspace.partition("new")


STOPPED: list[tuple[str, Callable[[fjeld.Keyspace], None]]] = [
    *((point, flush_again) for point in ("flush:start", "table:written", "flush:written", "flush:installed")),
    ("compaction:start", fjeld.Keyspace.compact),
    ("compaction:written", fjeld.Keyspace.compact),
    ("compaction:installed", fjeld.Keyspace.compact),
    *(
        (point, action)
        for point in ("manifest:synced", "manifest:installed")
        for action in (flush_again, drop_b, clear_b, create_one)
    ),
    ("journal:before_sync", fjeld.Keyspace.persist),
]


@pytest.mark.parametrize(("point", "action"), STOPPED, ids=name_of)
def test_a_backup_while_something_else_is_stopped(
    keyspace: fjeld.Keyspace, quick_folder: Path, point: str, action: Callable[[fjeld.Keyspace], None]
) -> None:
    """The backup is taken from beginning to end: it waits for nobody, and what it takes opens."""
    expected = content_of(keyspace)
    keyspace._engine.maintainer.pause_compaction()
    gate = Gate(point)
    task = Task(lambda: action(keyspace))
    gate.wait()
    info = Task(lambda: keyspace.backup_to(quick_folder / "checkpoint", with_snapshot=True)).result()
    assert task.running
    crashed = crash_copy(Path(keyspace.path), quick_folder / "crashed")
    gate.open()
    task.result()
    after = content_of(keyspace)
    if point == "manifest:installed":
        expected = after
    check(keyspace, info, expected, dropped="b" not in after)
    assert content_at(crashed) == (after if point.startswith("manifest") else expected)


def test_a_backup_while_a_journal_is_being_finished(path: Path, quick_folder: Path) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        gate = Gate("journal:finished")
        fill(keyspace.partition("a"), 1000)
        gate.wait()
        expected = content_of(keyspace)
        info = Task(lambda: keyspace.backup_to(quick_folder / "checkpoint", with_snapshot=True)).result()
        gate.open()
        check(keyspace, info, expected)


# ---- a moment between two steps is a moment at which the process may die ----


@pytest.mark.parametrize("point", BACKUP_POINTS)
def test_the_process_dies_during_a_backup(keyspace: fjeld.Keyspace, quick_folder: Path, point: str) -> None:
    expected = content_of(keyspace)
    gate = Gate(point)
    backup = Task(lambda: keyspace.backup_to(quick_folder / "checkpoint"))
    gate.wait()
    crashed = crash_copy(Path(keyspace.path), quick_folder / "crashed")
    staged = (quick_folder / "checkpoint").exists()
    gate.open()
    backup.result()
    assert staged is (point == "backup:published"), "it appears whole or not at all"
    assert content_at(crashed) == expected
