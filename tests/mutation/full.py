"""The long run: ./run evidence mutation [--file backup/linker.py ...] [--sample 200 --seed 1] [--processes 1]

Changes backup/ and manifest/ (or the files given) by every rule of the mutator, one change at a time, and runs the
tests of that file, then those of its room. Mutants that no test notices are listed; docs/EVIDENCE.md says of each why
it may live. --sample: so many of them, chosen by the seed.
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

from tests.mutation.harness import ROOT, SOURCE, Copy
from tests.mutation.mutator import Mutation, mutations

TESTS = {
    "backup": [
        "tests/backup",
        "tests/test_bad_input.py",
        "tests/interleaving/test_backup_interleavings.py",
        "tests/fault/test_copy_faults.py",
        *(
            f"tests/fault/test_every_fault.py::test_every_fault[{scenario}-EIO]"
            for scenario in ("restore", "import", "take", "expire", "verify")
        ),
        "tests/crash/test_restore_cuts.py",
    ],
    "manifest": ["tests/manifest", "tests/corruption/test_open_corrupt.py", "tests/crash/test_states.py"],
    "journal": ["tests/journal", "tests/crash/test_torn.py", "tests/crash/test_states.py"],
}
"""Of each room, the fastest first."""

TESTS_OF = {
    "backup/restore_staging.py": ["tests/backup/test_restore.py"],
    "backup/swap.py": ["tests/backup/test_restore.py"],
    "backup/removal.py": ["tests/backup/test_checkpoint_folder.py"],
    "backup/leftovers.py": ["tests/backup/test_checkpoint_folder.py"],
    "backup/making.py": ["tests/backup/test_variants.py", "tests/backup/test_verified.py"],
    "backup/file_check.py": ["tests/backup/test_verified.py"],
    "backup/file_checks.py": ["tests/backup/test_verify.py"],
    "backup/report.py": ["tests/backup/test_verify.py"],
    "backup/file_kinds.py": ["tests/backup/test_inspect.py"],
}
"""Of a file, what is to notice its mutants first; else the test of its name."""

Work = tuple[str, Mutation]


def tests_of(file: str) -> list[str]:
    """Those of the file, then those of its room."""
    room, name = file.split("/")
    own = TESTS_OF.get(file, [f"tests/{room}/test_{name}"])
    return [test for test in own if (ROOT / test).exists()] + TESTS[room]


def kill(work: Work) -> tuple[Work, str | None, float]:
    """How the mutant was noticed; None: it was not."""
    file, mutation = work
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        with copy.changed(file, mutation.text):
            found = copy.fails(tests_of(file), Path(folder))
    return work, found, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run evidence mutation", description=__doc__)
    parser.add_argument("--file", action="append", help="relative to src/fjeld")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    names = chosen.file or [
        path.relative_to(SOURCE).as_posix()
        for room in ("backup", "manifest")
        for path in sorted((SOURCE / room).glob("*.py"))
    ]
    with tempfile.TemporaryDirectory() as folder:
        for room in {name.split("/")[0] for name in names}:
            assert Copy(Path(folder, room)).fails(TESTS[room], Path(folder)) is None, (
                f"{room}: its tests fail anyway"
            )
    works = [(name, mutation) for name in names for mutation in mutations(SOURCE / name)]
    count = len(works)
    if chosen.sample is not None:
        works = random.Random(chosen.seed).sample(works, min(chosen.sample, count))
    totals: Counter[str] = Counter()
    print(f"{len(works)} of {count} mutants of {len(names)} files", flush=True)
    with multiprocessing.get_context("fork").Pool(chosen.processes) as pool:
        for (file, mutation), found, seconds in pool.imap_unordered(kill, works):
            totals["killed" if found else "survived"] += 1
            if found is None:
                print(
                    f"survived: {file}:{mutation.line} {mutation.rule}: {mutation.before} ({seconds:.0f} s)",
                    flush=True,
                )
    print(f"{totals['killed']} killed, {totals['survived']} survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
