"""Every way to fail, at every file operation of every scenario: a clear error, and nothing acknowledged is lost.

A sample of the operations in CI, chosen by the seed; all of them with FJELD_LONG=1.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fjeld.kernel import files
from tests.fault.ledger import Ledger
from tests.fault.scenarios import (
    FOR_EVER,
    KINDS,
    SCENARIOS,
    Kind,
    attempt,
    check_error,
    check_reopened,
    make_bases,
)
from tests.support import Content

SEED = int(os.environ.get("FJELD_TEST_SEED", "20261123"))
LONG = bool(os.environ.get("FJELD_LONG"))
SAMPLE = 2

Bases = dict[str, tuple[Path, Content]]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return make_bases(tmp_path_factory.mktemp("bases"))


def once(
    name: str, kind: Kind, after: int, count: int, bases: Bases, parent: Path
) -> tuple[BaseException | None, bool]:
    """The scenario with the fault at one operation: what it raised, and whether it came so far."""
    scenario = SCENARIOS[name]
    source, expected = bases[scenario.base]
    folder = parent / f"{after}"
    folder.mkdir()
    path = shutil.copytree(source, folder / "keyspace")
    ledger = Ledger(expected)
    ledger.lasting = count > 1
    error, hit = attempt(scenario, path, ledger, lambda: kind.arm(after, count))
    check_reopened(path, ledger)
    shutil.rmtree(folder)
    return error, hit


def places(name: str, kind: Kind, bases: Bases, parent: Path, chance: random.Random) -> Iterator[int]:
    """Which operations are to fail, counted among those that the fault fits."""
    if LONG:
        yield from itertools.count()
    key = (name, kind.operation)
    if key not in _ends:  # looked for once, in steps that double
        _ends[key] = next(
            end
            for end in (4 << step for step in range(12))
            if not once(name, Kind(errno.EIO, kind.operation), end, 1, bases, parent)[1]
        )
    for _ in range(SAMPLE):
        yield chance.randrange(_ends[key])


_ends: dict[tuple[str, str | None], int] = {}


def chosen_kinds(name: str) -> list[str]:
    """All, or some where another scenario does the same without blob files."""
    if LONG or not SCENARIOS[name].base.startswith("blobs"):
        return list(KINDS)
    return random.Random(f"{name} {SEED}").sample(list(KINDS), 4)


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in SCENARIOS for kind in chosen_kinds(name)]
)
def test_every_fault(name: str, kind: str, bases: Bases, quick_folder: Path) -> None:
    print("seed", SEED)
    fault = KINDS[kind]
    chance = random.Random(f"{name} {kind} {SEED}")
    for after in places(name, fault, bases, quick_folder, chance):
        error, hit = once(name, fault, after, chance.choice((1, 1, FOR_EVER)), bases, quick_folder)
        if error is not None:
            assert fault.errnum != 0, f"a write in two is nobody's business: {error}"
            check_error(error, fault)
        if LONG and not hit:
            break


@pytest.mark.parametrize("name", ["blobs, compact", "blobs, collect"])
def test_blob_files_are_collected(name: str, bases: Bases, quick_folder: Path) -> None:
    """Else these would say nothing of collecting."""
    source, expected = bases[SCENARIOS[name].base]
    path = shutil.copytree(source, quick_folder / "keyspace")
    files.start_trace()
    attempt(SCENARIOS[name], path, Ledger(expected), lambda: (files.stop_trace(), files.start_trace()))
    operations = [event[0] for event in files.stop_trace() if event[1].endswith(".blb")]
    assert operations.count("unlink") >= 3
    assert operations.count("create") >= 1
