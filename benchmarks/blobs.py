"""Large values: random inserts, then as many overwrites, then reads; with and without key-value separation.

Half of all writes overwrite. Space is what the folder takes for each byte of live keys and values, looked at all the
while during the second half of the overwrites (the journal included), and at the end. Written bytes are those
that the kernel counts for the process (`load` says how), up to the closing.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Figures, Run, disk_bytes, measure_all, parser_of
from benchmarks.load import written_bytes
from benchmarks.peers import Fjeld, RocksDict
from benchmarks.records import KEY_BYTES, key_of, values
from benchmarks.table import Row, report

ROWS = [
    Row("insert_rate", "inserts a second", "rate"),
    Row("overwrite_rate", "overwrites a second", "rate"),
    Row("read_rate", "reads a second", "rate"),
    Row("write_amplification", "bytes written for each byte given", "times"),
    Row("space_most", "disk for each live byte, at most", "times"),
    Row("space_end", "... at the end", "times"),
    Row("space_closed", "... when closed", "times"),
]

LOOK_EVERY = 200
"""Writes between two looks at the folder."""


class Separated(Fjeld):
    """Fjeld with key-value separation, otherwise as it comes."""

    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        import fjeld

        self._open(folder, None, fjeld.PartitionOptions(kv_separation=fjeld.KvSeparation()))


class RocksBlobs(RocksDict):
    """RocksDB with its blob files and their collection, otherwise as it comes."""

    def _options(self, rocksdict: Any) -> Any:
        options = super()._options(rocksdict)
        options.set_enable_blob_files(True)
        options.set_min_blob_size(1024)
        options.set_enable_blob_gc(True)
        options.set_blob_gc_age_cutoff(1.0)
        options.set_blob_gc_force_threshold(0.25)
        return options


DEFAULT_ENGINES = "benchmarks.blobs:Separated,fjeld,benchmarks.blobs:RocksBlobs,rocksdict,plyvel,lmdb"


def measure(run: Run) -> Iterator[Figures]:
    engine, total, value_bytes = run.engine, run.given["n"], run.given["value_bytes"]
    chance = random.Random(5)
    before_bytes = written_bytes()
    live_bytes = total * (KEY_BYTES + value_bytes)
    given = cycle(values(value_bytes, count=256))
    engine.open(run.folder)
    keys = [key_of(number) for number in range(total)]
    yield {"done": 0.5, "insert_rate": rate_of(engine, keys, given)}
    overwritten = chance.choices(keys, k=total)
    seconds, most = 0.0, 0.0
    for start in range(0, total, LOOK_EVERY):
        some = overwritten[start : start + LOOK_EVERY]
        seconds += len(some) / rate_of(engine, some, given)
        if start >= total // 2:
            most = max(most, disk_bytes(run.folder) / live_bytes)
    yield {"done": 1.0, "overwrite_rate": total / seconds, "space_most": most}
    yield {"space_end": disk_bytes(run.folder) / live_bytes}
    asked = chance.choices(keys, k=total)
    started = time.perf_counter()
    for key in asked:
        engine.get(key)
    yield {"read_rate": total / (time.perf_counter() - started)}
    engine.close()
    yield {
        "write_amplification": (written_bytes() - before_bytes) / (2 * live_bytes),
        "space_closed": disk_bytes(run.folder) / live_bytes,
    }


def rate_of(engine: Any, keys: list[bytes], given: Iterator[bytes]) -> float:
    """Writes a second of one value for each key."""
    pairs = list(zip(keys, given, strict=False))
    insert = engine.insert
    started = time.perf_counter()
    for key, value in pairs:
        insert(key, value)
    return len(pairs) / (time.perf_counter() - started)


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, count=4_000, rounds=1, limit_seconds=120)
    parser.add_argument("--value-bytes", type=int, default=64 << 10)
    chosen = parser.parse_args(arguments)
    chosen.engines = chosen.engines or DEFAULT_ENGINES
    measurements = measure_all("benchmarks.blobs", [Case("")], chosen)
    heading = f"{chosen.n:,} keys of {KEY_BYTES} bytes, values of {chosen.value_bytes:,}, each written twice"
    print(report(measurements, ROWS, as_json=chosen.json, heading=f"{heading}; rounds: {chosen.rounds}"))


if __name__ == "__main__":
    main(sys.argv[1:])
