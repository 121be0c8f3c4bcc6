"""How long opening takes: after a SIGKILL with so many writes not flushed, and after a clean close.

One process writes, one insert at a time, and then kills itself or closes; another one opens the store
(measured) and looks for the newest writes. The page cache is warm, as it is after the crash of a process.
Importing the engine's module is not in the time.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from itertools import cycle
from pathlib import Path

from benchmarks.harness import Case, Figures, Run, measure_all, parser_of, run_child
from benchmarks.records import CHUNK, random_keys, values
from benchmarks.table import Row, report

ROWS = [Row("seconds", "open", "seconds"), Row("first_get_seconds", "open and first get", "seconds")]


def fill(run: Run) -> Iterator[Figures]:
    """Writes, then dies or closes."""
    run.engine.open(run.folder)
    insert, some_values, total = run.engine.insert, cycle(values(100)), run.given["n"]
    for done in range(0, total, CHUNK):
        if run.over:
            raise TimeoutError(f"only {done:,} of {total:,} entries were written within the limit")
        for key in random_keys(done // CHUNK, min(CHUNK, total - done)):
            insert(key, next(some_values))
    yield {"done": 1.0}
    if run.given["crash"]:
        os.kill(os.getpid(), signal.SIGKILL)
    run.engine.close()


def measure(run: Run) -> Iterator[Figures]:
    last = (run.given["n"] - 1) // CHUNK
    newest = random_keys(last, run.given["n"] - last * CHUNK)
    import_module(run.engine.module)
    start = time.perf_counter()
    run.engine.open(run.folder)
    opened = time.perf_counter()
    found = [run.engine.get(newest[-1])]
    got = time.perf_counter()
    found += [run.engine.get(key) for key in newest]
    if None in found:
        raise LookupError(f"{found.count(None)} of the newest {len(newest)} writes are lost")
    yield {"seconds": opened - start, "first_get_seconds": got - start}
    run.engine.close()


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, count=500_000, limit_seconds=120)
    chosen = parser.parse_args(arguments)

    def write(engine: str, case: Case, folder: Path) -> str | None:
        given = {"n": chosen.n, **case.given}
        figures, failure = run_child("benchmarks.reopen", "fill", engine, folder, given, chosen.limit)
        return failure if failure or figures else "the writes did not end"

    cases = [Case("after SIGKILL", {"crash": True}), Case("after a clean close", {"crash": False})]
    measurements = measure_all("benchmarks.reopen", cases, chosen, prepare=write)
    heading = f"{chosen.n:,} inserts of 16 + 100 bytes before; rounds: {chosen.rounds}"
    print(report(measurements, ROWS, as_json=chosen.json, heading=heading))


if __name__ == "__main__":
    main(sys.argv[1:])
