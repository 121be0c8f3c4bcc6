"""A partition of a keyspace that is only read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fjeld.kernel.reader import Reader
from fjeld.maintenance.live_partition import LivePartition
from fjeld.manifest.fields import MAX_SEQNO
from fjeld.mapping import ReaderMapping
from fjeld.options import PartitionOptions

if TYPE_CHECKING:
    from fjeld.readonly.reading import Reading

__all__ = ["ReadOnlyPartition"]


class ReadOnlyPartition(Reader, ReaderMapping, Mapping[bytes, bytes]):
    """An ordered map of bytes to bytes, read-only, with a partition's reading methods. Any thread may use it.

    It shows one moment until `refresh` of its keyspace moves it on; iterators go on with the moment at which
    they began. There are no writing methods.
    """

    _reading: Reading
    _live: LivePartition

    def __new__(cls, reading: Reading, live: LivePartition) -> ReadOnlyPartition:
        partition = super().__new__(cls, live.core)
        # All that a view holds is to be seen: so a refresh changes what is seen at once, by changing the view.
        partition.fix(MAX_SEQNO)
        partition._reading = reading
        partition._live = live
        return partition

    def __repr__(self) -> str:
        return f"<fjeld.ReadOnlyPartition {self.name!r} of {self._reading.path}>"

    @property
    def name(self) -> str:
        """Its name in the keyspace."""
        return self._live.name

    @property
    def options(self) -> PartitionOptions:
        """How it is stored."""
        return self._reading.state_of(self._live).options

    def approximate_len(self) -> int:
        """About how many entries it has, at once: overwritten and removed ones that were not compacted yet
        count too.
        """
        tables = sum(
            table.entries - 2 * table.tombstones for table in self._reading.state_of(self._live).tables()
        )
        memory = sum(memtable.entries for memtable in self._live.core.current_view().memtables)
        return max(0, tables + memory)

    def disk_space(self) -> int:
        """Bytes of its tables on disk."""
        return sum(table.size_bytes for table in self._reading.state_of(self._live).tables())

    def stats(self) -> dict[str, Any]:
        """Figures as JSON values: levels, amplification; see docs/STATISTICS.md."""
        return self._reading.partition_stats(self._live)
