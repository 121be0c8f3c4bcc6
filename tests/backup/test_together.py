"""Several keyspaces at one moment: the checkpoints agree with each other, and appear all or none."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld import CancelledError, ClosedError, PoisonedError
from fjeld.cut import cut_together
from fjeld.kernel import files
from tests.support import (
    Gate,
    Task,
    content_at,
    content_of,
    digest_at,
    fill,
    leftovers,
    opened,
    running,
    settle,
)


@pytest.fixture
def keyspaces(quick_folder: Path) -> Iterator[list[fjeld.Keyspace]]:
    made = [opened(quick_folder / f"keyspace {number}") for number in range(3)]
    for number, keyspace in enumerate(made):
        fill(keyspace.partition("p"), 200, seed=number)
    yield made
    for keyspace in made:
        keyspace.close()


def targets(folder: Path, keyspaces: list[fjeld.Keyspace]) -> dict[Path, fjeld.Keyspace]:
    return {folder / f"checkpoint {number}": keyspace for number, keyspace in enumerate(keyspaces)}


@pytest.mark.parametrize("link", ["auto", "never"])
@pytest.mark.parametrize("flush", [False, True])
def test_each_is_a_checkpoint(
    keyspaces: list[fjeld.Keyspace], quick_folder: Path, link: str, flush: bool
) -> None:
    chosen = targets(quick_folder, keyspaces)
    calls: list[tuple[int, int, int, int]] = []
    infos = fjeld.backup_together(
        chosen,
        link=link,
        flush=flush,
        verify=True,
        metadata={"why": "all"},
        progress=lambda *call: calls.append(call),
    )
    assert list(infos) == list(chosen)
    for path, info in infos.items():
        keyspace = chosen[path]
        assert (info.path, info.keyspace_id, info.seqno) == (path, keyspace.id, keyspace.seqno)
        assert info.metadata == {"why": "all"}
        assert (info.copied_bytes == 0) == (link == "auto")
        assert digest_at(path) == keyspace.digest()
        with fjeld.open(path) as checkpoint:
            assert checkpoint.parent == (keyspace.id, info.seqno)
    assert len({info.id for info in infos.values()}) == 3
    assert calls[-1][0] == calls[-1][1] == 2 * sum(len(info.files) for info in infos.values())
    assert calls[-1][2] == calls[-1][3]


def test_one_moment(keyspaces: list[fjeld.Keyspace], quick_folder: Path) -> None:
    """Who writes to the first and then to the second is never found in the second alone. The law."""
    first, second = (keyspace.partition("n") for keyspace in keyspaces[:2])

    def write(stop: threading.Event) -> None:
        for number in itertools.count(1):
            first.insert(b"n", b"%d" % number)
            second.insert(b"n", b"%d" % number)
            if stop.is_set():
                return

    found = []
    with running(write):
        for number in range(25):
            # The order in which they are given makes no difference.
            given = keyspaces[:2] if number % 2 else keyspaces[1::-1]
            fjeld.backup_together(
                {quick_folder / f"{number} {keyspaces.index(keyspace)}": keyspace for keyspace in given}
            )
            if number % 5 == 0:
                keyspaces[0].flush()
    for number in range(25):
        a, b = (
            int(content_at(quick_folder / f"{number} {which}").get("n", {}).get(b"n", b"0"))
            for which in (0, 1)
        )
        found.append((a, b))
        assert 0 <= a - b <= 1, found
    assert len(set(found)) > 5, "writers were at work"


def test_backups_one_after_the_other_do_tear(keyspaces: list[fjeld.Keyspace], quick_folder: Path) -> None:
    """What it is for."""
    first, second = (keyspace.partition("n") for keyspace in keyspaces[:2])
    keyspaces[0].backup_to(quick_folder / "0")
    first.insert(b"n", b"1")
    second.insert(b"n", b"1")
    keyspaces[1].backup_to(quick_folder / "1")
    assert b"n" not in content_at(quick_folder / "0")["n"]
    assert b"n" in content_at(quick_folder / "1")["n"]


class Watched:
    """An engine, as cut_together sees it, and its commit lock, which tells before it is taken."""

    def __init__(self, keyspace: fjeld.Keyspace, when_locked: Callable[[Watched], None]) -> None:
        self.engine = keyspace._engine
        self.commit = self
        self._when_locked = when_locked

    def __getattr__(self, name: str) -> Any:
        owner = self.engine.commit if name == "last_seqno" else self.engine
        return getattr(owner, name)

    def __enter__(self) -> None:
        self._when_locked(self)
        self.engine.commit.acquire()

    def __exit__(self, *_: object) -> None:
        self.engine.commit.release()


def test_whoever_writes_between_the_locks_waits(keyspaces: list[fjeld.Keyspace]) -> None:
    """When the last lock is about to be taken, the first is held, and nothing is cut yet."""
    in_order = sorted(keyspaces, key=lambda keyspace: keyspace.id)
    first, last = (keyspace.partition("p") for keyspace in (in_order[0], in_order[-1]))
    seqnos = [keyspace.seqno for keyspace in in_order]
    writers: list[threading.Thread] = []

    def write() -> None:
        first.insert(b"n", b"1")
        last.insert(b"n", b"1")

    def when_locked(source: Watched) -> None:
        if source.engine is in_order[-1]._engine:
            writers.append(threading.Thread(target=write))
            writers[0].start()
            writers[0].join(0.2)  # it would be done by then, if it were let

    cuts = cut_together([Watched(keyspace, when_locked) for keyspace in in_order])
    writers[0].join()
    assert [cut.seqno for cut in cuts] == seqnos
    for cut in cuts:
        cut.release()


def test_locks_are_taken_in_one_order(keyspaces: list[fjeld.Keyspace]) -> None:
    """Whatever the order in which the keyspaces are given; the cuts come in that."""
    seen = []
    for given in itertools.permutations(keyspaces):
        order: list[str] = []
        cuts = cut_together(
            [Watched(keyspace, lambda source: order.append(source.path)) for keyspace in given]
        )
        assert [cut.version.id for cut in cuts] == [keyspace.id for keyspace in given]
        seen.append(order)
    assert all(order == seen[0] for order in seen)


def test_many_at_once_in_any_order(keyspaces: list[fjeld.Keyspace], quick_folder: Path) -> None:
    """No two of them wait for each other for ever."""
    expected = [content_of(keyspace) for keyspace in keyspaces]

    def take(number: int, order: tuple[int, ...]) -> None:
        for again in range(4):
            fjeld.backup_together(
                {quick_folder / f"{number} {again} {which}": keyspaces[which] for which in order}
            )

    tasks = [
        Task(lambda number=number, order=order: take(number, order))
        for number, order in enumerate(itertools.permutations(range(3)))
    ]
    for task in tasks:
        task.result()
    for path in quick_folder.glob("? ? ?"):
        assert content_at(path) == expected[int(path.name[-1])]


def test_copies_of_one_keyspace_have_one_id(quick_folder: Path) -> None:
    """Their order is that of their paths."""
    with opened(quick_folder / "0") as keyspace:
        fill(keyspace.partition("a"), 10)
    shutil.copytree(quick_folder / "0", quick_folder / "1")
    with opened(quick_folder / "0") as one, opened(quick_folder / "1") as other:
        assert one.id == other.id
        infos = fjeld.backup_together({quick_folder / "a": one, quick_folder / "b": other})
        assert len(infos) == 2


def test_none_is_no_work() -> None:
    assert fjeld.backup_together({}) == {}


# ---- all or none ----


def test_one_that_cannot_be_published_takes_the_others_along(
    keyspaces: list[fjeld.Keyspace], quick_folder: Path
) -> None:
    before = sorted(os.listdir(quick_folder))
    gate = Gate("together:written")
    backup = Task(lambda: fjeld.backup_together(targets(quick_folder, keyspaces)))
    gate.wait()
    (quick_folder / "checkpoint 2").mkdir()
    gate.open()
    with pytest.raises(FileExistsError):
        backup.result()
    (quick_folder / "checkpoint 2").rmdir()
    assert sorted(os.listdir(quick_folder)) == before


def test_closed_meanwhile(keyspaces: list[fjeld.Keyspace], quick_folder: Path) -> None:
    before = sorted(os.listdir(quick_folder))
    gate = Gate("together:cut")
    backup = Task(lambda: fjeld.backup_together(targets(quick_folder, keyspaces)))
    gate.wait()
    keyspaces[1].close()
    gate.open()
    with pytest.raises(ClosedError):
        backup.result()
    assert sorted(os.listdir(quick_folder)) == before


def test_what_is_written_after_the_cut_is_in_none(
    keyspaces: list[fjeld.Keyspace], quick_folder: Path
) -> None:
    expected = [content_of(keyspace) for keyspace in keyspaces]
    gate = Gate("together:cut")
    backup = Task(lambda: fjeld.backup_together(targets(quick_folder, keyspaces)))
    gate.wait()
    for keyspace in keyspaces:
        keyspace.partition("p").clear()
        fill(keyspace.partition("p"), 50, seed=9)
        keyspace.compact()
        keyspace.drop_partition("p")
        settle(keyspace)
    gate.open()
    backup.result()
    assert [content_at(path) for path in targets(quick_folder, keyspaces)] == expected


def test_cancel(keyspaces: list[fjeld.Keyspace], quick_folder: Path) -> None:
    before = sorted(os.listdir(quick_folder))
    cancel = threading.Event()
    with pytest.raises(CancelledError):
        fjeld.backup_together(
            targets(quick_folder, keyspaces), cancel=cancel, progress=lambda *_: cancel.set()
        )
    assert sorted(os.listdir(quick_folder)) == before


def test_every_operation_fails_once(quick_folder: Path) -> None:
    """Until it succeeds: no target, no staging, the sources as they were."""
    made = [quiet(quick_folder / f"keyspace {number}") for number in range(2)]
    for step in range(600):
        for keyspace in made:
            keyspace.compact()
            keyspace.partition("a").insert(b"step", b"%d" % step)
        before = sorted(os.listdir(quick_folder))
        files.inject(None, step, errno.EIO)
        try:
            infos = fjeld.backup_together(targets(quick_folder, made))
        except (OSError, PoisonedError):
            infos = {}
        hit = files.faults_hit()
        files.clear_faults()
        if infos:
            assert [digest_at(path) for path in infos] == [keyspace.digest() for keyspace in made]
            for path in infos:
                shutil.rmtree(path)
        assert sorted(os.listdir(quick_folder)) == before
        for number, keyspace in enumerate(made):
            if keyspace.stats()["poisoned"]:
                keyspace.close()
                made[number] = quiet(quick_folder / f"keyspace {number}")
        if not hit:
            assert infos
            break
    else:
        pytest.fail("it takes more operations than that")
    for keyspace in made:
        keyspace.close()


def quiet(path: Path) -> fjeld.Keyspace:
    """Nothing happens in the background."""
    keyspace = opened(path, memtable_bytes=1 << 20, journal_bytes=1 << 16, journals_max_bytes=1 << 24)
    keyspace.partition("a").insert(b"k", b"v")
    settle(keyspace)
    keyspace._engine.maintainer._workers.stop()
    keyspace._engine.maintainer._journal_worker.stop()
    return keyspace


# ---- what it refuses ----


def test_what_is_refused(keyspaces: list[fjeld.Keyspace], quick_folder: Path) -> None:
    one, other, closed = keyspaces
    closed.close()
    free = quick_folder / "free"
    (quick_folder / "there").mkdir()
    (quick_folder / "way").symlink_to(quick_folder)
    refused = [
        ({free: one, quick_folder / "free 2": one}, ValueError, "given twice"),
        ({free: one, quick_folder / "." / "way" / "free": other}, ValueError, "given twice"),
        ({free: one, str(free): other}, ValueError, "given twice"),
        ({free: one, quick_folder / "free 2": closed}, ClosedError, "closed"),
        ({free: one, quick_folder / "there": other}, FileExistsError, "there"),
        ({free: one, quick_folder / "missing" / "x": other}, FileNotFoundError, "missing"),
        ({free: one, Path(one.path) / "x": other}, ValueError, "inside"),
        ({free: one, quick_folder / "free 2": "keyspace"}, TypeError, "not str"),
        ([(free, one)], TypeError, "map targets"),
    ]
    before = sorted(os.listdir(quick_folder))
    for given, error, match in refused:
        with pytest.raises(error, match=match):
            fjeld.backup_together(given)
        assert sorted(os.listdir(quick_folder)) == before
    assert leftovers(quick_folder) == []
