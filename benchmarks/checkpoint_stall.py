"""What writers feel of checkpoints, in a keyspace of many tables.

One thread inserts entries one at a time, so many every millisecond (or, with --rate 0, as fast as it can);
another takes checkpoints one after the other without a pause. Quiet and busy windows take turns, so that both
kinds of inserts meet the same flushes. An insert's time is that from the return of the one before it to its
own return, so that no wait can hide in between; it counts as busy if a checkpoint was in flight when it began
or when it ended. How late the thread wakes up for its millisecond is shown apart: that is a matter of the
scheduler and of the interpreter's lock, which the thread that takes the checkpoint needs too.
Old checkpoints are deleted between the windows, with the writer halted: their deletion is in no series.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import fjeld
from fjeld.cli.bench.machine import machine
from fjeld.cli.demo.latency import Summary, summarize
from fjeld.cli.output import human_count, human_seconds
from fjeld.options import Leveled

KEY_BYTES = 16
VALUE_BYTES = 100
BATCH = 1_000
TABLE_BYTES = 64 << 10
WINDOW_SECONDS = 0.5
LEAST_CHECKPOINTS = 50
TICK_NS = 1_000_000
BEHIND_NS = 20 * TICK_NS  # a writer that is later than this does not try to catch up

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

    def __init__(self, insert: Callable[[bytes, bytes], None], rate: int) -> None:
        super().__init__(name="writer", daemon=True)
        self._insert = insert
        self._rate = rate
        self._may_run = threading.Event()
        self._halted = threading.Event()
        self._done = False
        self.phase = NEITHER
        self.took_ns = [array("Q") for _ in range(SERIES)]
        self.late_ns = [array("Q") for _ in range(SERIES)]

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
            if self._rate:
                self._keep_the_rate(keys, value)
            else:
                while self._may_run.is_set():
                    self._insert_some(keys, value, BATCH)

    def _keep_the_rate(self, keys: Iterator[bytes], value: bytes) -> None:
        clock = time.perf_counter_ns
        some = max(1, self._rate * TICK_NS // 1_000_000_000)
        due_ns = clock()
        while self._may_run.is_set():
            due_ns += TICK_NS
            before = self.phase
            if (wait_ns := due_ns - clock()) > 0:
                time.sleep(wait_ns / 1e9)
            self.late_ns[before | self.phase].append(clock() - due_ns)
            if wait_ns < -BEHIND_NS:
                due_ns = clock()
            self._insert_some(keys, value, some)

    def _insert_some(self, keys: Iterator[bytes], value: bytes, count: int) -> None:
        insert, clock = self._insert, time.perf_counter_ns
        record = [series.append for series in self.took_ns]
        phase, last_ns = self.phase, clock()
        for key in islice(keys, count):
            insert(key, value)
            now_ns = clock()
            before, phase = phase, self.phase
            record[before | phase](now_ns - last_ns)
            last_ns = now_ns

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
class Window:
    """What writers felt in windows of one kind."""

    seconds: float
    inserts: Summary
    late: Summary | None
    """None where the writer does not wait for its turn."""

    @property
    def rate(self) -> float:
        return self.inserts.count / self.seconds

    @classmethod
    def of(cls, seconds: float, took_ns: Sequence[int], late_ns: Sequence[int]) -> Window:
        inserts = summarize(took_ns)
        assert inserts is not None
        return cls(seconds, inserts, summarize(late_ns))


@dataclass(frozen=True)
class Figures:
    """What is printed."""

    tables: int
    checkpoints: int
    copied_bytes: int
    stall_us_median: float
    stall_us_max: float
    checkpoint_ms_median: float
    links_per_second: float
    quiet: Window
    busy: Window

    @property
    def ratio(self) -> float:
        """How much longer the writers' p99.9 is with checkpoints than without."""
        return self.busy.inserts.p999_ns / self.quiet.inserts.p999_ns

    def document(self) -> dict[str, object]:
        return {**asdict(self), "p999_ratio": self.ratio, "machine": machine()}


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


def measure(keyspace: fjeld.Keyspace, folder: Path, tables: int, seconds: float, rate: int) -> Figures:
    partition = fill(keyspace, tables)
    gc.collect()
    gc.freeze()
    writer, taken = Writer(partition.insert, rate), Taken()
    writer.start()
    writer.halt()  # it has its keys
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
    if (failure := keyspace.stats()["failure"]) is not None:
        raise RuntimeError(f"a background job failed, the figures mean nothing: {failure}")
    return Figures(
        tables=sum(level["tables"] for level in partition.stats()["levels"]),
        checkpoints=len(taken.links),
        copied_bytes=taken.copied_bytes,
        stall_us_median=median(taken.stall_seconds) * 1e6,
        stall_us_max=max(taken.stall_seconds) * 1e6,
        checkpoint_ms_median=median(taken.elapsed_seconds) * 1e3,
        links_per_second=sum(taken.links) / sum(taken.elapsed_seconds),
        quiet=Window.of(quiet_seconds, writer.took_ns[QUIET], writer.late_ns[QUIET]),
        busy=Window.of(busy_seconds, writer.took_ns[BUSY], writer.late_ns[BUSY]),
    )


def row(title: str, rate: str, summary: Summary) -> str:
    """Of a Markdown table."""
    times = (summary.p50_ns, summary.p99_ns, summary.p999_ns, summary.max_ns)
    cells = [human_count(summary.count), rate, *(human_seconds(ns / 1e9) for ns in times)]
    return f"| {title} | {' | '.join(cells)} |"


def show(figures: Figures) -> str:
    """As Markdown."""
    windows = {"no checkpoint in flight": figures.quiet, "checkpoints back to back": figures.busy}
    lines = [
        machine(),
        "",
        f"{figures.checkpoints} checkpoints of {figures.tables:,} tables: "
        f"{figures.copied_bytes} bytes copied, {figures.checkpoint_ms_median:.1f} ms each (median), "
        f"{human_count(figures.links_per_second)} links a second; commit lock held "
        f"{figures.stall_us_median:.0f} us (median), {figures.stall_us_max:.0f} us (max)",
        "",
        "| | count | a second | p50 | p99 | p99.9 | max |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for title, window in windows.items():
        lines.append(row(f"insert, {title}", human_count(window.rate), window.inserts))
    for title, window in windows.items():
        if window.late is not None:
            lines.append(row(f"wake-up late by, {title}", "", window.late))
    return "\n".join([*lines, "", f"inserts' p99.9 with checkpoints is {figures.ratio:.2f}x of that without"])


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tables", type=int, default=1_000)
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="of quiet windows; as much again of busy ones"
    )
    parser.add_argument("--rate", type=int, default=300_000, help="inserts a second; 0: as many as possible")
    parser.add_argument("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="fjeld-stall-", dir=chosen.dir))
    try:
        (folder / "checkpoints").mkdir()
        with fjeld.open(folder / "keyspace") as keyspace:
            figures = measure(keyspace, folder / "checkpoints", chosen.tables, chosen.seconds, chosen.rate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures.document(), indent=2) if chosen.json else show(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
