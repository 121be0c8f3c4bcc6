"""How fast `fjeld.verify` is, beside the bare reading and hashing of the same files.

Each way goes over the files of one keyspace, alternating, several times; the best of each counts. `read` is
the floor: each file read from end to end and hashed with XXH3-128, by as many threads as verify has, and by two; the
faster counts. Warm: the files are in the page cache. Cold: the system is asked to forget them before each turn
(posix_fadvise), so the disk counts. `cpu` is what all threads together took of the processors, for each byte.

    ./run measure verify --gib 1 --codec lz4 --cold
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fjeld
from fjeld.backup.verify import THREADS
from fjeld.kernel.checksum import file_xxh128

KEY_BYTES = 16


def pairs(count: int, value_bytes: int) -> list[tuple[bytes, bytes]]:
    """Sorted; half of each value is random, so that codecs have something to do, and not too much."""
    chance = random.Random(1)
    half = value_bytes // 2
    keys = sorted(chance.randbytes(KEY_BYTES) for _ in range(count))
    return [(key, chance.randbytes(half) + bytes(value_bytes - half)) for key in keys]


def build(path: Path, size_bytes: int, value_bytes: int, codec: str) -> None:
    options = fjeld.PartitionOptions(compression=(codec,))
    chunk = min(200_000, size_bytes // (KEY_BYTES + value_bytes) + 1)
    done = 0
    with fjeld.open(path) as keyspace:
        partition = keyspace.partition("p", options=options)
        number = 0
        while done < size_bytes:
            partition.ingest(
                [(number.to_bytes(4, "big") + key, value) for key, value in pairs(chunk, value_bytes)]
            )
            number += 1
            done = partition.disk_space()


def files_of(path: Path) -> list[str]:
    return [entry.path for entry in os.scandir(path / "tables")]


def forget(files: list[str]) -> None:
    """Out of the page cache."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def read_and_hash(files: list[str], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(file_xxh128, files))


def verify(path: Path, *, scan: bool) -> None:
    report = fjeld.verify(path, scan=scan)
    report.raise_if_bad()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=0.5, help="Size of the tables.")
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--codec", choices=["none", "lz4", "zstd"], default="lz4")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="From the disk, not from memory.")
    parser.add_argument("--folder", type=Path, help="Where the keyspace is made; default: a temporary one.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder, "keyspace")
        build(path, int(given.gib * (1 << 30)), given.value_bytes, given.codec)
        files = files_of(path)
        size_bytes = sum(os.path.getsize(file) for file in files)
        ways: dict[str, Callable[[], None]] = {
            "read": lambda: read_and_hash(files, THREADS),
            "read_by_two": lambda: read_and_hash(files, 2),
            "verify": lambda: verify(path, scan=False),
            "verify_and_scan": lambda: verify(path, scan=True),
        }
        best = dict.fromkeys(ways, float("inf"))
        cpu = dict(best)
        for _ in range(given.turns):
            for name, way in ways.items():
                if given.cold:
                    forget(files)
                started, used = time.perf_counter(), time.process_time()
                way()
                best[name] = min(best[name], time.perf_counter() - started)
                cpu[name] = min(cpu[name], time.process_time() - used)
    speeds = {name: size_bytes / seconds / 1e6 for name, seconds in best.items()}
    floor = max(speeds["read"], speeds["read_by_two"])
    figures = {
        "bytes": size_bytes,
        "files": len(files),
        "mb_per_second": speeds,
        "cpu_ns_per_byte": {name: seconds / size_bytes * 1e9 for name, seconds in cpu.items()},
        "of_reading": speeds["verify"] / floor,
    }
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    temperature = "cold" if given.cold else "warm"
    print(f"{len(files)} tables, {size_bytes / 1e6:,.0f} MB, {given.codec}, {temperature}")
    for name, speed in speeds.items():
        share, used = speed / floor, cpu[name] / size_bytes * 1e9
        print(
            f"{name:<16} {speed:>8,.0f} MB/s  {share:>6.0%} of reading and hashing  cpu {used:.2f} ns a byte"
        )


if __name__ == "__main__":
    main()
