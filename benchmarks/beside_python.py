"""What a batch of 300 pairs and a read of 100 keys cost beside a thread that computes in Python.

Whoever lets go of the interpreter's lock within a call waits to get it back: up to five milliseconds each
time while another thread computes (sys.getswitchinterval). So an engine that lets go of it for each entry is
slowed by far more than the half that sharing it would explain.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator

from benchmarks.harness import Case, Figures, Run, measure_all, parser_of
from benchmarks.histogram import Histogram
from benchmarks.records import CHUNK, random_keys, sample_keys, values
from benchmarks.table import Row, report

BATCH_PAIRS = 300
READ_KEYS = 100

ROWS = [
    Row("alone_p50_ns", "alone, median", "ns"),
    Row("alone_mean_ns", "alone, mean", "ns"),
    Row("alone_p99_ns", "alone, p99", "ns"),
    Row("beside_p50_ns", "beside Python, median", "ns"),
    Row("beside_mean_ns", "beside Python, mean", "ns"),
    Row("beside_p99_ns", "beside Python, p99", "ns"),
    Row("ratio", "beside to alone, medians", "times"),
]


class Computing:
    """A thread that only computes, while the context lasts."""

    def __init__(self) -> None:
        self._over = False
        self._thread = threading.Thread(target=self._compute, daemon=True)

    def _compute(self) -> None:
        number = 1
        while not self._over:
            for _ in range(1_000):
                number = number * 31 % 65_537

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()


def timed(calls: Iterator[Callable[[], object]], over: Callable[[], bool]) -> Histogram:
    """Each call's time. At least one is made."""
    times, clock = array("q"), time.perf_counter_ns
    for call in calls:
        start_ns = clock()
        call()
        times.append(clock() - start_ns)
        if over():
            break
    taken = Histogram()
    taken.add(times)
    return taken


def calls_of(run: Run) -> Iterator[Callable[[], object]]:
    """So many of the case's calls; what is handed in is made before each one, outside of its time."""
    engine, records = run.engine, run.given["n"]
    value = values(100, count=1)[0]
    known = sample_keys(max(1, records // CHUNK), 20_000, 1)
    for number in range(run.given["calls"]):
        if run.given["what"] == "batch":
            chance = random.Random(number)
            pairs = [(chance.randbytes(16), value) for _ in range(BATCH_PAIRS)]
            yield lambda pairs=pairs: engine.insert_many(pairs)  # type: ignore[misc]
        else:
            keys = random.Random(number).sample(known, READ_KEYS)
            yield lambda keys=keys: engine.get_many(keys)  # type: ignore[misc]


def measure(run: Run) -> Iterator[Figures]:
    value = values(100, count=1)[0]
    run.engine.open(run.folder)
    for chunk in range(max(1, run.given["n"] // CHUNK)):
        run.engine.insert_many([(key, value) for key in random_keys(chunk)])
    gc.collect()
    gc.freeze()
    alone = timed(calls_of(run), lambda: run.over)
    yield {
        "alone_p50_ns": alone.percentile(50),
        "alone_mean_ns": alone.total / alone.count,
        "alone_p99_ns": alone.percentile(99),
    }
    with Computing():
        beside = timed(calls_of(run), lambda: run.over)
    yield {
        "done": beside.count / run.given["calls"],
        "beside_p50_ns": beside.percentile(50),
        "beside_mean_ns": beside.total / beside.count,
        "beside_p99_ns": beside.percentile(99),
        "ratio": beside.percentile(50) / alone.percentile(50),
    }
    run.engine.close()


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, count=200_000, limit_seconds=60)
    parser.add_argument("--calls", type=int, default=300, help="of each kind, alone and beside")
    chosen = parser.parse_args(arguments)
    cases = [
        Case(f"batch of {BATCH_PAIRS}", {"what": "batch"}),
        Case(f"get_many of {READ_KEYS}", {"what": "read"}),
    ]
    measurements = measure_all("benchmarks.beside_python", cases, chosen)
    heading = f"{chosen.n:,} records of 16 + 100 bytes, {chosen.calls} calls; rounds: {chosen.rounds}"
    print(report(measurements, ROWS, as_json=chosen.json, heading=heading))


if __name__ == "__main__":
    main(sys.argv[1:])
