"""The long run: ./run evidence mutation [--path backup --path manifest/log.py ...] [--sample 200 --seed 1] [--processes 1]

Changes backup/ and manifest/ (or the folders and files given, relative to src/fjeld) by every rule of the mutator, one
change at a time, and runs the tests that are to notice (noticing.py). --sample: so many mutants of each path, chosen by
the seed. Those that no test notices are listed; the ones that may live, with the reason (may_live.py). Exit code 1: there
is another.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.mutation.harness import SOURCE, Copy
from tests.mutation.may_live import reason_for
from tests.mutation.mutator import Mutation, mutations
from tests.mutation.noticing import tests_of

Work = tuple[str, Mutation]


def kill(work: Work) -> tuple[Work, str | None, float]:
    """How the mutant was noticed; None: it was not."""
    file, mutation = work
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        with copy.changed(file, mutation.text):
            found = copy.fails(tests_of(file), Path(folder))
    return work, found, time.monotonic() - started


def files_of(path: str) -> list[str]:
    found = sorted((SOURCE / path).glob("*.py")) if (SOURCE / path).is_dir() else [SOURCE / path]
    return [file.relative_to(SOURCE).as_posix() for file in found]


def chosen_of(path: str, sample: int | None, seed: int) -> list[Work]:
    works = [(name, mutation) for name in files_of(path) for mutation in mutations(SOURCE / name)]
    count = len(works)
    if sample is not None:
        works = random.Random(f"{path} {seed}").sample(works, min(sample, count))
    print(f"{path}: {len(works)} of {count} mutants", flush=True)
    return works


def tests_pass(files: set[str]) -> None:
    """Without a mutant: else each would seem to be noticed."""
    tests = dict.fromkeys(test for file in sorted(files) for test in tests_of(file))
    with tempfile.TemporaryDirectory() as folder:
        assert Copy(Path(folder)).fails(list(tests), Path(folder)) is None, "the tests fail anyway"


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run evidence mutation", description=__doc__)
    parser.add_argument("--path", action="append", help="a folder or file, relative to src/fjeld")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    works = [
        work
        for path in chosen.path or ["backup", "manifest"]
        for work in chosen_of(path, chosen.sample, chosen.seed)
    ]
    random.Random(chosen.seed).shuffle(works)  # cut off, it has seen something of each
    tests_pass({file for file, _ in works})
    totals: Counter[str] = Counter()
    with multiprocessing.get_context("fork").Pool(chosen.processes) as pool:
        for (file, mutation), found, seconds in pool.imap_unordered(kill, works):
            reason = reason_for(file, mutation)
            outcome = "killed" if found else "lives" if reason is None else "may live"
            totals[outcome] += 1
            if sum(totals.values()) % 20 == 0:
                print(f"{sum(totals.values())} of {len(works)}", flush=True)
            if found is None:
                print(
                    f"{outcome}: {file}:{mutation.line} {mutation.rule} {mutation.before} in: {mutation.there}"
                )
                print(f"    ({reason or f'{seconds:.0f} s'})", flush=True)
    print(", ".join(f"{totals[outcome]} {outcome}" for outcome in ("killed", "may live", "lives")))
    return 1 if totals["lives"] else 0


if __name__ == "__main__":
    sys.exit(main())
