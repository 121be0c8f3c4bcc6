"""One failing system call, wherever one can fail: a clear error, and nothing acknowledged is lost.

Each scenario is run with its first operation failing, then its second, ... until it gets by without meeting
the fault.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from tests.fault.scenarios import (
    FOR_EVER,
    KINDS,
    SCENARIOS,
    Ledger,
    attempt,
    check_error,
    check_reopened,
    make_bases,
    options,
    with_entry,
)
from tests.support import Content, content_of, opened, settle

MOST_OPERATIONS = 2000


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Content]]:
    """Folders to start from: "tables" was closed, "journals" belonged to a process that died."""
    return make_bases(tmp_path_factory.mktemp("bases"))


EXHAUSTIVE = (
    "put", "put durably", "put without a map", "put batches", "persist", "flush", "flush after a crash", "compact",
    "catalog",
)  # fmt: skip
"""Each operation of these, whatever it costs; of all others and with other faults a sample: test_every_fault."""


@pytest.mark.parametrize("count", [1, FOR_EVER], ids=["once", "from then on"])
@pytest.mark.parametrize("name", EXHAUSTIVE)
def test_every_operation_may_fail(
    name: str, count: int, bases: dict[str, tuple[Path, Content]], quick_folder: Path
) -> None:
    scenario, kind = SCENARIOS[name], KINDS["EIO"]
    source, expected = bases[scenario.base]
    for after in range(MOST_OPERATIONS):
        path = shutil.copytree(source, quick_folder / f"{after}")
        ledger = Ledger(expected)
        error, hit = attempt(scenario, path, ledger, lambda after=after: kind.arm(after, count))
        if error is not None:
            check_error(error, kind)
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
