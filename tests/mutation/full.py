"""The long run: ./run evidence mutation [--file backup/linker.py ...] [--processes 1]

Changes backup/ and manifest/ (or the files given) by every rule of the mutator, one change at a time, and runs the
tests of that room. Mutants that no test notices are listed; docs/EVIDENCE.md says of each why it may live.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.mutation.harness import SOURCE, Copy
from tests.mutation.mutator import Mutation, mutations

TESTS = {
    "backup": ["tests/backup", "tests/test_bad_input.py", "tests/interleaving/test_backup_interleavings.py"],
    "manifest": ["tests/manifest", "tests/corruption/test_open_corrupt.py", "tests/crash/test_states.py"],
    "journal": ["tests/journal", "tests/crash/test_torn.py", "tests/crash/test_states.py"],
}
"""Of each room, the fastest first."""

Work = tuple[str, Mutation]


def kill(work: Work) -> tuple[Work, str | None, float]:
    """How the mutant was noticed; None: it was not."""
    file, mutation = work
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        with copy.changed(file, mutation.text):
            found = copy.fails(TESTS[file.split("/")[0]], Path(folder))
    return work, found, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run evidence mutation", description=__doc__)
    parser.add_argument("--file", action="append", help="relative to src/fjeld")
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
    totals: Counter[str] = Counter()
    print(f"{len(works)} mutants of {len(names)} files", flush=True)
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
