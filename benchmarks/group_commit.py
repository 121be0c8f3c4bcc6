"""Durable inserts (each is on disk when it returns) from 1, 2, 4, 8 and 16 threads.

Where threads share a sync, more of them write more. Each thread inserts random keys one at a time.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator

from benchmarks.engine import Engine
from benchmarks.harness import Case, Figures, Run, measure_all, parser_of
from benchmarks.histogram import Histogram
from benchmarks.records import KEY_BYTES, values
from benchmarks.table import Row, report

ROWS = [
    Row("rate", "inserts a second", "rate"),
    Row("p50_ns", "p50", "ns"),
    Row("p99_ns", "p99", "ns"),
]


class Writer(threading.Thread):
    """Inserts its keys once `begin` is set, until `over` says so."""

    def __init__(
        self, engine: Engine, number: int, count: int, begin: threading.Event, over: Callable[[], bool]
    ) -> None:
        super().__init__(daemon=True)
        chance = random.Random(number)
        self._keys = [chance.randbytes(KEY_BYTES) for _ in range(count)]
        self._insert, self._begin, self._over = engine.insert, begin, over
        self.times = array("q")
        self.ended_ns = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        insert, over, clock, record = self._insert, self._over, time.perf_counter_ns, self.times.append
        value = values(100, count=1)[0]
        try:
            self._begin.wait()
            for key in self._keys:
                start_ns = clock()
                insert(key, value)
                record(clock() - start_ns)
                if over():
                    break
        except BaseException as error:
            self.failure = error
        self.ended_ns = clock()


def measure(run: Run) -> Iterator[Figures]:
    threads, total = run.given["threads"], run.given["n"]
    seconds = min(run.given["seconds"], run.limit_seconds)
    run.engine.open(run.folder, durable=True)
    begin, until = threading.Event(), float("inf")
    writers = []
    for number in range(threads):
        session = run.engine if number == 0 else run.engine.session()
        writers.append(Writer(session, number, total // threads, begin, lambda: time.perf_counter() > until))
    for writer in writers:
        writer.start()
    until = time.perf_counter() + seconds
    start_ns = time.perf_counter_ns()
    begin.set()
    taken = Histogram()
    for writer in writers:
        writer.join()
        if writer.failure is not None:
            raise writer.failure
        taken.add(writer.times)
    elapsed = (max(writer.ended_ns for writer in writers) - start_ns) / 1e9
    yield {
        "rate": taken.count / elapsed,
        "p50_ns": taken.percentile(50),
        "p99_ns": taken.percentile(99),
        "max_ns": taken.max,
    }
    run.engine.close()


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, count=200_000, limit_seconds=60)
    parser.add_argument("--threads", default="1,2,4,8,16")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement, or --n inserts")
    chosen = parser.parse_args(arguments)
    cases = [
        Case(f"{threads} thread{'s' * (threads > 1)}", {"threads": threads})
        for threads in map(int, chosen.threads.split(","))
    ]
    measurements = measure_all("benchmarks.group_commit", cases, chosen)
    heading = f"durable inserts of 16 + 100 bytes, each synced; rounds: {chosen.rounds}"
    print(report(measurements, ROWS, as_json=chosen.json, heading=heading))


if __name__ == "__main__":
    main(sys.argv[1:])
