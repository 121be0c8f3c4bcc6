"""How costs grow: of operations with the number of entries, of checkpoints with the number of files.

Operations: the store grows by random inserts, one at a time; at 10^4, 10^5, ... entries gets of random entries
and scans of 100 from random keys are timed. The cost of an insert is the mean since the size before it, with
the compactions that it has to wait for.
Checkpoints: a store of 10, 100, ... tables, made cheaply by tiny ones. A writer that is due every half
millisecond inserts meanwhile; its stall is how long after it was due its insert returned, which holds the wait
for the interpreter's lock and the scheduler's lateness too. Engines without checkpoints by hard links are left
out here.
With --out the figures are written there as JSON and CSV, and as plots where matplotlib is installed.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from benchmarks.growth_plots import write_all
from benchmarks.harness import Case, Figures, Run, measure_all, parser_of
from benchmarks.records import CHUNK, KEY_BYTES, random_keys, sample_keys, values
from benchmarks.table import Row, report

OPERATIONS, CHECKPOINTS = "operations", "checkpoints"
PROBES = 20_000
SCANS = 2_000
SCAN_ENTRIES = 100
TABLE_BYTES = 1 << 10  # in fact a block of 4 KiB, compressed: engines write no less
VALUE_BYTES = 100
FILL = 100  # entries of a batch of small tables
TAKEN = 5  # checkpoints of each store; the median of their times, the worst of their stalls
TURN_NS = 500_000
HEADING = (
    f"random entries of {KEY_BYTES} + {VALUE_BYTES} bytes; –: not reached within the limit, or no such thing"
)


def sizes_of(first: int, most: int) -> list[int]:
    """10^k from the first on, and the last one at most `most`."""
    found = [first]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


def insert_until(run: Run, done: int, size: int) -> tuple[int, int]:
    """Inserts chunks until there are `size`: (how many there are, ns of the inserts)."""
    insert, clock, taken_ns = run.engine.insert, time.perf_counter_ns, 0
    some_values = cycle(values(VALUE_BYTES))
    while done < size and not run.over:
        pairs = list(zip(random_keys(done // CHUNK), some_values, strict=False))
        start_ns = clock()
        for key, value in pairs:
            insert(key, value)
        taken_ns += clock() - start_ns
        done += len(pairs)
    return done, taken_ns


def mean_ns(run: Run, probe: Callable[[bytes], object], keys: list[bytes]) -> float:
    """Of a call for each key, as far as the time allows. What it returns must be something."""
    taken_ns = done = 0
    for first in range(0, len(keys), 100):
        some = keys[first : first + 100]
        start_ns = time.perf_counter_ns()
        missing = [key for key in some if not probe(key)]
        taken_ns += time.perf_counter_ns() - start_ns
        if missing:
            raise LookupError(f"{len(missing)} of {len(some)} entries are not there")
        done += len(some)
        if run.over:
            break
    return taken_ns / done


def grow(run: Run) -> Iterator[Figures]:
    """Costs at each size."""
    engine = run.engine
    engine.open(run.folder)
    gc.collect()
    gc.freeze()
    done = 0
    for size in sizes_of(10_000, run.given["n"]):
        before = done
        done, taken_ns = insert_until(run, done, size)
        if done < size:
            return
        keys = sample_keys(done // CHUNK, PROBES, size)
        yield {
            f"insert_ns {size}": taken_ns / (done - before),
            f"get_ns {size}": mean_ns(run, engine.get, keys),
            f"scan_ns {size}": mean_ns(
                run, lambda key: list(islice(engine.scan(key), SCAN_ENTRIES)), keys[:SCANS]
            ),
        }
    engine.close()


class Writer(threading.Thread):
    """Inserts whenever it is due, until `stop`; keeps its longest stall since `begin`."""

    def __init__(self, insert: Callable[[bytes, bytes], object]) -> None:
        super().__init__(daemon=True)
        self._insert = insert
        self._over = threading.Event()
        self._worst_ns = 0
        self._inserts = 0

    def run(self) -> None:
        clock = time.perf_counter_ns
        pairs = cycle(zip(random_keys(0), cycle(values(VALUE_BYTES)), strict=False))
        due_ns = clock()
        while not self._over.is_set():
            due_ns = max(due_ns + TURN_NS, clock())  # late once, not for all turns to come
            time.sleep((due_ns - clock()) / 1e9 if due_ns > clock() else 0)
            self._insert(*next(pairs))
            self._worst_ns = max(self._worst_ns, clock() - due_ns)
            self._inserts += 1

    def begin(self) -> None:
        self._worst_ns = 0

    def worst_seconds(self) -> float:
        """Waits for the insert that may be under way: it is the one that was stalled."""
        seen = self._inserts
        while self._inserts == seen and self.is_alive():
            time.sleep(TURN_NS / 1e9)
        return self._worst_ns / 1e9

    def stop(self) -> None:
        self._over.set()
        self.join()


def count_tables(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*.sst") if path.is_file())


def bare_links(checkpoint: Path, target: Path) -> float:
    """Seconds that it takes to link the files of a checkpoint into one folder, and nothing else."""
    names = [
        (os.fspath(path), os.fspath(target / path.name)) for path in checkpoint.rglob("*") if path.is_file()
    ]
    target.mkdir()
    start = time.perf_counter()
    for source, name in names:
        os.link(source, name)
    taken = time.perf_counter() - start
    shutil.rmtree(target)
    return taken


def take(run: Run, target: Path) -> Figures:
    """Some checkpoints beside a writer, and the writer for as long without them."""
    writer, seconds, stalls, links = Writer(run.engine.insert), [], [], []
    writer.start()
    for _ in range(TAKEN):
        writer.begin()
        start = time.perf_counter()
        run.engine.checkpoint(target)
        seconds.append(time.perf_counter() - start)
        stalls.append(writer.worst_seconds())
        links.append(bare_links(target, target.with_name("links")))
        shutil.rmtree(target)
    writer.begin()
    time.sleep(min(max(sum(seconds), 0.1), 10))
    quiet = writer.worst_seconds()
    writer.stop()
    return {
        "checkpoint_seconds": median(seconds),
        "link_seconds": median(links),
        "stall_seconds": max(stalls),
        "quiet_seconds": quiet,
    }


def checkpoints(run: Run) -> Iterator[Figures]:
    """Costs at each number of tables."""
    engine, target = run.engine, run.folder.with_name("checkpoint")
    engine.open(run.folder, table_bytes=TABLE_BYTES)
    some_values, done, in_table = cycle(values(VALUE_BYTES)), 0, 35.0
    for files in sizes_of(10, run.given["files"]):
        while done < files * in_table and not run.over:
            engine.insert_many(list(zip(random_keys(done // FILL, FILL), some_values, strict=False)))
            done += FILL
        engine.compact()
        found = count_tables(run.folder)
        in_table = done / found
        if run.over:
            return
        taken = take(run, target)
        yield {f"files {files}": found} | {f"{name} {files}": value for name, value in taken.items()}
    engine.close()


def measure(run: Run) -> Iterator[Figures]:
    if run.given["what"] == OPERATIONS:
        return grow(run)
    return checkpoints(run) if run.engine.has_checkpoint else iter(())


def rows_of(n: int, files: int) -> list[Row]:
    rows = [
        Row(f"{name}_ns {size}", f"{title}, {size:,} entries", "ns")
        for name, title in (("insert", "insert"), ("get", "get"), ("scan", f"scan of {SCAN_ENTRIES}"))
        for size in sizes_of(10_000, n)
    ]
    titles = {
        "checkpoint_seconds": "checkpoint",
        "link_seconds": "bare links of its files",
        "stall_seconds": "longest stall with checkpoints",
        "quiet_seconds": "longest stall without",
    }
    for name, title in titles.items():
        rows += [Row(f"{name} {size}", f"{title}, {size:,} files", "seconds") for size in sizes_of(10, files)]
    return rows


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, count=10_000_000, rounds=1, limit_seconds=900)
    parser.add_argument("--max", dest="n", type=int, help="the same as --n: entries at the end")
    parser.add_argument("--files", type=int, default=100_000, help="tables at the end (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="a folder for growth.json, growth.csv and the plots")
    parser.add_argument("--only", choices=[OPERATIONS, CHECKPOINTS])
    chosen = parser.parse_args(arguments)
    cases = [Case(what, {"what": what}) for what in (OPERATIONS, CHECKPOINTS) if chosen.only in (None, what)]
    measurements = measure_all("benchmarks.growth", cases, chosen)
    rows = rows_of(chosen.n, chosen.files)
    print(report(measurements, rows, as_json=chosen.json, heading=HEADING))
    if chosen.out is not None:
        for line in write_all(chosen.out, measurements):
            print(line, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
