"""Torn journals: what recovery believes of the newest ones after a power cut, and what it calls damage."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import fjeld
from fjeld.errors import CorruptionError
from fjeld.kernel.journal_reader import JournalReader
from tests.crash import history
from tests.crash.disk import Disk, every_loss
from tests.small import small_options
from tests.support import crash_copy, journals_of, opened, traced

OPERATIONS = 60
# Nothing is flushed or finished behind the test's back.
QUIET = {"memtable_bytes": 1 << 20, "journal_bytes": 1 << 16, "journals_max_bytes": 1 << 20}


def write_history(path: Path, first: int, last: int, persist_at: int | None = None) -> fjeld.Keyspace:
    keyspace = opened(path, **QUIET)
    partitions = {name: keyspace.partition(name) for name in ("a", "b")}
    for number in range(first, last + 1):
        history.perform(keyspace, partitions, number)
        if number == persist_at:
            keyspace.persist(fjeld.PersistMode.SYNC_DATA)
    return keyspace


def written(path: Path) -> list[Path]:
    """The journals that hold records."""
    return [file for file in journals_of(path) if any(file.read_bytes()[32:40])]


def end_of(journal: Path) -> int:
    return len(journal.read_bytes().rstrip(b"\0"))


def boundaries(journal: Path) -> list[int]:
    """Where each record begins, and where the last one ends."""
    reader = JournalReader(str(journal), int(journal.stem), allow_torn=True)
    found = [32]
    for _ in reader:
        found.append(reader.position)
    return found


def reopened(path: Path) -> int:
    """How much of the history is there; the same after opening it again, and again writable."""
    with fjeld.open(path, options=small_options(**QUIET)) as keyspace:
        count = history.check(keyspace)
    with fjeld.open(path, options=small_options(**QUIET)) as keyspace:
        assert history.check(keyspace) == count
        partitions = {name: keyspace.partition(name) for name in ("a", "b")}
        history.perform(keyspace, partitions, count + 1)
    with fjeld.open(path, options=small_options(**QUIET)) as keyspace:
        assert history.check(keyspace) == count + 1
    return count


@pytest.fixture
def crashed(path: Path, tmp_path: Path) -> Path:
    """A keyspace whose whole history is in one journal, as a killed process leaves it."""
    with write_history(path, 1, OPERATIONS):
        copy = crash_copy(path, tmp_path / "crashed")
    assert len(written(copy)) == 1
    return copy


def damaged_copies(crashed: Path, tmp_path: Path):
    """The journal cut at every class of offsets (record boundaries, headers, entries), and what is behind
    garbled or zeroed.
    """
    journal = written(crashed)[0]
    starts, data = boundaries(journal), journal.read_bytes()
    for index in (0, 1, len(starts) // 2, len(starts) - 2):
        for offset in (0, 1, 8, 12, 16, 24, 32, 40, starts[index + 1] - starts[index] - 8):
            for behind in (b"", b"\0" * 5000, random.Random(offset).randbytes(5000)):
                at = starts[index] + offset
                yield index, at, data[:at] + behind


def test_every_class_of_cuts(crashed: Path, tmp_path: Path) -> None:
    for index, at, data in damaged_copies(crashed, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(crashed, copy)
        written(copy)[0].write_bytes(data)
        with fjeld.open(copy, options=small_options(**QUIET)) as keyspace:
            assert history.check(keyspace) == index, (index, at)
        shutil.rmtree(copy)


def test_recovery_after_a_torn_tail_twice_in_a_row(crashed: Path, tmp_path: Path) -> None:
    journal = written(crashed)[0]
    journal.write_bytes(journal.read_bytes()[: boundaries(journal)[40] + 11])
    for life in range(3):
        # Each life ends as a killed one: its journal is cut again, in the middle of its last record.
        keyspace = opened(crashed, **QUIET)
        count = history.check(keyspace)
        assert count == 40 + 4 * life
        partitions = {name: keyspace.partition(name) for name in ("a", "b")}
        for number in range(count + 1, count + 6):
            history.perform(keyspace, partitions, number)
        following = crash_copy(crashed, tmp_path / f"life-{life}")
        keyspace.close()
        newest = written(following)[-1]
        newest.write_bytes(newest.read_bytes()[: end_of(newest) - 3])
        crashed = following
    assert reopened(crashed) == 52


def test_seqnos_go_on_behind_what_is_in_tables(path: Path, tmp_path: Path) -> None:
    """A flush needs no sync of the journal where all that is older is in tables: they may reach further."""
    with write_history(path, 1, 20) as keyspace:
        keyspace.partition("c")
        keyspace.partition("a").flush()
        keyspace.partition("b").flush()
        seqno = keyspace.seqno
        copy = crash_copy(path, tmp_path / "crashed")
    journal = written(copy)[0]
    journal.write_bytes(journal.read_bytes()[: boundaries(journal)[10]])
    with opened(copy, **QUIET) as keyspace:
        assert history_without_c(keyspace) == 20
        assert keyspace.seqno == seqno
        keyspace.partition("c").insert(b"k", b"v")
        assert keyspace.seqno == seqno + 1
        copy = crash_copy(copy, tmp_path / "crashed again")
    with opened(copy, **QUIET) as keyspace:
        assert keyspace.partition("c")[b"k"] == b"v"
        assert keyspace.seqno == seqno + 1


def history_without_c(keyspace: fjeld.Keyspace) -> int:
    keyspace.drop_partition("c") if "c" in keyspace.partitions() else None
    count = history.check(keyspace)
    keyspace.partition("c")
    return count


# ---- a torn journal, and a newer one behind it ----


@pytest.fixture
def two(path: Path, tmp_path: Path) -> Path:
    """As a power cut leaves it that came between a switch of the journal and the sync of the sealed one."""
    return two_journals(path, tmp_path / "two", persist=False)


def two_journals(path: Path, target: Path, *, persist: bool) -> Path:
    keyspace = write_history(path, 1, 30)
    rotation = keyspace._engine.rotation
    with rotation._finish_lock:  # the worker cannot finish the sealed journal
        rotation.cut(lambda: None)
        if persist:
            keyspace.persist(fjeld.PersistMode.SYNC_DATA)
        partitions = {name: keyspace.partition(name) for name in ("a", "b")}
        for number in range(31, 41):
            history.perform(keyspace, partitions, number)
        crash_copy(path, target)
    keyspace.close()
    first, second = written(target)
    assert len(boundaries(first)) == 31
    assert len(boundaries(second)) == 11
    return target


def test_both_whole(two: Path) -> None:
    assert reopened(two) == 40


@pytest.mark.parametrize("lost", ["garbage", "zeros", "cut", "seal only", "page in the middle"])
def test_of_journals_behind_a_torn_one_nothing_is_believed(two: Path, lost: str) -> None:
    first = written(two)[0]
    starts, data = boundaries(first), first.read_bytes()
    expected = 20
    if lost == "garbage":
        data = data[: starts[20]] + random.Random(1).randbytes(3000)
    elif lost == "zeros":
        data = data[: starts[20]] + bytes(3000)
    elif lost == "cut":
        data = data[: starts[20] + 13]
    elif lost == "page in the middle":  # the seal behind it proves nothing: it was not synced either
        data = data[: starts[20]] + bytes(starts[22] - starts[20]) + data[starts[22] :]
    else:
        data, expected = data[: starts[30]] + bytes(64), 40
    first.write_bytes(data)
    assert reopened(two) == expected


def test_a_first_journal_that_lost_everything(two: Path) -> None:
    first, _ = written(two)
    first.write_bytes(bytes(1000))
    assert reopened(two) == 0


def test_what_is_not_believed_goes_before_what_says_so(two: Path, quick_folder: Path) -> None:
    """The torn journal held nothing and was deleted first: when the power went again, the one behind it began
    behind a gap, and a journal seemed to be missing.
    """
    written(two)[0].write_bytes(bytes(1000))
    root = quick_folder / "before"
    shutil.copytree(two, root / "keyspace")
    disk = Disk(root)
    disk.load(root)
    with traced() as trace:
        fjeld.open(root / "keyspace", options=small_options(**QUIET)).close()
    unlinked = [at for at, event in enumerate(trace) if event[0] == "unlink" and event[1].endswith(".jnl")]
    folders = 0
    for at, event in enumerate(trace[: unlinked[3] + 1]):
        disk.apply(event)
        if event[0] in ("unlink", "sync_dir"):
            for _, loss in every_loss(disk, random.Random(at), 0):
                folders += 1
                after = quick_folder / f"{folders}"
                for name, data in {"": None, **disk.tree(loss)}.items():
                    (after / name).mkdir() if data is None else (after / name).write_bytes(data)
                with fjeld.open(after / "keyspace", options=small_options(**QUIET)) as keyspace:
                    assert history.check(keyspace) == 0
                shutil.rmtree(after)
    assert folders > 10


@pytest.mark.parametrize("lost", ["garbage", "zeros", "cut", "all"])
def test_a_newer_journal_that_knows_better_proves_damage(path: Path, tmp_path: Path, lost: str) -> None:
    two = two_journals(path, tmp_path / "two", persist=True)
    first, _ = written(two)
    starts, data = boundaries(first), first.read_bytes()
    behind = {"garbage": b"?" * 3000, "zeros": bytes(3000), "cut": b"", "all": b""}[lost]
    first.write_bytes(data[: 0 if lost == "all" else starts[20]] + behind)
    with pytest.raises(CorruptionError) as raised:
        fjeld.open(two)
    assert raised.value.path == str(first)


def test_a_page_lost_in_a_young_journal_is_no_damage(path: Path, tmp_path: Path) -> None:
    """Its records claim what is persisted in older journals: that proves nothing of its own first records."""
    with write_history(path, 1, 30) as keyspace:
        keyspace.persist(fjeld.PersistMode.SYNC_DATA)
        keyspace._engine.rotation.cut(lambda: None)
        keyspace._engine.rotation.hurry()
        keyspace._engine.rotation.finish_sealed()
        partitions = {name: keyspace.partition(name) for name in ("a", "b")}
        for number in range(31, 41):
            history.perform(keyspace, partitions, number)
        copy = crash_copy(path, tmp_path / "crashed")
    _, young = written(copy)
    starts, data = boundaries(young), young.read_bytes()
    young.write_bytes(data[: starts[0]] + bytes(starts[2] - starts[0]) + data[starts[2] :])
    assert reopened(copy) == 30


@pytest.mark.parametrize("lost", ["first page", "all"])
def test_a_page_lost_in_the_only_journal_is_no_damage(path: Path, tmp_path: Path, lost: str) -> None:
    """What is persisted by its records' word is in tables by now, and the journals that held it are gone."""
    with write_history(path, 1, 30) as keyspace:
        keyspace.persist(fjeld.PersistMode.SYNC_DATA)
        keyspace._engine.rotation.cut(lambda: None)
        keyspace.flush()
        keyspace._engine.maintainer.wait_idle()  # what is retired is deleted
        partitions = {name: keyspace.partition(name) for name in ("a", "b")}
        for number in range(31, 41):
            history.perform(keyspace, partitions, number)
        rotation = keyspace._engine.rotation
        with rotation._finish_lock:  # the worker cannot finish the sealed journal
            if lost == "all":  # and a newer one is there
                rotation.cut(lambda: None)
                history.perform(keyspace, partitions, 41)
            copy = crash_copy(path, tmp_path / "crashed")
    young = written(copy)[0]
    starts, data = boundaries(young), young.read_bytes()
    young.chmod(0o644)
    young.write_bytes(bytes(len(data)) if lost == "all" else bytes(starts[2]) + data[starts[2] :])
    assert reopened(copy) == 30


def test_a_missing_journal_is_damage(two: Path) -> None:
    first, second = written(two)
    first.unlink()
    with pytest.raises(CorruptionError, match="missing") as raised:
        fjeld.open(two)
    assert raised.value.path == str(second)


def test_empty_journals_do_not_look_torn_later(path: Path, tmp_path: Path) -> None:
    """A killed process leaves spare journals. They must be gone before later journals are finished."""
    with write_history(path, 1, 10) as keyspace:
        keyspace._engine.maintainer.wait_idle()
        copy = crash_copy(path, tmp_path / "crashed")
    assert len(journals_of(copy)) > 1
    with opened(copy, **QUIET) as keyspace:
        partitions = {name: keyspace.partition(name) for name in ("a", "b")}
        history.perform(keyspace, partitions, 11)
        keyspace._engine.rotation.cut(lambda: None)
        keyspace._engine.rotation.hurry()
        keyspace._engine.rotation.finish_sealed()
        history.perform(keyspace, partitions, 12)
        again = crash_copy(copy, tmp_path / "crashed again")
    assert reopened(again) == 12
