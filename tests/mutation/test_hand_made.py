"""Mutants that others have made: each is noticed by the test that is named for it.

A few of them in CI, chosen by the seed; all with FJELD_LONG=1. That each can still be made is always checked.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.mutation.hand_made import MUTANTS, Mutant
from tests.mutation.harness import SOURCE, Copy
from tests.mutation.mutator import mutations

SEED = int(os.environ.get("FJELD_TEST_SEED", "20261123"))
LONG = bool(os.environ.get("FJELD_LONG"))
SAMPLE = 4


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_it_can_be_made(mutant: Mutant) -> None:
    assert (SOURCE / mutant.file).read_text().count(mutant.old) == 1, (
        f"{mutant.file} has changed: change the mutant"
    )


@pytest.mark.parametrize(
    "mutant", MUTANTS if LONG else random.Random(SEED).sample(MUTANTS, SAMPLE), ids=lambda mutant: mutant.bug
)
def test_it_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    text = (SOURCE / mutant.file).read_text()
    with copy.changed(mutant.file, text.replace(mutant.old, mutant.new)):
        assert copy.fails([mutant.test], tmp_path) == "a test failed"


def test_without_a_change_nothing_fails(tmp_path: Path) -> None:
    assert Copy(tmp_path).fails(["tests/manifest/test_current.py"], tmp_path) is None


def test_the_rules_of_the_mutator(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "def f(a, b):\n    sync(a)\n    if a < 3 and b is None:\n        raise E\n    return a\n"
        "def g():\n    return False\n"
    )
    made = [(mutation.rule, mutation.line) for mutation in mutations(module)]
    assert sorted(made) == [
        ("and/or", 3), ("call", 2), ("compare", 3), ("compare", 3), ("not", 3), ("number", 3), ("raise", 4), ("return", 5),
        ("return", 7),
    ]  # fmt: skip
    assert any("return True" in mutation.text for mutation in mutations(module))
    texts = {mutation.text for mutation in mutations(module)}
    assert len(texts) == len(made)
