"""What the soak holds for long: snapshots and iterators, each with what it must show."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import fjeld
from benchmarks.soak_model import FIFO, Difference, Model, Pair, Store, compare

__all__ = ["Held", "check_snapshot"]

MOST = 4  # of each kind
STRETCH = 300  # entries that an iterator goes on by at most


@dataclass
class _Snapshot:
    snapshot: fjeld.Snapshot
    model: Model
    until: float


@dataclass
class _Scan:
    name: str
    entries: Iterator[Pair]
    rest: Iterator[Pair]


def check_snapshot(where: str, snapshot: fjeld.Snapshot, model: Model) -> int:
    """Every entry of every partition that the model has; returns how many."""
    for name, contents in model.contents.items():
        compare(where, name, snapshot.partition(name).range(), contents)
    return sum(map(len, model.contents.values()))


class Held:
    """For one thread. `counts` is the soak's."""

    def __init__(self, chance: random.Random, longest_seconds: float, counts: Counter[str]) -> None:
        self._chance, self._longest_seconds, self._counts = chance, longest_seconds, counts
        self._snapshots: list[_Snapshot] = []
        self._scans: list[_Scan] = []

    def go_on(self, store: Store, model: Model, now: float) -> None:
        """Opens some, goes on with those there are, and lets go of those whose time has come."""
        chance = self._chance
        if len(self._snapshots) < MOST and chance.random() < 0.05:
            until = now + chance.uniform(0, self._longest_seconds)
            self._snapshots.append(_Snapshot(store.keyspace.snapshot(), model.copy(), until))
        for held in [held for held in self._snapshots if held.until < now]:
            self._snapshots.remove(held)
            self._end_snapshot(held)
        if len(self._scans) < MOST and chance.random() < 0.2:
            name, back = (
                chance.choice([name for name in model.contents if name != FIFO]),
                chance.random() < 0.5,
            )
            rest = iter(sorted(model.contents[name].items(), reverse=back))
            self._scans.append(_Scan(name, iter(store.partitions[name].range(reverse=back)), rest))
        self._scans = [scan for scan in self._scans if self._advance(scan, chance.randrange(STRETCH))]

    def dropped(self, name: str) -> None:
        """Of a dropped partition nothing can be read, not even what was before."""
        self._scans = [scan for scan in self._scans if scan.name != name]
        for held in self._snapshots:
            held.model.contents.pop(name, None)

    def end(self) -> None:
        """Checks all to their end and lets go of them."""
        for held in self._snapshots:
            self._end_snapshot(held)
        for scan in self._scans:
            while self._advance(scan, STRETCH):
                pass
        self._snapshots, self._scans = [], []

    def _end_snapshot(self, held: _Snapshot) -> None:
        with held.snapshot as snapshot:
            self._counts["entries compared"] += check_snapshot("a held snapshot", snapshot, held.model)
        self._counts["snapshots"] += 1

    def _advance(self, scan: _Scan, count: int) -> bool:
        """False at its end."""
        for _ in range(count):
            found, expected = next(scan.entries, None), next(scan.rest, None)
            if found != expected:
                raise Difference(f"a held iterator of {scan.name!r}: found {found!r}, expected {expected!r}")
            if expected is None:
                self._counts["iterators"] += 1
                return False
        return True
