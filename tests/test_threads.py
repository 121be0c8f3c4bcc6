"""Eight threads and more at once: writing, reading, scanning, flushing, compacting, backing up; and the sum at the end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fjeld
from tests.small import SMALL_PARTITION, small_options

SECONDS = 4.0
ROUNDS = 2  # at least, however slow the machine is
WRITERS = 3
KEYS = 400


class Crew:
    """Threads that work until the time is over; the first failure of any of them ends all."""

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self.failures: list[BaseException] = []
        self.rounds: dict[str, int] = {}
        self._threads: list[threading.Thread] = []

    def add(self, name: str, job: Callable[[int], object]) -> None:
        self._threads.append(threading.Thread(target=self._work, args=(name, job), name=name))

    def _work(self, name: str, job: Callable[[int], object]) -> None:
        number = 0
        try:
            while (number < ROUNDS or time.monotonic() < self.ends_at) and not self.failures:
                job(number)
                number += 1
        except BaseException as error:
            self.failures.append(error)
        self.rounds[name] = number

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]


class Writer:
    """Writes keys of its own, so that it knows what is there. One moment of it is its whole state."""

    def __init__(self, ks: fjeld.Keyspace, number: int) -> None:
        self.ks = ks
        self.prefix = b"writer%d/" % number
        self.p, self.q = ks.partition("p"), ks.partition("q")
        self.state: dict[bytes, bytes] = {}
        self.chance = random.Random(number)

    def key(self) -> bytes:
        return self.prefix + b"%04d" % self.chance.randrange(KEYS)

    def work(self, number: int) -> None:
        key, value = self.key(), b"%d " % number * self.chance.randrange(1, 8)
        if number % 10 == 9:
            self.p.remove(key)
            self.state.pop(key, None)
        elif number % 10 == 8:
            keys = sorted({self.key() for _ in range(20)})
            with self.ks.batch() as batch:
                for key in keys:
                    batch.insert(self.p, key, value)
                    batch.insert(self.q, self.prefix + b"batch", value)
            self.state.update(dict.fromkeys(keys, value))
            assert self.q[self.prefix + b"batch"] == value
        else:
            self.p[key] = value
            self.state[key] = value
        assert self.p.get(key) == self.state.get(key)
        if number % 200 == 199:
            assert dict(self.p.prefix(self.prefix)) == self.state


def in_order(entries: list[tuple[bytes, bytes]], *, reverse: bool) -> None:
    keys = [key for key, _ in entries]
    assert keys == sorted(set(keys), reverse=reverse)


def test_everything_at_once(path: Path, tmp_path: Path) -> None:
    with fjeld.open(path, options=small_options(memtable_bytes=32 << 10, journal_bytes=64 << 10)) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        q = ks.partition("q")
        writers = [Writer(ks, number) for number in range(WRITERS)]
        checkpoints: list[tuple[Path, list[dict[bytes, bytes]]]] = []

        def read(number: int) -> None:
            chance = random.Random(number)
            keys = [b"writer%d/%04d" % (chance.randrange(WRITERS), chance.randrange(KEYS)) for _ in range(50)]
            for found in (*p.get_many(keys), *map(p.get, keys)):
                assert found is None or len(set(found.split())) == 1

        def scan(number: int) -> None:
            in_order(list(p.range(reverse=number % 2 == 1)), reverse=number % 2 == 1)

        def look_twice(number: int) -> None:
            """A snapshot is the same however often it is read, whatever happens meanwhile."""
            with ks.snapshot() as snap:
                view = snap.partition("p")
                first = list(view.items())
                assert list(reversed(view.items())) == first[::-1]
                assert view.get_many([key for key, _ in first]) == [value for _, value in first]
                assert len(view) == len(first)

        def back_up(number: int) -> None:
            if number < 8:
                target = tmp_path / f"copy{number}"
                info = ks.backup_to(target, flush=number % 3 == 2, with_snapshot=True)
                with info.snapshot as snap:
                    checkpoints.append((target, [dict(snap.partition(name)) for name in "pq"]))
            else:
                time.sleep(0.02)

        def churn(number: int) -> None:
            made = ks.partition("short-lived")
            made.insert_many((b"%04d" % i, b"v" * 30) for i in range(100))
            made.flush()
            if number % 2:
                made.clear()
                assert made.is_empty()
            else:
                ks.drop_partition("short-lived")

        crew = Crew(SECONDS)
        for writer in writers:
            crew.add(writer.prefix.decode(), writer.work)
        jobs: dict[str, Callable[[int], Any]] = {
            "read": read,
            "scan": scan,
            "look twice": look_twice,
            "flush": lambda number: (q.flush(), p.flush(), time.sleep(0.005)),
            "compact": lambda number: (p.compact(), time.sleep(0.01)),
            "persist": lambda number: ks.persist(fjeld.PersistMode.SYNC_DATA),
            "back up": back_up,
            "churn": churn,
        }
        for name, job in jobs.items():
            crew.add(name, job)
        crew.run()
        assert min(crew.rounds.values()) > 1, crew.rounds

        expected = dict(sorted(entry for writer in writers for entry in writer.state.items()))
        assert dict(p) == expected
        assert ks.stats()["failure"] is None
        assert ks.stats()["open_snapshots"] == 0
        ks._engine.store.version.check()
        digest = ks.digest()
    with fjeld.open(path) as ks:
        assert ks.digest() == digest
        assert dict(ks.partition("p")) == expected
    assert checkpoints
    for target, taken in checkpoints:
        with fjeld.open(target, create=False) as copy:
            assert [dict(copy.partition(name)) for name in "pq"] == taken


def test_increments_under_a_lock_of_the_callers(path: Path) -> None:
    """What one thread has written, the next one reads: also across seals, flushes and compactions."""
    with fjeld.open(path, options=small_options()) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        p[b"counter"] = b"0"
        lock = threading.Lock()

        def add(number: int) -> None:
            with lock:
                count = int(p[b"counter"])
                p[b"counter"] = b"%d" % (count + 1)
                p[b"filler%d" % (count % 50)] = b"v" * 200

        crew = Crew(1.0)
        for number in range(8):
            crew.add(f"add {number}", add)
        crew.run()
        assert int(p[b"counter"]) == sum(crew.rounds.values()) > 100


def test_one_object_for_a_partition_in_all_threads(path: Path) -> None:
    with fjeld.open(path) as ks:
        seen: list[fjeld.Partition] = []
        start = threading.Barrier(8)

        def get() -> None:
            start.wait()
            for number in range(50):
                seen.append(ks.partition(f"p{number}"))

        threads = [threading.Thread(target=get) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 400
        assert len({id(p) for p in seen}) == 50
        assert len(ks.partitions()) == 50


def test_writers_that_ask_for_durability_share_syncs(path: Path) -> None:
    """Each returns only when its own write is on disk."""
    with fjeld.open(path, options=fjeld.KeyspaceOptions(durability=fjeld.PersistMode.SYNC_DATA)) as ks:
        p = ks.partition("p")

        def write(name: str) -> Callable[[int], None]:
            def job(number: int) -> None:
                p[name.encode()] = b"%d" % number
                assert ks.stats()["persisted_seqno"] >= 1
                seqno = ks.seqno
                ks.persist(fjeld.PersistMode.SYNC_DATA)
                assert ks.stats()["persisted_seqno"] >= seqno

            return job

        crew = Crew(0.5)
        for number in range(8):
            crew.add(f"writer {number}", write(f"writer {number}"))
        crew.run()
        assert len(p) == 8
        assert ks.stats()["persisted_seqno"] == ks.seqno == sum(crew.rounds.values())
