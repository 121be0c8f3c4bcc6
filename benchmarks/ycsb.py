"""The six core workloads of YCSB, on one and on several threads of a process.

    A  half reads, half updates                     D  19 of 20 reads of what is newest, 1 insert
    B  19 of 20 reads, 1 update                     E  19 of 20 scans of 1 to 100 entries, 1 insert
    C  reads                                        F  half reads, half read-modify-writes

Popular records (zipfian, theta 0.99) are anywhere among the keys; an update replaces the value. Each engine is
loaded once for each round, closed, and copied for each workload. Operations, keys and values are drawn before
the clock runs, the same for every engine. An operation's time runs from the return of the one before it. Every
read must find its record.
"""

from __future__ import annotations

import gc
import random
import shutil
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine
from benchmarks.harness import Case, Figures, Run, copy_store, measure_all, parser_of, run_child
from benchmarks.histogram import Histogram
from benchmarks.records import CHUNK, Zipfian, key_of, values
from benchmarks.table import Row, report

READ, WRITE, SCAN, MODIFY = range(4)
Operation = tuple[int, bytes, int]
"""What, of which record, and of a scan how many."""

MIXES = {  # the common operation, its share, the other one; "D" and "E" write new records
    "A": (READ, 0.5, WRITE),
    "B": (READ, 0.95, WRITE),
    "C": (READ, 1.0, READ),
    "D": (READ, 0.95, WRITE),
    "E": (SCAN, 0.95, WRITE),
    "F": (READ, 0.5, MODIFY),
}
SCAN_MOST = 100
BLOCK = 500  # operations between two looks at the time

ROWS = [Row("rate", "operations a second", "rate"), Row("p99_ns", "p99", "ns"), Row("p999_ns", "p99.9", "ns")]


def draw(workload: str, records: int, count: int, thread: int, threads: int) -> list[Operation]:
    """What one thread does. Its new records are its own, so that it never reads what is not there yet."""
    chance = random.Random(f"{workload} {thread} of {threads}")
    zipfian = Zipfian(records, chance)
    common, share, other = MIXES[workload]
    inserted: list[int] = []
    drawn: list[Operation] = []
    for _ in range(count):
        what = common if chance.random() < share else other
        if what == WRITE and workload in "DE":
            inserted.append(records + thread + len(inserted) * threads)
            record = inserted[-1]
        elif workload == "D":  # the newest record is the most popular
            rank = zipfian.rank()
            record = inserted[-1 - rank] if rank < len(inserted) else records - 1 - (rank - len(inserted))
        else:
            record = zipfian.scrambled()
        drawn.append((what, key_of(record), chance.randint(1, SCAN_MOST) if what == SCAN else 0))
    return drawn


class Client(threading.Thread):
    """Carries out its operations once `begin` is set, and times each."""

    def __init__(
        self,
        engine: Engine,
        operations: Sequence[Operation],
        some_values: Sequence[bytes],
        begin: threading.Event,
        over: Callable[[], bool],
    ) -> None:
        super().__init__(daemon=True)
        self._engine, self._operations, self._values = engine, operations, some_values
        self._begin, self._over = begin, over
        self.times = array("q")
        self.missing = 0
        self.ended_ns = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            pairs = zip(self._operations, cycle(self._values), strict=False)
            self._begin.wait()
            while not self._over() and self._carry_out(islice(pairs, BLOCK)):
                pass
        except BaseException as error:
            self.failure = error
        self.ended_ns = time.perf_counter_ns()

    def _carry_out(self, pairs: Iterator[tuple[Operation, bytes]]) -> bool:
        """False where there is nothing left to do."""
        insert, get, scan = self._engine.insert, self._engine.get, self._engine.scan
        clock, record = time.perf_counter_ns, self.times.append
        before, missing = len(self.times), 0
        last_ns = clock()
        for (what, key, length), value in pairs:
            if what == READ:
                if get(key) is None:
                    missing += 1
            elif what == WRITE:
                insert(key, value)
            elif what == SCAN:
                if not list(islice(scan(key), length)):
                    missing += 1
            else:
                if get(key) is None:
                    missing += 1
                insert(key, value)
            now_ns = clock()
            record(now_ns - last_ns)
            last_ns = now_ns
        self.missing += missing
        return len(self.times) > before


