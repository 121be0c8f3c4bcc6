"""A large load: so many random keys one insert at a time, then a full compaction.

Keys are made and times are counted between chunks of 1,000 inserts, outside of the time; an engine's
background threads run on during that (about a tenth of a fast engine's time). An insert's time runs from the
return of the one before it, so that no wait can hide in between. Written bytes are those that the kernel
counts for the process, from opening to the end of the compaction: write_bytes of /proc/self/io, which counts
what is to be written from the page cache, without cancelled_write_bytes, what was deleted before it was.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from array import array
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from benchmarks.harness import Case, Figures, Run, disk_bytes, measure_all, parser_of
from benchmarks.histogram import Histogram
from benchmarks.peers import Fjeld
from benchmarks.records import CHUNK, KEY_BYTES, random_keys, values
from benchmarks.table import Row, report

ROWS = [
    Row("rate", "inserts a second", "rate"),
    Row("load_seconds", "load", "seconds"),
    Row("compact_seconds", "compact", "seconds"),
    Row("p50_ns", "insert, p50", "ns"),
    Row("p99_ns", "insert, p99", "ns"),
    Row("p999_ns", "insert, p99.9", "ns"),
    Row("max_ns", "insert, max", "ns"),
    Row("write_amplification", "bytes written for each byte loaded", "times"),
    Row("load_amplification", "... before the compaction", "times"),
    Row("disk_bytes", "disk after compaction", "bytes"),
    Row("closed_bytes", "disk when closed", "bytes"),
    Row("memory_bytes", "memory at its peak", "bytes"),
    Row("cpu_seconds", "processor time", "seconds"),
]


class LargeMemtables(Fjeld):
    """Fjeld with the sizes that RocksDB has: memtables of 64 MiB, a level 1 of 256. (benchmarks.load:LargeMemtables)"""

    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        import fjeld

        mib = 1 << 20
        options = fjeld.KeyspaceOptions(
            memtable_bytes=64 * mib, journal_bytes=64 * mib, journals_max_bytes=1024 * mib
        )
        self._open(folder, options, fjeld.PartitionOptions(compaction=fjeld.Leveled(level1_bytes=256 * mib)))


def written_bytes() -> int:
    """By this process, to disk (or to be written to disk from the page cache)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    counts = {name: int(count) for name, _, count in (line.partition(": ") for line in lines)}
    return counts["write_bytes"] - counts["cancelled_write_bytes"]


def peak_memory_bytes() -> int:
    """The most memory this process has had in use, pages of mapped files included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "VmHWM":
            return int(rest.split()[0]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def measure(run: Run) -> Iterator[Figures]:
    engine, total, value_bytes = run.engine, run.given["n"], run.given["value_bytes"]
    before_bytes, before_cpu = written_bytes(), cpu_seconds()
    engine.open(run.folder)
    some_values = cycle(values(value_bytes))
    gc.collect()
    gc.freeze()
    insert, clock = engine.insert, time.perf_counter_ns
    taken = Histogram()
    done = elapsed_ns = 0
    while done < total and not run.over:
        keys = random_keys(done // CHUNK, min(CHUNK, total - done))
        pairs = list(zip(keys, islice(some_values, len(keys)), strict=True))
        times = array("q")
        record = times.append
        start_ns = last_ns = clock()
        for key, value in pairs:
            insert(key, value)
            now_ns = clock()
            record(now_ns - last_ns)
            last_ns = now_ns
        elapsed_ns += last_ns - start_ns
        done += len(keys)
        taken.add(times)
    user_bytes = done * (KEY_BYTES + value_bytes)
    yield {
        "done": done / total,
        "rate": done * 1e9 / elapsed_ns,
        "load_seconds": elapsed_ns / 1e9,
        "p50_ns": taken.percentile(50),
        "p99_ns": taken.percentile(99),
        "p999_ns": taken.percentile(99.9),
        "max_ns": taken.max,
        "load_amplification": (written_bytes() - before_bytes) / user_bytes,
        "memory_bytes": peak_memory_bytes(),
    }
    start_ns = clock()
    if engine.compact():
        yield {"compact_seconds": (clock() - start_ns) / 1e9}
    yield {
        "write_amplification": (written_bytes() - before_bytes) / user_bytes,
        "disk_bytes": disk_bytes(run.folder),
        "memory_bytes": peak_memory_bytes(),
        "cpu_seconds": cpu_seconds() - before_cpu,
    }
    engine.close()
    yield {"closed_bytes": disk_bytes(run.folder)}


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, count=20_000_000, rounds=1, limit_seconds=600)
    parser.add_argument("--value-bytes", type=int, default=100)
    chosen = parser.parse_args(arguments)
    measurements = measure_all("benchmarks.load", [Case("")], chosen)
    heading = f"{chosen.n:,} random keys of {KEY_BYTES} bytes, values of {chosen.value_bytes}, one at a time"
    print(report(measurements, ROWS, as_json=chosen.json, heading=f"{heading}; rounds: {chosen.rounds}"))


if __name__ == "__main__":
    main(sys.argv[1:])
