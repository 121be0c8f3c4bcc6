"""A backup that writes tables of its own is stopped between any two of its steps, and all else is done there;
and the other way round. The oracle is a dict that the test keeps itself, and the snapshot of the same moment.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fjeld
from tests.interleaving.test_backup_interleavings import (
    ACTIONS,
    STOPPED,
    check,
    drop,
    drop_and_create,
    everything,
    name_of,
    write,
)
from tests.small import SMALL_PARTITION
from tests.support import (
    Gate,
    Task,
    content_at,
    content_of,
    crash_copy,
    fill,
    leftovers,
    opened,
    settle,
    tables_of,
)

POINTS = [
    "backup:staged",
    "backup:cut",
    "backup:finished",
    "table:written",
    "backup:linked",
    "backup:written",
]
BEFORE_THE_CUT = "backup:staged"

VARIANTS: dict[str, dict[str, Any]] = {
    "compact": {"compact": True},
    "range": {"key_range": (b"", None)},
}
NARROW = (b"%08d" % 60, b"%08d" % 180)


@pytest.fixture
def path(quick_folder: Path) -> Path:
    return quick_folder / "keyspace"


@pytest.fixture
def keyspace(path: Path) -> Iterator[fjeld.Keyspace]:
    with opened(path, memtable_bytes=1 << 20) as made:
        for name in ("a", "b"):
            partition = made.partition(name, options=SMALL_PARTITION)
            fill(partition, 150, seed=1)
            partition.flush()
            fill(partition, 150, seed=2, start=100)
        settle(made)
        yield made


@pytest.mark.parametrize("chosen", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("action", ACTIONS, ids=name_of)
@pytest.mark.parametrize("point", POINTS)
def test_something_happens_during_a_backup(
    keyspace: fjeld.Keyspace, quick_folder: Path, point: str, action: Callable[..., None], chosen: Any
) -> None:
    before = copy.deepcopy(content_of(keyspace))
    gate = Gate(point)
    backup = Task(lambda: keyspace.backup_to(quick_folder / "checkpoint", with_snapshot=True, **chosen))
    gate.wait()
    action(keyspace)
    after = copy.deepcopy(content_of(keyspace))
    assert backup.running, "nobody waits for a backup"
    gate.open()
    dropped = action in (drop, drop_and_create, everything) and point != BEFORE_THE_CUT
    check(keyspace, backup.result(), after if point == BEFORE_THE_CUT else before, dropped=dropped)
    assert content_of(keyspace) == after
    assert leftovers(quick_folder) == []
    settle(keyspace)
    named = {Path(file.path).name for file in keyspace._engine.store.version.tables()}
    assert {file.name for file in tables_of(Path(keyspace.path))} == named, (
        "the backup has let go of its files"
    )


@pytest.mark.parametrize("point", POINTS)
def test_a_wanted_partition_is_dropped(keyspace: fjeld.Keyspace, quick_folder: Path, point: str) -> None:
    before = copy.deepcopy(content_of(keyspace))
    gate = Gate(point)
    backup = Task(lambda: keyspace.backup_to(quick_folder / "checkpoint", partitions=["a"], key_range=NARROW))
    gate.wait()
    keyspace.drop_partition("a")
    gate.open()
    if point == BEFORE_THE_CUT:
        with pytest.raises(KeyError, match="'a'"):
            backup.result()
        assert not (quick_folder / "checkpoint").exists()
    else:
        backup.result()
        inside = {key: value for key, value in before["a"].items() if NARROW[0] <= key < NARROW[1]}
        assert content_at(quick_folder / "checkpoint") == {"a": inside}
    assert leftovers(quick_folder) == []


@pytest.mark.parametrize(("point", "action"), STOPPED, ids=name_of)
@pytest.mark.parametrize("chosen", VARIANTS.values(), ids=VARIANTS)
def test_a_backup_while_something_else_is_stopped(
    keyspace: fjeld.Keyspace, quick_folder: Path, point: str, action: Callable[..., None], chosen: Any
) -> None:
    """The backup is taken from beginning to end: it waits for nobody, and what it takes opens."""
    expected = content_of(keyspace)
    keyspace._engine.maintainer.pause_compaction()
    gate = Gate(point)
    task = Task(lambda: action(keyspace))
    gate.wait()
    info = Task(
        lambda: keyspace.backup_to(quick_folder / "checkpoint", with_snapshot=True, **chosen)
    ).result()
    assert task.running
    gate.open()
    task.result()
    after = content_of(keyspace)
    if point == "manifest:installed":
        expected = after
    check(keyspace, info, expected, dropped="b" not in after)


@pytest.mark.parametrize("point", POINTS)
def test_the_keyspace_is_closed_during_a_backup(path: Path, quick_folder: Path, point: str) -> None:
    keyspace = opened(path, memtable_bytes=1 << 20)
    fill(keyspace.partition("a", options=SMALL_PARTITION), 200)
    keyspace.flush()
    fill(keyspace.partition("a"), 200, seed=1)
    expected = content_of(keyspace)
    target = quick_folder / "checkpoint"
    gate = Gate(point)
    backup = Task(lambda: keyspace.backup_to(target, compact=True))
    gate.wait()
    keyspace.close()
    gate.open()
    try:
        backup.result()
    except fjeld.ClosedError:
        assert not target.exists()
    else:
        assert content_at(target) == expected
    assert leftovers(quick_folder) == []
    assert content_at(path) == expected


@pytest.mark.parametrize("point", POINTS)
def test_the_process_dies_during_a_backup(keyspace: fjeld.Keyspace, quick_folder: Path, point: str) -> None:
    expected = content_of(keyspace)
    gate = Gate(point)
    backup = Task(lambda: keyspace.backup_to(quick_folder / "checkpoint", compact=True))
    gate.wait()
    crashed = crash_copy(Path(keyspace.path), quick_folder / "crashed")
    assert not (quick_folder / "checkpoint").exists()
    gate.open()
    backup.result()
    assert content_at(crashed) == expected


TOGETHER_POINTS = ["together:staged", "together:cut", "together:written", "together:published"]


@pytest.mark.parametrize("point", TOGETHER_POINTS)
@pytest.mark.parametrize("action", ACTIONS, ids=name_of)
def test_something_happens_during_one_of_several(
    keyspace: fjeld.Keyspace, quick_folder: Path, point: str, action: Callable[..., None]
) -> None:
    with opened(quick_folder / "other", memtable_bytes=1 << 20) as other:
        write(other)
        before = [copy.deepcopy(content_of(each)) for each in (keyspace, other)]
        gate = Gate(point)
        backup = Task(
            lambda: fjeld.backup_together({quick_folder / "1": keyspace, quick_folder / "2": other})
        )
        gate.wait()
        action(keyspace)
        write(other)
        after = [copy.deepcopy(content_of(each)) for each in (keyspace, other)]
        assert backup.running
        gate.open()
        infos = backup.result()
        expected = after if point == "together:staged" else before
        assert [content_at(path) for path in infos] == expected
        assert [content_of(each) for each in (keyspace, other)] == after
    assert leftovers(quick_folder) == []
