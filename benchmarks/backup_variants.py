"""What the variants of a backup cost, beside what cannot be had for less.

A compacting backup reads everything and writes it once: beside it a scan of the same content by the kernel (the
exact count: every entry is met, none is handed out) and by Python (`items()`). A copying backup moves and sums
every byte and brings it to disk: beside it `cp -R --reflink=never`, which does not, and the same followed by
an fsync of each file. With verify, every file is read back before it appears; beside it the sum of the files.
Rounds take turns, so that all meet the same moods of the machine; the figure is the median. Beside the seconds are
those of the processors, which say more where other work runs: two workers make one of the other half as long.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import fjeld
from fjeld.cli.bench.machine import machine
from fjeld.cli.output import human_bytes, human_count
from fjeld.kernel.checksum import file_xxh128

KEY_BYTES = 16
VALUE_BYTES = 100
BATCH = 1_000


def fill(keyspace: fjeld.Keyspace, entries: int) -> None:
    """Random keys; every fourth is written twice, so that there is garbage. Values compress to about half."""
    partition = keyspace.partition("kv")
    chance = random.Random(1)
    written: list[bytes] = []
    for _ in range(0, entries, BATCH):
        batch = [chance.randbytes(KEY_BYTES) for _ in range(BATCH * 3 // 4)]
        again = chance.sample(written, BATCH // 4) if written else []
        written += batch
        partition.insert_many([(key, chance.randbytes(VALUE_BYTES // 2) * 2) for key in [*batch, *again]])
    keyspace.flush()
    keyspace._engine.maintainer.wait_idle()


def sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            fd = os.open(file, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


def works(keyspace: fjeld.Keyspace, target: Path) -> dict[str, Callable[[], object]]:
    """What is measured, by name; each leaves `target` or nothing behind."""
    partition = keyspace.partition("kv")
    source = Path(keyspace.path)

    def copy() -> None:
        subprocess.run(["cp", "-R", "--reflink=never", source / "tables", target], check=True)

    def copy_and_sync() -> None:
        copy()
        sync(target)

    def scan_in_python() -> None:
        for _ in partition.items():
            pass

    return {
        "scan (kernel)": lambda: len(partition),
        "scan (Python)": scan_in_python,
        "compact": lambda: keyspace.backup_to(target, compact=True),
        "cp": copy,
        "cp, fsync": copy_and_sync,
        "copy": lambda: keyspace.backup_to(target, link="never"),
        "sum": lambda: [file_xxh128(str(path)) for path in (source / "tables").iterdir()],
        "link, verify": lambda: keyspace.backup_to(target, verify=True),
    }


def processor_seconds() -> float:
    """Of this process and its children, user and system."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measure(keyspace: fjeld.Keyspace, folder: Path, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and the processors' seconds, by name: the medians of the rounds."""
    target = folder / "target"
    took: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, work in works(keyspace, target).items():
            os.sync()  # what was written before is nobody's burden
            started, before = time.perf_counter(), processor_seconds()
            work()
            used.setdefault(name, []).append(processor_seconds() - before)
            took.setdefault(name, []).append(time.perf_counter() - started)
            shutil.rmtree(target, ignore_errors=True)
    return (
        {name: median(found) for name, found in took.items()},
        {name: median(found) for name, found in used.items()},
    )


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    """How fast each variant is, beside what it is measured by: 1 is as fast."""
    pairs = {
        "compact": ("scan (kernel)", "scan (Python)"),
        "copy": ("cp", "cp, fsync"),
        "link, verify": ("sum",),
    }
    return {f"{name} / {by}": seconds[by] / seconds[name] for name, others in pairs.items() for by in others}


def show(seconds: dict[str, float], used: dict[str, float], entries: int, size_bytes: int) -> str:
    """As Markdown."""
    lines = [
        machine(),
        "",
        f"{human_count(entries)} entries, {human_bytes(size_bytes)} of tables",
        "",
        "| | seconds | of the processors | MB/s of tables |",
        "|---|--:|--:|--:|",
        *(
            f"| {name} | {took:.3f} | {used[name]:.2f} | {size_bytes / took / 1e6:,.0f} |"
            for name, took in seconds.items()
        ),
        "",
        *(f"- {name}: {ratio:.2f}x of the speed" for name, ratio in ratios(seconds).items()),
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=4_000_000, help="entries (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="the median of so many")
    parser.add_argument("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="fjeld-variants-", dir=chosen.dir))
    try:
        with fjeld.open(folder / "keyspace") as keyspace:
            fill(keyspace, chosen.n)
            keyspace._engine.maintainer.pause_compaction()
            seconds, used = measure(keyspace, folder, chosen.rounds)
            entries, size_bytes = len(keyspace.partition("kv")), keyspace.partition("kv").disk_space()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if chosen.json:
        document = {
            "seconds": seconds,
            "processor_seconds": used,
            "ratios": ratios(seconds),
            "entries": entries,
            "size_bytes": size_bytes,
        }
        print(json.dumps({**document, "machine": machine()}, indent=2))
    else:
        print(show(seconds, used, entries, size_bytes))


if __name__ == "__main__":
    main(sys.argv[1:])
