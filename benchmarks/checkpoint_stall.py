"""What writers feel of checkpoints: python benchmarks/checkpoint_stall.py [--tables 1000] [--seconds 8] [--json]

A keyspace with so many tables; one thread inserts entries one at a time as fast as it can; another takes checkpoints
one after the other without a pause. Quiet and busy windows take turns, so that both kinds of inserts meet the same
flushes. An insert's time is that from the return of the one before it to its own return, so that no wait for the lock
of the interpreter can hide in between; it counts as busy if a checkpoint was in flight when it began or when it ended.
Old checkpoints are deleted between the windows, with the writer halted: their deletion is in neither series.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median

import fjeld
from fjeld.cli.demo.latency import Summary, summarize
from fjeld.cli.output import human_count, human_seconds
from fjeld.options import Leveled

KEY_BYTES = 16
VALUE_BYTES = 100
BATCH = 1_000
TABLE_BYTES = 64 << 10
WINDOW_SECONDS = 0.5
LEAST_CHECKPOINTS = 50

QUIET, BUSY, NEITHER = (
    0,
    1,
    2,
)  # what an insert counts as; two of them that differ, or-ed, are in the last series
SERIES = 4

# Level 0 is left alone until it has 100 tables, so the 1,000 of level 1 stay what they are.
OPTIONS = fjeld.PartitionOptions(
    compaction=Leveled(level0_runs=100, level1_bytes=1 << 40, table_bytes=TABLE_BYTES)
)


class Writer(threading.Thread):
    """Inserts in a loop and times each one. The main thread sets `phase`; `halt` and `go` are for pauses."""

    def __init__(self, insert: Callable[[bytes, bytes], None]) -> None:
        super().__init__(name="writer", daemon=True)
        self._insert = insert
        self._may_run = threading.Event()
        self._halted = threading.Event()
        self._done = False
        self.phase = NEITHER
        self.took_ns = [array("Q") for _ in range(SERIES)]

    def run(self) -> None:
        chance = random.Random(7)
        keys = cycle([chance.randbytes(KEY_BYTES) for _ in range(200_000)])
        value = chance.randbytes(VALUE_BYTES)
        while True:
            self._halted.set()
            self._may_run.wait()
            if self._done:
                return
            self._halted.clear()
            self._loop(keys, value)

    def _loop(self, keys: cycle[bytes], value: bytes) -> None:
        insert, clock, is_set = self._insert, time.perf_counter_ns, self._may_run.is_set
        record = [series.append for series in self.took_ns]
        phase, last_ns = self.phase, clock()
        for key in keys:
            insert(key, value)
            now_ns = clock()
            before, phase = phase, self.phase
            record[before | phase](now_ns - last_ns)
            last_ns = now_ns
            if not is_set():
                return

    def go(self) -> None:
        self._may_run.set()

    def halt(self) -> None:
        """Returns when no insert is under way."""
        self._may_run.clear()
        while not self._halted.wait(1):
            if not self.is_alive():
                raise RuntimeError("the writer failed: see above")

    def finish(self) -> None:
        self._done = True
        self._may_run.set()
        self.join()


@dataclass
class Taken:
    """All checkpoints of the run."""

    links: list[int] = field(default_factory=list)
    copied_bytes: int = 0
    stall_seconds: list[float] = field(default_factory=list)
    elapsed_seconds: list[float] = field(default_factory=list)

    def add(self, info: fjeld.CheckpointInfo) -> None:
        self.links.append(len(info.files))
        self.copied_bytes += info.copied_bytes + info.reflinked_bytes
        self.stall_seconds.append(info.stall_seconds)
        self.elapsed_seconds.append(info.elapsed_seconds)


@dataclass(frozen=True)
class Figures:
    """What is printed."""

    tables: int
    checkpoints: int
    copied_bytes: int
    stall_us_median: float
    stall_us_max: float
    checkpoint_ms_median: float
    links_a_second: float
    quiet: Summary
    busy: Summary
    quiet_inserts_a_second: float
    busy_inserts_a_second: float

    @property
    def ratio(self) -> float:
        """How much longer the writers' p99.9 is with checkpoints than without."""
        return self.busy.p999_ns / self.quiet.p999_ns

    def document(self) -> dict[str, object]:
        flat = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("quiet", "busy")
        }
        for name, summary in (("quiet", self.quiet), ("busy", self.busy)):
            flat[name] = {figure: getattr(summary, figure) for figure in Summary.__dataclass_fields__}
        return {**flat, "p999_ratio": self.ratio, "machine": machine()}


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def fill(keyspace: fjeld.Keyspace, tables: int) -> fjeld.Partition:
    """So many tables in level 1, give or take a few."""
    partition = keyspace.partition("kv", options=OPTIONS)
    chance = random.Random(1)
    entries = tables * TABLE_BYTES // (KEY_BYTES + VALUE_BYTES)
    for _ in range(0, entries, BATCH):
        partition.insert_many(
            [(chance.randbytes(KEY_BYTES), chance.randbytes(VALUE_BYTES)) for _ in range(BATCH)]
        )
    keyspace.compact()
    return partition