def load(run: Run) -> Iterator[Figures]:
    """The records, in batches."""
    total, engine = run.given["n"], run.engine
    engine.open(run.folder)
    some_values = cycle(values(run.given["value_bytes"]))
    for first in range(0, total, CHUNK):
        if run.over:
            raise TimeoutError(f"only {first:,} of {total:,} records were loaded within the limit")
        keys = map(key_of, range(first, min(first + CHUNK, total)))
        engine.insert_many([(key, next(some_values)) for key in keys])
    engine.close()
    yield {"done": 1.0}


class Loaded:
    """The store that an engine's workloads begin with: made for the first of them in a round, and copied."""

    def __init__(self, folder: Path, given: dict[str, Any], limit_seconds: float) -> None:
        self._folder, self._given, self._limit_seconds = folder, given, limit_seconds
        self._engine = ""
        self._failure: str | None = None

    def put(self, engine: str, _: Case, target: Path) -> str | None:
        """A copy at `target`; or why there is none."""
        base = self._folder / "store"
        if engine != self._engine:
            shutil.rmtree(base, ignore_errors=True)
            self._engine = engine
            figures, failure = run_child(
                "benchmarks.ycsb", "load", engine, base, self._given, self._limit_seconds
            )
            self._failure = failure if failure or figures else "the load did not end"
        if self._failure is None:
            copy_store(base, target)
        return self._failure


def measure(run: Run) -> Iterator[Figures]:
    workload, threads, total = run.given["workload"], run.given["threads"], run.given["operations"]
    drawn = [draw(workload, run.given["n"], total // threads, thread, threads) for thread in range(threads)]
    some_values = values(run.given["value_bytes"])
    run.engine.open(run.folder)
    begin = threading.Event()
    until = float("inf")
    clients = []
    for thread, operations in enumerate(drawn):
        session = run.engine if thread == 0 else run.engine.session()
        clients.append(Client(session, operations, some_values, begin, lambda: time.perf_counter() > until))
    gc.collect()
    gc.freeze()
    for client in clients:
        client.start()
    until = time.perf_counter() + run.limit_seconds
    start_ns = time.perf_counter_ns()
    begin.set()
    taken = Histogram()
    for client in clients:
        client.join()
        if client.failure is not None:
            raise client.failure
        taken.add(client.times)
    missing = sum(client.missing for client in clients)
    if missing:
        raise LookupError(f"{missing} reads did not find their record")
    seconds = (max(client.ended_ns for client in clients) - start_ns) / 1e9
    yield {
        "done": taken.count / (total // threads * threads),
        "rate": taken.count / seconds,
        "p99_ns": taken.percentile(99),
        "p999_ns": taken.percentile(99.9),
        "max_ns": taken.max,
    }


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, count=5_000_000, limit_seconds=300)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--operations", type=int, default=1_000_000, help="of each workload")
    parser.add_argument("--threads", default="1,4")
    parser.add_argument("--workloads", default="ABCDEF")
    chosen = parser.parse_args(arguments)
    cases = [
        Case(f"{workload}, {threads} thread{'s' * (threads > 1)}", {"workload": workload, "threads": threads})
        for workload in chosen.workloads.upper()
        for threads in map(int, chosen.threads.split(","))
    ]
    with tempfile.TemporaryDirectory(prefix="fjeld-ycsb-", dir=chosen.dir) as loaded:
        given = {"n": chosen.n, "value_bytes": chosen.value_bytes}
        prepare = Loaded(Path(loaded), given, chosen.limit).put
        measurements = measure_all("benchmarks.ycsb", cases, chosen, prepare=prepare)
    heading = (
        f"YCSB, {chosen.n:,} records of 16 + {chosen.value_bytes} bytes, {chosen.operations:,} operations"
    )
    print(report(measurements, ROWS, as_json=chosen.json, heading=f"{heading}; rounds: {chosen.rounds}"))


if __name__ == "__main__":
    main(sys.argv[1:])
