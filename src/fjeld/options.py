"""What can be set: of a keyspace (given at each opening) and of a partition (kept with it in the manifest).

Options are values: frozen, validated when made, shared between threads at will. A wrong type is a
`TypeError`, a value that makes no sense an `InvalidOptionError`; both name the option.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fjeld.compaction_options import (
    CompactionOptions,
    Fifo,
    Leveled,
    SizeTiered,
    compaction_from_json,
    compaction_to_json,
)
from fjeld.errors import InvalidOptionError
from fjeld.filters import CompactionFilter
from fjeld.kv_options import CODECS, KvSeparation, kv_from_json, kv_to_json
from fjeld.option_checks import KIB, MIB, TIB, known_members, require_integer, require_type

__all__ = [
    "CODECS",
    "LEVELS",
    "CompactionOptions",
    "Fifo",
    "KeyspaceOptions",
    "KvSeparation",
    "Leveled",
    "PartitionOptions",
    "PersistMode",
    "SizeTiered",
]

# Level 0 and six below. With a ratio of 10 the deepest holds a million times level 1: no store outgrows it.
LEVELS = 7

# What eight bytes with a sign hold: the year 2262.
MAX_NS = (1 << 63) - 1


class PersistMode(enum.IntEnum):
    """How durable a write is once the call that made it has returned.

    Each mode keeps the promise of those before it.
    """

    BUFFER = 0
    """The write survives the process: a crash or SIGKILL loses nothing.

    A power cut may lose the newest writes, always from the end: what is left is a prefix of the history, with
    batches whole.
    """

    SYNC_DATA = 1
    """The write survives the machine: it is on disk, with what is needed to read it back (`fdatasync`).

    As with every database, that is as true as the disk's own word that it has written.
    """

    SYNC_ALL = 2
    """As SYNC_DATA, and the file's times and attributes are on disk too (`fsync`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyspaceOptions:
    """How this process runs a keyspace. Nothing here is kept on disk: choose anew at each opening."""

    durability: PersistMode = PersistMode.BUFFER
    """What each write promises by itself; `persist(mode)` promises it for all writes so far."""

    cache_bytes: int = 64 * MIB
    """Memory for blocks of tables, shared by all partitions."""

    memtable_bytes: int = 16 * MIB
    """A memtable that has grown to this is sealed and flushed to a table.

    Values of a kibibyte or more are not counted as long as they lie in a mapped journal: a memtable may point to
    six times its size of them.
    """

    journal_bytes: int = 32 * MIB
    """One journal file, at most; it is allocated as it fills. Twice a memtable: a journal then outlives the
    memtable it protects."""

    journals_max_bytes: int = 512 * MIB
    """All journals together.

    At the limit the partition that holds the oldest one back is flushed, and writers wait.
    """

    max_sealed_memtables: int = 4
    """Sealed memtables that may wait for their flush, per partition; at the limit its writers wait."""

    level0_slowdown_runs: int = 12
    """Runs in level 0 of a partition from which on its writers are slowed. For leveled compaction: the other
    strategies keep all runs there."""

    level0_stop_runs: int = 24
    """Runs in level 0 of a partition at which its writers wait."""

    workers: int = 2
    """Threads that may compact at once. There is one more, so that no flush waits for a compaction."""

    max_open_files: int = 512
    """File descriptors for tables; further tables are closed and opened again as they are read."""

    compaction_filters: Mapping[str, CompactionFilter] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    """By the name of the partition: who is asked which entries compaction keeps (`fjeld.filters`). Given at each
    opening, so that nothing is ever compacted without its filter."""

    clock: Callable[[], int] | None = None
    """Nanoseconds since the epoch, for the times in journals and checkpoints; None: the system's clock."""

    mapped_journal: bool = True
    """Append to the journal through a memory map (no system call for each write) instead of `pwrite`."""

    def __post_init__(self) -> None:
        require_type("durability", self.durability, PersistMode)
        require_integer("cache_bytes", self.cache_bytes, 0, TIB)
        require_integer("memtable_bytes", self.memtable_bytes, 4 * KIB, TIB)
        require_integer("journal_bytes", self.journal_bytes, 4 * KIB, TIB)
        require_integer("journals_max_bytes", self.journals_max_bytes, 8 * KIB, TIB)
        require_integer("max_sealed_memtables", self.max_sealed_memtables, 1, 64)
        require_integer("level0_slowdown_runs", self.level0_slowdown_runs, 1, 1000)
        require_integer("level0_stop_runs", self.level0_stop_runs, 2, 1000)
        require_integer("workers", self.workers, 1, 64)
        require_integer("max_open_files", self.max_open_files, 8, 1_000_000)
        require_type("mapped_journal", self.mapped_journal, bool)
        if self.clock is not None and not callable(self.clock):
            raise TypeError(f"clock must be callable or None, not {type(self.clock).__name__}")
        require_type("compaction_filters", self.compaction_filters, Mapping)
        for name, function in self.compaction_filters.items():
            require_type("the name of a compaction filter", name, str)
            if not callable(function):
                raise TypeError(f"the compaction filter of {name!r} must be callable, not {function!r}")
        object.__setattr__(self, "compaction_filters", MappingProxyType(dict(self.compaction_filters)))
        if self.journals_max_bytes < 2 * self.journal_bytes:
            raise InvalidOptionError(
                f"journals_max_bytes must hold two journals (2 * journal_bytes = {2 * self.journal_bytes}), "
                f"not {self.journals_max_bytes}"
            )
        if self.level0_stop_runs <= self.level0_slowdown_runs:
            raise InvalidOptionError(
                f"level0_stop_runs must be above level0_slowdown_runs ({self.level0_slowdown_runs}), "
                f"not {self.level0_stop_runs}"
            )

    def now_ns(self) -> int:
        """The time, ns since the epoch, by the clock that was chosen; never what no file could hold."""
        now_ns = time.time_ns() if self.clock is None else self.clock()
        return min(max(now_ns, 0), MAX_NS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionOptions:
    """How a partition is stored.

    Kept with it: a checkpoint, a restored copy and a reopened keyspace behave the same.
    """

    compaction: CompactionOptions = Leveled()  # noqa: RUF009  frozen
    """The compaction strategy: `Leveled`, `SizeTiered` or `Fifo`."""

    compression: tuple[str, ...] = ("lz4",)
    """The codec of each level from 0 down: "none", "lz4" or "zstd". The last one holds for all deeper
    levels."""

    block_bytes: int = 4 * KIB
    """Size of a data block before compression: what one cold read fetches."""

    filter_bits: int = 10
    """Bits of Bloom filter for each key; 10 let about 1 of 100 absent keys through. 0: no filter."""

    kv_separation: KvSeparation | None = None
    """Large values lie apart from their keys; None: all are in the tables."""

    def __post_init__(self) -> None:
        require_type("compaction", self.compaction, (Leveled, SizeTiered, Fifo))
        require_type("compression", self.compression, tuple)
        if not 1 <= len(self.compression) <= LEVELS:
            raise InvalidOptionError(
                f"compression must name 1 to {LEVELS} codecs, not {len(self.compression)}"
            )
        for codec in self.compression:
            require_type("compression", codec, str)
            if codec not in CODECS:
                raise InvalidOptionError(f"compression must be of {', '.join(CODECS)}, not {codec!r}")
        require_integer("block_bytes", self.block_bytes, 256, 4 * MIB)
        require_integer("filter_bits", self.filter_bits, 0, 32)
        if self.kv_separation is not None:
            require_type("kv_separation", self.kv_separation, KvSeparation)

    def codec(self, level: int) -> str:
        """The codec of a level."""
        return self.compression[min(level, len(self.compression) - 1)]

    @property
    def blob_codec(self) -> str:
        """The codec of separated values."""
        chosen = None if self.kv_separation is None else self.kv_separation.compression
        return self.codec(LEVELS - 1) if chosen is None else chosen

    def to_json(self) -> dict[str, object]:
        """The options as JSON values."""
        separation = {} if self.kv_separation is None else {"kv_separation": kv_to_json(self.kv_separation)}
        return {
            **separation,
            "compaction": compaction_to_json(self.compaction),
            "compression": list(self.compression),
            "block_bytes": self.block_bytes,
            "filter_bits": self.filter_bits,
        }

    @classmethod
    def from_json(cls, value: object) -> PartitionOptions:
        """What `to_json` wrote; options that it does not name, being older than they are, get their defaults.

        A name or strategy that is not known was written by a newer version: `UnsupportedFormatError`.
        """
        members = known_members(value, "partition options", cls)
        if "compaction" in members:
            members["compaction"] = compaction_from_json(members["compaction"])
        if "kv_separation" in members:
            members["kv_separation"] = kv_from_json(members["kv_separation"])
        if isinstance(members.get("compression"), list):
            members["compression"] = tuple(members["compression"])
        return cls(**members)
