"""Random concurrent histories are serializable, with real threads; and the checker finds what is not."""

from __future__ import annotations

import os
import random
import threading
from itertools import count

import pytest

import fjeld
from tests.small import SMALL_PARTITION, small_options
from tests.support import Task
from tests.transaction.history import Anomaly, Record, check, decoded, encoded
from tests.transaction.kinds import KINDS

LONG = os.environ.get("FJELD_LONG") == "1"
KEYS = [b"k%02d" % number for number in range(8)]


def run_one(tx: fjeld.Transaction, record: Record, chance: random.Random, pause: threading.Barrier) -> None:
    """A few reads, of keys and ranges, and appends."""
    view = tx.partition("p")
    for _ in range(chance.randint(1, 5)):
        if chance.random() < 0.2:
            view.flush() if hasattr(view, "flush") else os.sched_yield()
        choice, key = chance.random(), chance.choice(KEYS)
        if choice < 0.3:
            read = {key: decoded(view.get(key))}
        elif choice < 0.5:
            low, high = sorted(chance.sample(KEYS, 2))
            there = dict(view.range(low, high, reverse=chance.random() < 0.5))
            read = {one: decoded(there.get(one)) for one in KEYS if low <= one < high}
        elif choice < 0.6:
            first = view.first()
            read = {one: () for one in KEYS if first is None or one < first[0]}
            if first is not None:
                read[first[0]] = decoded(first[1])
        else:
            seen = decoded(view.get(key))
            read = {key: seen}
            if record.number not in seen:
                view[key] = encoded((*seen, record.number))
                record.writes.add(key)
        for one, seen in read.items():
            if record.number not in seen:
                record.reads.setdefault(one, seen)
    if chance.random() < 0.1:
        tx.rollback()


@pytest.mark.parametrize("kind", KINDS)
def test_random_histories_of_threads(kind, path):
    numbers = count(1)
    records: list[Record] = []
    conflicts: list[int] = []
    options = small_options(memtable_bytes=4 << 10)
    with KINDS[kind](path, options=options) as ks:
        ks.partition("p", options=SMALL_PARTITION)

        def client(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(2_000 if LONG else 150):
                record = Record(next(numbers))
                try:
                    with ks.write_tx() as tx:
                        run_one(tx, record, chance, None)
                        rolled_back = not tx.is_open
                except fjeld.ConflictError:
                    conflicts.append(record.number)
                    continue
                if not rolled_back:
                    records.append(record)
                if chance.random() < 0.05:
                    ks.flush()

        tasks = [Task(lambda seed=seed: client(seed)) for seed in range(4)]
        for task in tasks:
            task.result()
        final = {key: decoded(value) for key, value in ks.partition("p").items()}
    assert len(records) > 100
    assert (conflicts == []) == (kind == "single")
    check(records, final)


class TestChecker:
    def test_a_serial_history(self):
        check(
            [
                Record(1, {b"a": ()}, {b"a"}),
                Record(2, {b"a": (1,), b"b": ()}, {b"a", b"b"}),
                Record(3, {b"b": (2,)}),
            ],
            {b"a": (1, 2), b"b": (2,)},
        )

    def test_lost_update(self):
        with pytest.raises(Anomaly, match="lost"):
            check([Record(1, {b"a": ()}, {b"a"}), Record(2, {b"a": ()}, {b"a"})], {b"a": (2,)})

    def test_write_skew(self):
        with pytest.raises(Anomaly, match="cycle"):
            check(
                [Record(1, {b"a": (), b"b": ()}, {b"a"}), Record(2, {b"a": (), b"b": ()}, {b"b"})],
                {b"a": (1,), b"b": (2,)},
            )

    def test_aborted_and_intermediate_reads(self):
        with pytest.raises(Anomaly, match="ended as"):
            check([Record(1, {b"a": (9,)}, set())], {b"a": ()})
        with pytest.raises(Anomaly, match="nobody"):
            check([], {b"a": (9,)})

    def test_read_skew(self):
        with pytest.raises(Anomaly, match="cycle"):
            check([Record(1, {b"a": (), b"b": (2,)}), Record(2, {}, {b"a", b"b"})], {b"a": (2,), b"b": (2,)})
