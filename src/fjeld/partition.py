"""A partition: one ordered map of bytes to bytes in a keyspace."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fjeld.engine import Engine
from fjeld.ingestion import Pairs
from fjeld.kernel.tree import Tree
from fjeld.maintenance.live_partition import LivePartition
from fjeld.mapping import ReaderMapping
from fjeld.options import PartitionOptions

__all__ = ["Partition"]


class Partition(Tree, ReaderMapping, MutableMapping[bytes, bytes]):
    """An ordered map of bytes to bytes, kept on disk. Any thread may use it.

    Reading: `get`, `p[k]`, `k in p`, `get_many`, `size_of`, `first`, `last`, `range`, `prefix`, `cursor`,
    `keys`, `values`, `items`, `len` (exact: reads all keys). Writing: `insert`, `remove`, `remove_weak`,
    `insert_many`, `ingest`, `clear`. Iterators are lazy and see the state at their creation. Two partition objects are
    equal when they are the same object: contents are not compared.
    """

    _engine: Engine
    _live: LivePartition

    def __new__(cls, engine: Engine, live: LivePartition) -> Partition:
        partition = super().__new__(cls, live.core)
        partition._engine = engine
        partition._live = live
        return partition

    def __repr__(self) -> str:
        return f"<fjeld.Partition {self.name!r} of {self._engine.path}>"

    @property
    def name(self) -> str:
        """Its name in the keyspace."""
        return self._live.name

    @property
    def options(self) -> PartitionOptions:
        """How it is stored; kept with it."""
        return self._live.options

    def is_of(self, engine: Engine) -> bool:
        """Is it of this engine's keyspace?"""
        return self._engine is engine

    def approximate_len(self) -> int:
        """About how many entries it has, at once: overwritten and removed ones that were not compacted yet
        count too.
        """
        return self._engine.approximate_len(self._live)

    def ingest(self, sorted_pairs: Pairs) -> int:
        """Add many entries at once and atomically, as tables built straight from (key, value) pairs, past journal
        and memtables; how many they were. Keys strictly ascend. Pairs with existing keys replace them.

        On disk when it returns. Readers and writers go on while the pairs are read; writers wait for the last
        step only, some syncs long. Out of order or too long: ValueError, and nothing is added.
        """
        return self._engine.ingest(self._live, sorted_pairs)

    def clear(self) -> None:
        """Remove everything, at once and atomically. Open snapshots and iterators go on seeing what they saw."""
        self._engine.clear(self._live)

    def popitem(self) -> tuple[bytes, bytes]:
        """Remove the entry with the least key and return it; KeyError where there is none."""
        entry = self.first()
        if entry is None:
            raise KeyError("the partition is empty")
        self.remove(entry[0])
        return entry

    def flush(self) -> None:
        """Write what is in memory to tables; returns when it is there."""
        self._engine.check_partition(self._live)
        self._engine.flush([self._live])

    def compact(self) -> None:
        """Merge all its tables into one sorted run, without garbage; returns when it is done."""
        self._engine.check_partition(self._live)
        self._engine.compact([self._live])

    def disk_space(self) -> int:
        """Bytes of its tables on disk."""
        return self._engine.disk_space(self._live)

    def stats(self) -> dict[str, Any]:
        """Figures as JSON values: levels, amplification, work done, failures; see docs/STATISTICS.md."""
        return self._engine.partition_stats(self._live)
