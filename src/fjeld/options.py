"""What can be set: of a keyspace (given at each opening) and of a partition (kept with it in the manifest).

Options are values: frozen, validated when made, shared between threads at will. A wrong type is a
`TypeError`, a value that makes no sense an `InvalidOptionError`; both name the option.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fjeld.errors import InvalidOptionError, UnsupportedFormatError

__all__ = ["CODECS", "LEVELS", "KeyspaceOptions", "Leveled", "PartitionOptions", "PersistMode"]

KIB = 1 << 10
MIB = 1 << 20
TIB = 1 << 40

# Level 0 and six below. With a ratio of 10 the deepest holds a million times level 1: no store outgrows it.
LEVELS = 7

CODECS = ("none", "lz4", "zstd")


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


def _require_type(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")


def _require_integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if not low <= value <= high:
        raise InvalidOptionError(f"{name} must be {low} to {high}, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyspaceOptions:
    """How this process runs a keyspace. Nothing here is kept on disk: choose anew at each opening."""

    durability: PersistMode = PersistMode.BUFFER
    """What each write promises by itself; `persist(mode)` promises it for all writes so far."""

    cache_bytes: int = 64 * MIB
    """Memory for blocks of tables, shared by all partitions."""

    memtable_bytes: int = 16 * MIB
    """A memtable that has grown to this is sealed and flushed to a table."""

    journal_bytes: int = 32 * MIB
    """One journal file, preallocated. Twice a memtable: a journal then outlives the memtable it protects."""

    journals_max_bytes: int = 512 * MIB
    """All journals together.

    At the limit the partition that holds the oldest one back is flushed, and writers wait.
    """

    max_sealed_memtables: int = 4
    """Sealed memtables that may wait for their flush, per partition; at the limit its writers wait."""

    level0_slowdown_runs: int = 12
    """Runs in level 0 of a partition from which on its writers are slowed."""

    level0_stop_runs: int = 24
    """Runs in level 0 of a partition at which its writers wait."""

    workers: int = 2
    """Threads that flush and compact."""

    max_open_files: int = 512
    """File descriptors for tables; further tables are closed and opened again as they are read."""

    clock: Callable[[], int] | None = None
    """Nanoseconds since the epoch, for the times in journals and checkpoints; None: the system's clock."""

    mapped_journal: bool = True
    """Append to the journal through a memory map (no system call for each write) instead of `pwrite`."""

    def __post_init__(self) -> None:
        _require_type("durability", self.durability, PersistMode)
        _require_integer("cache_bytes", self.cache_bytes, 0, TIB)
        _require_integer("memtable_bytes", self.memtable_bytes, 4 * KIB, TIB)
        _require_integer("journal_bytes", self.journal_bytes, 4 * KIB, TIB)
        _require_integer("journals_max_bytes", self.journals_max_bytes, 8 * KIB, TIB)
        _require_integer("max_sealed_memtables", self.max_sealed_memtables, 1, 64)
        _require_integer("level0_slowdown_runs", self.level0_slowdown_runs, 1, 1000)
        _require_integer("level0_stop_runs", self.level0_stop_runs, 2, 1000)
        _require_integer("workers", self.workers, 1, 64)
        _require_integer("max_open_files", self.max_open_files, 8, 1_000_000)
        _require_type("mapped_journal", self.mapped_journal, bool)
        if self.clock is not None and not callable(self.clock):
            raise TypeError(f"clock must be callable or None, not {type(self.clock).__name__}")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Leveled:
    """Leveled compaction: each level is one sorted run, `level_ratio` times as large as the one above it.

    Few runs make reads and space cheap, at the price of writing each entry again some times a level.
    """

    level0_runs: int = 4
    """Flushed runs that start a merge into level 1."""

    level_ratio: int = 10
    """How much larger each level is than the one above it."""

    level1_bytes: int = 64 * MIB
    """Size of level 1: what `level0_runs` memtables make. A merge then writes about twice what it takes
    in."""

    table_bytes: int = 16 * MIB
    """Size at which compaction starts the next table."""

    def __post_init__(self) -> None:
        _require_integer("level0_runs", self.level0_runs, 1, 100)
        _require_integer("level_ratio", self.level_ratio, 2, 100)
        _require_integer("level1_bytes", self.level1_bytes, KIB, TIB)
        _require_integer("table_bytes", self.table_bytes, KIB, TIB)

    def target_bytes(self, level: int) -> int:
        """The size that a level (1 or deeper) may grow to before it is compacted."""
        return self.level1_bytes * int(self.level_ratio ** (level - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionOptions:
    """How a partition is stored.

    Kept with it: a checkpoint, a restored copy and a reopened keyspace behave the same.
    """

    compaction: Leveled = Leveled()
    """The compaction strategy."""

    compression: tuple[str, ...] = ("lz4",)
    """The codec of each level from 0 down: "none", "lz4" or "zstd". The last one holds for all deeper
    levels."""

    block_bytes: int = 4 * KIB
    """Size of a data block before compression: what one cold read fetches."""

    filter_bits: int = 10
    """Bits of Bloom filter for each key; 10 let about 1 of 100 absent keys through. 0: no filter."""

    def __post_init__(self) -> None:
        _require_type("compaction", self.compaction, Leveled)
        _require_type("compression", self.compression, tuple)
        if not 1 <= len(self.compression) <= LEVELS:
            raise InvalidOptionError(
                f"compression must name 1 to {LEVELS} codecs, not {len(self.compression)}"
            )
        for codec in self.compression:
            _require_type("compression", codec, str)
            if codec not in CODECS:
                raise InvalidOptionError(f"compression must be of {', '.join(CODECS)}, not {codec!r}")
        _require_integer("block_bytes", self.block_bytes, 256, 4 * MIB)
        _require_integer("filter_bits", self.filter_bits, 0, 32)

    def codec(self, level: int) -> str:
        """The codec of a level."""
        return self.compression[min(level, len(self.compression) - 1)]

    def to_json(self) -> dict[str, object]:
        """The options as JSON values."""
        return {
            "compaction": {"strategy": "leveled", **dataclasses.asdict(self.compaction)},
            "compression": list(self.compression),
            "block_bytes": self.block_bytes,
            "filter_bits": self.filter_bits,
        }

    @classmethod
    def from_json(cls, value: object) -> PartitionOptions:
        """What `to_json` wrote; options that it does not name, being older than they are, get their defaults.

        A name or strategy that is not known was written by a newer version: `UnsupportedFormatError`.
        """
        members = _members(value, "partition options", cls)
        if "compaction" in members:
            members["compaction"] = _compaction_from_json(members["compaction"])
        if isinstance(members.get("compression"), list):
            members["compression"] = tuple(members["compression"])
        return cls(**members)


def _compaction_from_json(value: object) -> Leveled:
    _require_type("compaction", value, dict)
    assert isinstance(value, dict)
    strategy = value.get("strategy")
    _require_type("compaction strategy", strategy, str)
    if strategy != "leveled":
        raise UnsupportedFormatError(
            f"compaction strategy {strategy!r} not known: written by a newer Fjeld; upgrade to open it"
        )
    rest = {name: member for name, member in value.items() if name != "strategy"}
    return Leveled(**_members(rest, "leveled compaction", Leveled))


def _members(value: object, what: str, kind: type[Leveled | PartitionOptions]) -> dict[str, Any]:
    """A copy of a JSON object that has no members but those of `kind`."""
    _require_type(what, value, Mapping)
    assert isinstance(value, Mapping)
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(str(name) for name in value if name not in known)
    if unknown:
        raise UnsupportedFormatError(
            f"{what}: {', '.join(unknown)} not known: written by a newer Fjeld; upgrade to open it"
        )
    return dict(value)
