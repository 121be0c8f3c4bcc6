"""Decoders and arbitrary bytes: an answer or a refusal, never a crash. A short run; `./run evidence fuzz` is long."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.fuzz.driver import CORPUS, Fuzzer, last_input, seeds
from tests.fuzz.targets import REFUSALS, TARGETS, folder

SEED = int(os.environ.get("FJELD_TEST_SEED", "20261123"))
EXECUTIONS = 200_000 if os.environ.get("FJELD_LONG") else 3000


@pytest.fixture(scope="module", autouse=True)
def _folder_goes():
    yield
    shutil.rmtree(folder())
    folder.cache_clear()


@pytest.mark.parametrize("name", TARGETS)
def test_arbitrary_bytes(name: str, tmp_path: Path) -> None:
    print("seed", SEED)
    fuzzer = Fuzzer(name, SEED, tmp_path / "last")
    try:
        fuzzer.run(EXECUTIONS)
    except BaseException:
        print("input", last_input(tmp_path / "last").hex())
        raise
    assert fuzzer.executions == EXECUTIONS
    assert fuzzer.accepted > 0 or "repaired" not in name, "nothing gets past the checks"


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name: str) -> None:
    """Seeds are valid, and what has once made trouble is in here too: each is read or refused."""
    target = TARGETS[name]
    read = 0
    for data in seeds(target):
        try:
            target.run(data)
            read += 1
        except REFUSALS:
            pass
    assert read > 0, "no seed is valid"


def test_the_corpus_stays_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 32 << 10
