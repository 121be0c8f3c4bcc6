"""Write transactions of four operations, one after the other, beside LMDB and SQLite; and optimistic ones of threads.

Four operations: four inserts, or two look-ups and two inserts, of random keys. No engine syncs a commit (LMDB:
sync=False, metasync=False; SQLite: WAL, synchronous=OFF): what is committed survives the process. Optimistic transactions
read and write keys of their own thread, so that none conflicts.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Figures, Run, chosen_engines, measure_all, parser_of
from benchmarks.records import KEY_BYTES, values
from benchmarks.table import Row, report

ROWS = [Row("rate", "transactions a second", "rate")]
CHUNK = 100
"""Transactions between two looks at the clock."""

Keys = Sequence[bytes]


class Store(ABC):
    """What a transaction of four operations is, with the engine's own calls."""

    def __init__(self, folder: Path) -> None:
        self.value = values(100, count=1)[0]

    @abstractmethod
    def write(self, keys: Keys) -> None: ...
    @abstractmethod
    def read_and_write(self, keys: Keys) -> None: ...
    @abstractmethod
    def close(self) -> None: ...


class Fjeld(Store):
    def __init__(self, folder: Path, optimistic: bool = False) -> None:
        import fjeld

        super().__init__(folder)
        opened: Any = fjeld.open_optimistic_tx(folder) if optimistic else fjeld.open_tx(folder)
        opened.partition("kv")
        self._begin, self.close = opened.write_tx, opened.close  # type: ignore[method-assign]

    def write(self, keys: Keys) -> None:
        value = self.value
        with self._begin() as transaction:
            insert = transaction.partition("kv").insert
            for key in keys:
                insert(key, value)

    def read_and_write(self, keys: Keys) -> None:
        first, second, third, fourth = keys
        with self._begin() as transaction:
            partition = transaction.partition("kv")
            partition.get(first)
            partition.insert(second, self.value)
            partition.get(third)
            partition.insert(fourth, self.value)

    def close(self) -> None: ...


class Lmdb(Store):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._db: Any = import_module("lmdb").open(str(folder), map_size=64 << 30, sync=False, metasync=False)

    def write(self, keys: Keys) -> None:
        value = self.value
        with self._db.begin(write=True) as transaction:
            put = transaction.put
            for key in keys:
                put(key, value)

    def read_and_write(self, keys: Keys) -> None:
        first, second, third, fourth = keys
        with self._db.begin(write=True) as transaction:
            transaction.get(first)
            transaction.put(second, self.value)
            transaction.get(third)
            transaction.put(fourth, self.value)

    def close(self) -> None:
        self._db.close()


class Sqlite(Store):
    _PUT = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"
    _GET = "SELECT v FROM kv WHERE k = ?"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir()
        self._db = sqlite3.connect(folder / "db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA cache_size = -65536")
        self._db.execute("CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID")

    def write(self, keys: Keys) -> None:
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        for key in keys:
            execute(self._PUT, (key, self.value))
        execute("COMMIT")

    def read_and_write(self, keys: Keys) -> None:
        first, second, third, fourth = keys
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        execute(self._GET, (first,)).fetchone()
        execute(self._PUT, (second, self.value))
        execute(self._GET, (third,)).fetchone()
        execute(self._PUT, (fourth, self.value))
        execute("COMMIT")

    def close(self) -> None:
        self._db.close()


STORES: dict[str, Callable[[Path], Store]] = {"fjeld": Fjeld, "lmdb": Lmdb, "sqlite": Sqlite}


def keys_of(seed: int, count: int) -> list[Keys]:
    """Of so many transactions."""
    chance = random.Random(seed)
    return [[chance.randbytes(KEY_BYTES) for _ in range(4)] for _ in range(count)]


def run_all(transaction: Callable[[Keys], None], keys: list[Keys], over: Callable[[], bool]) -> int:
    """How many there was time for."""
    for start in range(0, len(keys), CHUNK):
        if over():
            return start
        for four in keys[start : start + CHUNK]:
            transaction(four)
    return len(keys)


def measure(run: Run) -> Iterator[Figures]:
    count, threads = run.given["n"], run.given.get("workers", 0)
    if threads:
        yield from measure_threads(run, count, threads)
        return
    store = STORES[run.engine.name](run.folder)
    keys = keys_of(1, count)
    started = time.perf_counter()
    done = run_all(getattr(store, run.given["what"]), keys, lambda: run.over)
    yield {"rate": done / (time.perf_counter() - started), "done": done / count}
    store.close()


def measure_threads(run: Run, count: int, threads: int) -> Iterator[Figures]:
    store = Fjeld(run.folder, optimistic=True)
    keys = [keys_of(number, count // threads) for number in range(threads)]
    begin = threading.Barrier(threads + 1)
    done: list[int] = []

    def work(own: list[Keys]) -> None:
        begin.wait()
        done.append(run_all(store.read_and_write, own, lambda: run.over))

    workers = [threading.Thread(target=work, args=(own,), daemon=True) for own in keys]
    for worker in workers:
        worker.start()
    begin.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    yield {"rate": sum(done) / (time.perf_counter() - started), "done": sum(done) / sum(map(len, keys))}
    store.close()


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__, count=100_000, limit_seconds=60)
    parser.add_argument("--threads", default="1,2,4", help="of the optimistic transactions")
    chosen = parser.parse_args(arguments)
    names = [name for name in chosen_engines(chosen.engines) if name in STORES]
    cases = [Case("4 inserts", {"what": "write"}), Case("2 gets, 2 inserts", {"what": "read_and_write"})]
    optimistic = [
        Case(f"optimistic, {number} thread{'s' * (number > 1)}", {"workers": number})
        for number in map(int, chosen.threads.split(","))
    ]
    chosen.engines = ",".join(names)
    measurements = measure_all("benchmarks.transactions", cases, chosen)
    if "fjeld" in names:
        chosen.engines = "fjeld"
        measurements += measure_all("benchmarks.transactions", optimistic, chosen)
    heading = f"transactions of four operations, 16 + 100 bytes, not synced; rounds: {chosen.rounds}"
    print(report(measurements, ROWS, as_json=chosen.json, heading=heading))


if __name__ == "__main__":
    main(sys.argv[1:])
