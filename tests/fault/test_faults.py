"""One failing system call, wherever one can fail: a clear error, and nothing acknowledged is lost.

Each scenario is run with its first operation failing, then its second, ... until it gets by without meeting
the fault.
"""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from tests.small import SMALL_PARTITION
from tests.support import Content, content_of, crash_copy, opened, settle

MOST_OPERATIONS = 2000
FOR_EVER = 1_000_000

Step = Callable[[fjeld.Keyspace, "Ledger"], None]


class Ledger:
    """What was acknowledged, and what the write that failed may have left."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.maybe: list[Content] = []

    def change(self, write: Callable[[], object], after: Content) -> None:
        """`write` leads to `after`, if it is acknowledged."""
        self.maybe.append(after)
        write()
        self.content = after
        self.maybe.clear()

    def allows(self, content: Content) -> bool:
        return content == self.content or content in self.maybe


def with_entry(content: Content, name: str, key: bytes, value: bytes) -> Content:
    return content | {name: content[name] | {key: value}}


def value_of(number: int) -> bytes:
    return random.Random(number).randbytes(300)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Content]]:
    """Folders to start from: "tables" was closed, "journals" belonged to a process that died."""
    folder = tmp_path_factory.mktemp("bases")
    path = folder / "keyspace"
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        keyspace._engine.maintainer.pause_compaction()
        for name in ("a", "b"):
            partition = keyspace.partition(name, options=SMALL_PARTITION)
            for part in range(3):
                for number in range(part, 30, 2):
                    partition.insert(b"%04d" % number, value_of(number + part))
                if part < 2:
                    partition.flush()
        expected = content_of(keyspace)
        settle(keyspace)
        journals = crash_copy(path, folder / "journals")
    tables = path.rename(folder / "tables")
    return {"tables": (tables, expected), "journals": (journals, expected)}


def options(**changed: object) -> dict[str, object]:
    return {"memtable_bytes": 1 << 20, "journal_bytes": 4 << 10, "workers": 1} | changed


# ---- what may fail ----


def put(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    partition = keyspace.partition("a")
    for number in range(100, 125):  # two journals are filled
        key, value = b"%04d" % number, value_of(number)
        ledger.change(
            lambda key=key, value=value: partition.insert(key, value),
            with_entry(ledger.content, "a", key, value),
        )


def put_batches(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    a, b = keyspace.partition("a"), keyspace.partition("b")

    def write(number: int) -> None:
        with keyspace.batch() as batch:
            batch.insert(a, b"%04d" % number, value_of(number))
            batch.remove(b, b"%04d" % (number % 30))
            batch.insert(b, b"%04d" % number, value_of(-number))

    for number in range(100, 120):
        after = with_entry(ledger.content, "a", b"%04d" % number, value_of(number))
        after = with_entry(after, "b", b"%04d" % number, value_of(-number))
        del after["b"][b"%04d" % (number % 30)]
        ledger.change(lambda number=number: write(number), after)


def flush(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    for name in ("a", "b"):
        key, value = b"new", value_of(0)
        ledger.change(
            lambda name=name: keyspace.partition(name).insert(key, value),
            with_entry(ledger.content, name, key, value),
        )
    keyspace.flush()


def compact(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    keyspace.compact()


def catalog(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    ledger.change(lambda: keyspace.partition("new"), ledger.content | {"new": {}})
    ledger.change(
        lambda: keyspace.partition("new").insert(b"k", b"v"), with_entry(ledger.content, "new", b"k", b"v")
    )
    ledger.change(lambda: keyspace.partition("a").clear(), ledger.content | {"a": {}})
    without = {name: entries for name, entries in ledger.content.items() if name != "b"}
    ledger.change(lambda: keyspace.drop_partition("b"), without)


def persist(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    put(keyspace, ledger)
    keyspace.persist(fjeld.PersistMode.SYNC_ALL)


STEPS: dict[str, tuple[str, Step, dict[str, object]]] = {
    "put": ("tables", put, {}),
    "put durably": ("tables", put, {"durability": fjeld.PersistMode.SYNC_DATA}),
    "put without a map": ("tables", put, {"mapped_journal": False}),
    "put batches": ("tables", put_batches, {}),
    "persist": ("tables", persist, {}),
    "flush": ("tables", flush, {}),
    "flush after a crash": ("journals", flush, {}),
    "compact": ("tables", compact, {}),
    "catalog": ("tables", catalog, {}),
}


def check_read(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """Reads go on, whatever has failed."""
    found = content_of(keyspace)
    assert ledger.allows(found), difference(found, ledger)


def difference(found: Content, ledger: Ledger) -> str:
    """For the reader of a failed test: where the content departs from what was acknowledged."""
    wrong = []
    for name in sorted(found.keys() | ledger.content.keys()):
        there, due = found.get(name), ledger.content.get(name)
        if there is None or due is None:
            wrong.append(f"{name}: {'missing' if there is None else 'too much'}")
        else:
            wrong += [
                f"{name}/{key!r}"
                for key in sorted(there.keys() | due.keys())
                if there.get(key) != due.get(key)
            ]
    return ", ".join(wrong)


def run(step: Step, path: Path, ledger: Ledger, chosen: dict[str, object], fault: Callable[[], None]) -> bool:
    """Carry the step out with a fault; whether it was met. The keyspace is closed then, the fault over."""
    keyspace = opened(path, **options(**chosen))
    settle(keyspace)
    keyspace._engine.maintainer.pause_compaction()
    fault()
    try:
        step(keyspace, ledger)
        settle(keyspace)
    except fjeld.PoisonedError as error:
        assert "reopen" in str(error) or "open the keyspace again" in str(error)
    except OSError as error:
        assert error.errno == errno.EIO, error
    hit = files.faults_hit() > 0
    files.clear_faults()
    check_read(keyspace, ledger)
    if keyspace.stats()["poisoned"]:
        with pytest.raises(fjeld.PoisonedError):
            keyspace.partition("a").insert(b"refused", b"v")
        with pytest.raises(fjeld.PoisonedError):
            keyspace.flush()
    else:
        ledger.maybe.clear()
        ledger.content = content_of(keyspace)
        if "a" in ledger.content:
            ledger.change(
                lambda: keyspace.partition("a").insert(b"goes on", b"v"),
                with_entry(ledger.content, "a", b"goes on", b"v"),
            )
    keyspace.close()
    return hit


def check_reopened(path: Path, ledger: Ledger) -> None:
    with opened(path) as keyspace:
        check_read(keyspace, ledger)
        keyspace._engine.store.version.check()
        settle(keyspace)
        named = {Path(file.path).name for file in keyspace._engine.store.version.tables()}
        assert {file.name for file in (path / "tables").iterdir()} == named, "nothing is left lying about"


@pytest.mark.parametrize("count", [1, FOR_EVER], ids=["once", "from then on"])
@pytest.mark.parametrize("name", STEPS)
def test_every_operation_may_fail(
    name: str, count: int, bases: dict[str, tuple[Path, Content]], quick_folder: Path
) -> None:
    base, step, chosen = STEPS[name]
    source, expected = bases[base]
    for after in range(MOST_OPERATIONS):
        path = shutil.copytree(source, quick_folder / f"{after}")
        ledger = Ledger(expected)
        hit = run(
            step, path, ledger, chosen, lambda after=after: files.inject(None, after, errno.EIO, count=count)
        )
        check_reopened(path, ledger)
        shutil.rmtree(path)
        if not hit:
            assert after > 2, "the scenario does nothing that could fail"
            return
    raise AssertionError("the scenario never ends")


# ---- opening and creating ----


@pytest.mark.parametrize("count", [1, FOR_EVER], ids=["once", "from then on"])
@pytest.mark.parametrize("base", ["tables", "journals"])
def test_every_operation_of_opening_may_fail(
    base: str, count: int, bases: dict[str, tuple[Path, Content]], quick_folder: Path
) -> None:
    source, expected = bases[base]
    path = shutil.copytree(
        source, quick_folder / "keyspace"
    )  # the same one: what a failed opening leaves stays there
    failed = 0
    for after in range(MOST_OPERATIONS):
        files.inject(None, after, errno.EIO, count=count)
        try:
            keyspace = opened(path, **options())
        except OSError as error:
            assert error.errno == errno.EIO
            failed += 1
            files.clear_faults()
            continue
        hit = files.faults_hit() > 0
        files.clear_faults()
        assert content_of(keyspace) == expected
        keyspace._engine.poison(RuntimeError("the test ends it without a flush"))
        keyspace.close()
        if not hit:
            break
        shutil.rmtree(path)
        shutil.copytree(source, path)
    assert failed > 5
    check_reopened(path, Ledger(expected))


@pytest.mark.parametrize("count", [1, FOR_EVER], ids=["once", "from then on"])
def test_every_operation_of_creating_may_fail(path: Path, count: int) -> None:
    failed = 0
    for after in range(MOST_OPERATIONS):
        files.inject(None, after, errno.EIO, count=count)
        try:
            keyspace = opened(path)
        except OSError as error:
            assert error.errno == errno.EIO
            failed += 1
            files.clear_faults()
            continue
        files.clear_faults()
        break
    assert failed > 5
    keyspace.partition("a").insert(b"k", b"v")
    keyspace.close()
    check_reopened(path, Ledger({"a": {b"k": b"v"}}))


# ---- reading ----


def test_a_read_that_fails_is_an_error_and_works_again(
    bases: dict[str, tuple[Path, Content]], tmp_path: Path
) -> None:
    source, expected = bases["tables"]
    path = shutil.copytree(source, tmp_path / "keyspace")
    for operation in ("open", "read"):
        with opened(path, cache_bytes=0) as keyspace:
            keyspace._engine.maintainer.pause_compaction()
            settle(keyspace)
            partition = keyspace.partition("a")
            files.inject(operation, 0, errno.EIO, path_contains=".sst", count=FOR_EVER)
            for attempt in (lambda: partition.get(b"0005"), lambda: list(partition.items())):
                with pytest.raises(OSError, match="Input/output error") as caught:
                    attempt()
                assert str(caught.value.filename).endswith(".sst")
            files.clear_faults()
            assert content_of(keyspace) == expected


def test_a_failed_sync_poisons(bases: dict[str, tuple[Path, Content]], tmp_path: Path) -> None:
    source, expected = bases["tables"]
    path = shutil.copytree(source, tmp_path / "keyspace")
    with opened(path) as keyspace:
        settle(keyspace)
        partition = keyspace.partition("a")
        partition.insert(b"k", b"v")
        files.inject("sync", 0, errno.EIO, path_contains="journals")
        with pytest.raises(fjeld.PoisonedError, match="a sync failed"):
            keyspace.persist(fjeld.PersistMode.SYNC_DATA)
        for refused in (
            lambda: partition.insert(b"l", b"w"),
            lambda: partition.remove(b"k"),
            lambda: partition.clear(),
            lambda: keyspace.persist(),
            lambda: keyspace.partition("new"),
            lambda: keyspace.drop_partition("a"),
            lambda: keyspace.flush(),
            lambda: keyspace.compact(),
            lambda: keyspace.backup_to(tmp_path / "checkpoint"),
        ):
            with pytest.raises(fjeld.PoisonedError):
                refused()
        assert not (tmp_path / "checkpoint").exists()
        assert content_of(keyspace) == with_entry(expected, "a", b"k", b"v")
        assert keyspace.stats()["poisoned"]
    check_reopened(path, Ledger(with_entry(expected, "a", b"k", b"v")))
