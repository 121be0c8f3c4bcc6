"""The workloads: random 16-byte keys, one thread, the same keys in the same order for every engine."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from fjeld.cli.bench.engine import Engine, Pair
from fjeld.cli.demo.latency import percentile

__all__ = ["WORKLOADS", "Dataset", "run_engine"]

T = TypeVar("T")

_SEED = 7
_KEY_BYTES = 16
_BATCH = 1_000
_MANY = 100
_SHORT_SCAN = 100

# In the order in which they are shown; rates are operations or entries a second, the others as named.
WORKLOADS = (
    "insert",
    "insert_many 1000",
    "get",
    "get missing",
    "get_many 100",
    "scan",
    "scan reverse",
    "scan of 100",
    "overwrite",
    "remove",
    "checkpoint ms",
    "insert p99.9 us beside it",
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is written and asked for."""

    pairs: list[Pair]
    more: list[Pair]
    """Other keys: missing at first, then written in batches."""

    @classmethod
    def make(cls, count: int, value_bytes: int) -> Dataset:
        chance = random.Random(_SEED)
        # Half of each value repeats, so that compression has as much to do as with real values.
        noise = chance.randbytes(value_bytes * 64)

        def pair() -> Pair:
            at = chance.randrange(len(noise) - value_bytes + 1)
            half = value_bytes // 2
            return chance.randbytes(_KEY_BYTES), noise[at : at + half] + b"." * (value_bytes - half)

        return cls([pair() for _ in range(count)], [pair() for _ in range(count)])


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def rate(count: int, work: Callable[[], object]) -> float:
    """So many things a second."""
    start = time.perf_counter()
    work()
    return count / max(time.perf_counter() - start, 1e-9)


def exhaust(entries: Iterable[object]) -> int:
    """How many there are."""
    count = 0
    for _ in entries:
        count += 1
    return count


def each(call: Callable[[T], object], arguments: Iterable[T]) -> Callable[[], None]:
    """Work: the call on every argument."""

    def work() -> None:
        for argument in arguments:
            call(argument)

    return work


def run_engine(engine: Engine, path: Path, data: Dataset, on_step: Callable[[str], None]) -> dict[str, float]:
    """Every workload on a fresh store: {workload: figure}. A wrong answer raises: it has no rate."""
    results: dict[str, float] = {}
    steps = (_fill, _read, _scan, _change, _batch_and_checkpoint)
    engine.open(path)
    try:
        for step in steps:
            for name, figure in step(engine, path, data):
                results[name] = figure
                on_step(name)
    finally:
        engine.close()
    return results


def _fill(engine: Engine, _path: Path, data: Dataset) -> Iterator[tuple[str, float]]:
    insert = engine.insert

    def work() -> None:
        for key, value in data.pairs:
            insert(key, value)

    yield "insert", rate(len(data.pairs), work)
    engine.compact()


def _read(engine: Engine, _path: Path, data: Dataset) -> Iterator[tuple[str, float]]:
    keys = [key for key, _ in data.pairs]
    random.Random(_SEED).shuffle(keys)
    if any(engine.get(key) is None for key in keys[:_MANY]):
        raise AssertionError(f"{engine.name} lost a key")
    yield "get", rate(len(keys), each(engine.get, keys))
    missing = [key for key, _ in data.more]
    yield "get missing", rate(len(missing), each(engine.get, missing))
    yield "get_many 100", rate(len(keys), each(engine.get_many, list(chunked(keys, _MANY))))


def _scan(engine: Engine, _path: Path, data: Dataset) -> Iterator[tuple[str, float]]:
    for name, entries in (("scan", engine.scan), ("scan reverse", engine.scan_reverse)):
        start = time.perf_counter()
        count = exhaust(entries())
        yield name, count / (time.perf_counter() - start)
        if count != len(data.pairs):
            raise AssertionError(f"{engine.name} scanned {count} of {len(data.pairs)} entries")
    starts = [key for key, _ in data.pairs[:: max(1, len(data.pairs) // 1_000)]]
    yield (
        "scan of 100",
        rate(len(starts), each(lambda key: exhaust(islice(engine.scan(key), _SHORT_SCAN)), starts)),
    )


def _change(engine: Engine, _path: Path, data: Dataset) -> Iterator[tuple[str, float]]:
    chance = random.Random(_SEED + 1)
    insert, remove = engine.insert, engine.remove
    changed = chance.sample(data.pairs, len(data.pairs) // 2)

    def overwrite() -> None:
        for key, value in changed:
            insert(key, value)

    yield "overwrite", rate(len(changed), overwrite)
    victims = [key for key, _ in chance.sample(data.pairs, len(data.pairs) // 4)]
    yield "remove", rate(len(victims), each(remove, victims))
    if any(engine.get(key) is not None for key in victims[:_MANY]):
        raise AssertionError(f"{engine.name} still has a removed key")


def _batch_and_checkpoint(engine: Engine, path: Path, data: Dataset) -> Iterator[tuple[str, float]]:
    yield "insert_many 1000", rate(len(data.more), each(engine.insert_many, list(chunked(data.more, _BATCH))))
    took, latencies = checkpoint_under_writes(engine, path.with_name(f"{path.name}-checkpoint"), data.pairs)
    if took is not None:
        yield "checkpoint ms", took * 1e3
    if latencies:
        yield "insert p99.9 us beside it", percentile(sorted(latencies), 99.9) / 1e3


def checkpoint_under_writes(
    engine: Engine, target: Path, pairs: Sequence[Pair]
) -> tuple[float | None, list[int]]:
    """A checkpoint while another thread inserts: its seconds, and the ns of each insert meanwhile.

    (None, []) where the engine has no such thing.
    """
    running = threading.Event()
    done = threading.Event()
    latencies: list[int] = []

    def write() -> None:
        insert, clock = engine.insert, time.perf_counter_ns
        while not done.is_set():
            for key, value in pairs:
                start = clock()
                insert(key, value)
                latencies.append(clock() - start)
                running.set()
                if done.is_set():
                    return

    thread = threading.Thread(target=write, name="bench-writer")
    thread.start()
    try:
        running.wait()
        latencies.clear()
        start = time.perf_counter()
        taken = engine.checkpoint(target)
        took = time.perf_counter() - start
    finally:
        done.set()
        thread.join()
        shutil.rmtree(target, ignore_errors=True)
    return (took, latencies) if taken else (None, [])