def checkpoints_for(
    keyspace: fjeld.Keyspace, folder: Path, writer: Writer, seconds: float, taken: Taken
) -> float:
    """One after the other; returns the seconds in which one was in flight."""
    until = time.perf_counter() + seconds
    in_flight = 0.0
    while (start := time.perf_counter()) < until:
        writer.phase = BUSY
        info = keyspace.backup_to(folder / str(len(taken.links)))
        writer.phase = NEITHER
        in_flight += time.perf_counter() - start
        taken.add(info)
    return in_flight


def measure(keyspace: fjeld.Keyspace, folder: Path, tables: int, seconds: float) -> Figures:
    partition = fill(keyspace, tables)
    gc.collect()
    gc.freeze()
    writer, taken = Writer(partition.insert), Taken()
    writer.start()
    quiet_seconds = busy_seconds = 0.0
    while quiet_seconds < seconds or len(taken.links) < LEAST_CHECKPOINTS:
        writer.go()
        writer.phase = QUIET
        time.sleep(WINDOW_SECONDS)
        writer.phase = NEITHER
        quiet_seconds += WINDOW_SECONDS
        busy_seconds += checkpoints_for(keyspace, folder, writer, WINDOW_SECONDS, taken)
        writer.halt()
        for old in folder.iterdir():
            shutil.rmtree(old)
    writer.finish()
    quiet, busy = (summarize(writer.took_ns[phase]) for phase in (QUIET, BUSY))
    assert quiet is not None and busy is not None
    return Figures(
        tables=sum(level["tables"] for level in partition.stats()["levels"]),
        checkpoints=len(taken.links),
        copied_bytes=taken.copied_bytes,
        stall_us_median=median(taken.stall_seconds) * 1e6,
        stall_us_max=max(taken.stall_seconds) * 1e6,
        checkpoint_ms_median=median(taken.elapsed_seconds) * 1e3,
        links_a_second=sum(taken.links) / sum(taken.elapsed_seconds),
        quiet=quiet,
        busy=busy,
        quiet_inserts_a_second=quiet.count / quiet_seconds,
        busy_inserts_a_second=busy.count / busy_seconds,
    )


def show(figures: Figures) -> str:
    """As Markdown."""

    def row(title: str, rate: float, summary: Summary) -> str:
        times = (summary.p50_ns, summary.p99_ns, summary.p999_ns, summary.max_ns)
        cells = [human_count(summary.count), human_count(rate), *(human_seconds(ns / 1e9) for ns in times)]
        return f"| {title} | {' | '.join(cells)} |"

    return "\n".join(
        [
            machine(),
            "",
            f"{figures.checkpoints} checkpoints of {figures.tables:,} tables: {figures.copied_bytes} bytes copied, "
            f"{figures.checkpoint_ms_median:.1f} ms each (median), {human_count(figures.links_a_second)} links a second;",
            f"commit lock held {figures.stall_us_median:.0f} us (median), {figures.stall_us_max:.0f} us (max)",
            "",
            "| single inserts | count | a second | p50 | p99 | p99.9 | max |",
            "|---|--:|--:|--:|--:|--:|--:|",
            row("no checkpoint in flight", figures.quiet_inserts_a_second, figures.quiet),
            row("checkpoints back to back", figures.busy_inserts_a_second, figures.busy),
            "",
            f"p99.9 with checkpoints is {figures.ratio:.2f}x of that without",
        ]
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tables", type=int, default=1_000)
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="of quiet windows; as much again of busy ones"
    )
    parser.add_argument("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="fjeld-stall-", dir=chosen.dir))
    try:
        (folder / "checkpoints").mkdir()
        with fjeld.open(folder / "keyspace") as keyspace:
            figures = measure(keyspace, folder / "checkpoints", chosen.tables, chosen.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures.document(), indent=2) if chosen.json else show(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
