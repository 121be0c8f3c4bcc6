"""The long run: ./run evidence crash [--states 100000] [--processes 2] [--seed N] [--workload NAME] [--keep FOLDER]

Explores all workloads at all moments, seed after seed, until so many different folders were opened. What was
found is printed; states with a problem are kept in FOLDER. Exit code 1: there is one.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.crash.explore import Explorer, Findings
from tests.crash.workloads import WORKLOADS
from tests.support import fast_folder

Work = tuple[str, int, Path | None]


def explore(work: Work) -> tuple[str, int, Findings, float]:
    name, seed, keep = work
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as slow, fast_folder(Path(slow)) as folder:
        findings = Explorer(name, seed, folder, keep=keep).run()
    return name, seed, findings, time.monotonic() - started


def works(names: list[str], seed: int, keep: Path | None) -> Iterator[Work]:
    return ((name, number, keep) for number in itertools.count(seed) for name in names)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run evidence crash", description=__doc__)
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workload", choices=sorted(WORKLOADS), action="append")
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    if chosen.keep is not None:
        chosen.keep.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    total = Findings()
    todo = works(chosen.workload or list(WORKLOADS), chosen.seed, chosen.keep)
    with multiprocessing.get_context("spawn").Pool(chosen.processes) as pool:
        while total.opened < chosen.states:
            round_ = list(itertools.islice(todo, 2 * chosen.processes))
            for name, seed, findings, seconds in pool.imap_unordered(explore, round_):
                total.states += findings.states
                total.opened += findings.opened
                total.recovered_again += findings.recovered_again
                total.problems += findings.problems
                print(
                    f"{name}, seed {seed}: {findings.states} cuts, {findings.opened} different folders opened, "
                    f"{findings.recovered_again} cut again in recovery, {len(findings.problems)} problems, {seconds:.0f} s",
                    flush=True,
                )
                for problem in findings.problems[:5]:
                    print("   ", problem, flush=True)
    print(
        f"{total.opened} different folders of {total.states} cuts opened, {total.recovered_again} cut again, "
        f"{len(total.problems)} problems, {time.monotonic() - started:.0f} s"
    )
    return 1 if total.problems else 0


if __name__ == "__main__":
    sys.exit(main())
