"""What the soak does and what must come of it: a plan of operations from a seed, and a model of dicts.

The plan depends on its seed only, not on what is stored, so that another process can carry it out and be
killed, and the model be brought to the same place afterwards. The partition "fifo" is written in ascending
order and forgets its oldest entries by itself: of it there must always be a tail of what was written.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile, zip_longest
from typing import Any

import fjeld

__all__ = ["FIFO", "Difference", "Model", "Operation", "Store", "Workload", "compare", "plan"]

Pair = tuple[bytes, bytes]
Contents = dict[bytes, bytes]
KIB, MIB = 1 << 10, 1 << 20

FIFO = "fifo"
CATALOGUE = ("clear", "drop", "ingest")
"""Kinds of operations that may move no seqno: none is carried out while a backup is under way."""


class Difference(Exception):
    """The store is not what the model says."""


@dataclass(frozen=True)
class Operation:
    """One atomic change. A value of None removes the key."""

    kind: str
    partition: str = ""
    changes: tuple[tuple[str, bytes, bytes | None], ...] = ()
    """(partition, key, value) each."""


@dataclass(frozen=True)
class Workload:
    """How much there may be, which bounds the disk."""

    disk_bytes: int

    @property
    def keys(self) -> int:
        """Different keys of a partition. All values together then take about a fortieth of the disk: the rest
        is for journals, old versions, and the backups that keep them.
        """
        return max(100, self.disk_bytes // 40 // (len(self.partitions()) * MEAN_VALUE_BYTES))

    @property
    def fifo_bytes(self) -> int:
        """Many memtables, so that forgetting a table leaves most of it."""
        return max(128 * KIB, self.disk_bytes // 50)

    def keyspace(self) -> fjeld.KeyspaceOptions:
        """Memtables so small that flushes and compactions never end."""
        memtable_bytes = min(4 * MIB, max(16 * KIB, self.disk_bytes // 500))
        return fjeld.KeyspaceOptions(
            memtable_bytes=memtable_bytes,
            journal_bytes=2 * memtable_bytes,
            journals_max_bytes=16 * memtable_bytes,
            cache_bytes=memtable_bytes,
            max_open_files=64,
        )

    def partitions(self) -> dict[str, fjeld.PartitionOptions]:
        small = fjeld.Leveled(level0_runs=2, level_ratio=4, level1_bytes=MIB, table_bytes=128 * KIB)
        return {
            "leveled": fjeld.PartitionOptions(compaction=small, block_bytes=KIB),
            "default": fjeld.PartitionOptions(),
            "codecs": fjeld.PartitionOptions(compression=("none", "lz4", "zstd"), filter_bits=0),
            "tiered": fjeld.PartitionOptions(compaction=fjeld.SizeTiered()),
            FIFO: fjeld.PartitionOptions(compaction=fjeld.Fifo(max_bytes=self.fifo_bytes)),
        }


MEAN_VALUE_BYTES = 500  # of value_of, with the key


def value_of(chance: random.Random) -> bytes:
    """Mostly short, now and then larger than a block, half of it compressible."""
    size = chance.randrange(300) if chance.random() < 0.97 else chance.randrange(20_000)
    return chance.randbytes(size // 2) + bytes(size - size // 2)


def key_of(number: int) -> bytes:
    return b"key/%07d" % number


def plan(seed: str, workload: Workload, appended: int) -> Iterator[Operation]:
    """Operations without end. appended: entries that "fifo" had when it began."""
    chance = random.Random(seed)
    names = [name for name in workload.partitions() if name != FIFO]
    can_ingest = hasattr(fjeld.Partition, "ingest")
    keys = workload.keys

    def change(name: str) -> tuple[str, bytes, bytes | None]:
        value = value_of(chance) if chance.random() < 0.8 else None
        return name, key_of(chance.randrange(keys)), value

    while True:
        dice, name = chance.random(), chance.choice(names)
        if dice < 0.7:
            yield Operation("single", name, (change(name),))
        elif dice < 0.8:
            yield Operation(
                "batch", "", tuple(change(chance.choice(names)) for _ in range(chance.randrange(30)))
            )
        elif dice < 0.9:
            first, count = chance.randrange(keys), chance.randrange(1, 60)
            numbers = range(first, min(first + count, keys))
            kind = "ingest" if can_ingest and chance.random() < 0.1 else "many"
            yield Operation(kind, name, tuple((name, key_of(at), value_of(chance)) for at in numbers))
        elif dice < 0.999:
            count = chance.randrange(1, 10)
            numbers = range(appended, appended + count)
            appended += count
            yield Operation("many", FIFO, tuple((FIFO, key_of(at), value_of(chance)) for at in numbers))
        elif chance.random() < 0.1:
            yield Operation(chance.choice(["clear", "drop"]), name)


class Model:
    """What must be there."""

    def __init__(self, contents: Mapping[str, Contents]) -> None:
        self.contents = {name: dict(of) for name, of in contents.items()}
        self.appended = 0

    def copy(self) -> Model:
        model = Model(self.contents)
        model.appended = self.appended
        return model

    def apply(self, operation: Operation) -> None:
        if operation.kind in ("clear", "drop"):
            self.contents[operation.partition].clear()
        for name, key, value in operation.changes:
            if value is None:
                self.contents[name].pop(key, None)
            else:
                self.contents[name][key] = value
                self.appended += name == FIFO

    def forget(self, before: bytes | None, least_bytes: int) -> int:
        """The partition "fifo" begins with this key now; returns how many entries it has forgotten.

        Difference if they are more than its size allows.
        """
        contents = self.contents[FIFO]
        gone = list(takewhile(lambda key: before is None or key < before, contents))
        for key in gone:
            del contents[key]
        kept_bytes = sum(len(key) + len(value) for key, value in contents.items()) if gone else least_bytes
        if kept_bytes < least_bytes // 2:
            raise Difference(
                f"{FIFO!r} has forgotten {len(gone):,} entries and kept {kept_bytes:,} bytes only"
            )
        return len(gone)


class Store:
    """An open keyspace and its partitions."""

    def __init__(self, path: Any, workload: Workload) -> None:
        self.keyspace = fjeld.open(path, options=workload.keyspace())
        self._options = workload.partitions()
        self.partitions = {
            name: self.keyspace.partition(name, options=options) for name, options in self._options.items()
        }

    def apply(self, operation: Operation) -> None:
        kind, name = operation.kind, operation.partition
        if kind == "clear":
            self.partitions[name].clear()
        elif kind == "drop":
            self.keyspace.drop_partition(name)
            self.partitions[name] = self.keyspace.partition(name, options=self._options[name])
        elif kind == "single":
            ((_, key, value),) = operation.changes
            if value is None:
                self.partitions[name].remove(key)
            else:
                self.partitions[name].insert(key, value)
        elif kind == "batch":
            with self.keyspace.batch() as batch:
                for changed, key, value in operation.changes:
                    if value is None:
                        batch.remove(self.partitions[changed], key)
                    else:
                        batch.insert(self.partitions[changed], key, value)
        else:
            pairs = [(key, value) for _, key, value in operation.changes if value is not None]
            ingest: Any = getattr(self.partitions[name], "ingest", None)
            write = ingest if kind == "ingest" else self.partitions[name].insert_many
            write(pairs)


def compare(where: str, name: str, found: Iterable[Pair], expected: Contents) -> int:
    """Every entry, in order; of "fifo" a tail. Difference names the first one that is not as it should be.

    Returns how many entries of `expected` were forgotten (by "fifo"; else 0).
    """
    ordered = sorted(expected.items())
    entries = iter(found)
    forgotten = 0
    if name == FIFO:
        have = list(entries)
        forgotten = max(0, len(ordered) - len(have))
        if ordered and not have:
            raise Difference(f"{where}, partition {name!r}: all of its {len(ordered):,} entries are gone")
        entries = iter(have)
    for at, (mine, theirs) in enumerate(zip_longest(entries, ordered[forgotten:])):
        if mine != theirs:
            raise Difference(
                f"{where}, partition {name!r}, entry {at:,}: found {_brief(mine)}, expected {_brief(theirs)}"
            )
    return forgotten


def _brief(pair: Pair | None) -> str:
    if pair is None:
        return "none any more"
    key, value = pair
    return f"{key!r} with {len(value)} bytes ({value[:16].hex()}...)"
