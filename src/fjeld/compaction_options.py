"""The compaction strategies of a partition, and what can be set of each: values, kept in the manifest."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fjeld.errors import UnsupportedFormatError
from fjeld.option_checks import KIB, MIB, TIB, known_members, require_integer, require_number, require_type

__all__ = [
    "STRATEGIES",
    "CompactionOptions",
    "Fifo",
    "Leveled",
    "SizeTiered",
    "compaction_from_json",
    "compaction_to_json",
]

# A hundred years: whoever means "never" says None.
MAX_AGE_SECONDS = 100 * 366 * 24 * 3600


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
        require_integer("level0_runs", self.level0_runs, 1, 100)
        require_integer("level_ratio", self.level_ratio, 2, 100)
        require_integer("level1_bytes", self.level1_bytes, KIB, TIB)
        require_integer("table_bytes", self.table_bytes, KIB, TIB)

    def target_bytes(self, level: int) -> int:
        """The size that a level (1 or deeper) may grow to before it is compacted."""
        return self.level1_bytes * int(self.level_ratio ** (level - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeTiered:
    """Size-tiered compaction: runs of similar size and adjacent age become one run, a table each.

    Each entry is written again about once for each factor of `min_runs` that the partition grows by, several
    times less than with levels; reads look into more runs, and a full merge needs as much free space as the
    partition has.
    """

    min_runs: int = 4
    """So many runs of similar size start a merge."""

    max_runs: int = 12
    """More runs than this are merged whatever their sizes. Writers are slowed a little above it."""

    size_ratio: float = 2.0
    """A run is similar to newer ones if it is at most so many times as large as they are on average."""

    max_space_amplification: float = 2.0
    """All runs are merged when those above the oldest are together so many times as large as it: most of what
    they hold may hide older versions."""

    def __post_init__(self) -> None:
        require_integer("min_runs", self.min_runs, 2, 100)
        require_integer("max_runs", self.max_runs, self.min_runs, 1000)
        require_number("size_ratio", self.size_ratio, 1, 100)
        require_number("max_space_amplification", self.max_space_amplification, 0.01, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fifo:
    """First in, first out: nothing is ever merged, the oldest tables are dropped. For caches, logs, metrics.

    Each entry is written once. Nothing is removed but by age: a removed or overwritten key takes its space
    until its table is dropped. An open snapshot keeps what it sees.
    """

    max_bytes: int = 1024 * MIB
    """The size that the tables, and the values in blob files that they point to, may have together; the oldest above it
    are dropped."""

    max_age_seconds: float | None = None
    """Tables whose flush is longer ago are dropped; None: none is too old."""

    def __post_init__(self) -> None:
        require_integer("max_bytes", self.max_bytes, KIB, 1024 * TIB)
        if self.max_age_seconds is not None:
            require_number("max_age_seconds", self.max_age_seconds, 0.001, MAX_AGE_SECONDS)


CompactionOptions = Leveled | SizeTiered | Fifo

STRATEGIES: dict[str, type[CompactionOptions]] = {
    "leveled": Leveled,
    "size_tiered": SizeTiered,
    "fifo": Fifo,
}


def compaction_to_json(options: CompactionOptions) -> dict[str, object]:
    """The strategy and its options as JSON values."""
    name = next(name for name, kind in STRATEGIES.items() if isinstance(options, kind))
    return {"strategy": name, **dataclasses.asdict(options)}


def compaction_from_json(value: object) -> CompactionOptions:
    """What `compaction_to_json` wrote; a strategy that is not known was written by a newer version."""
    require_type("compaction", value, dict)
    assert isinstance(value, dict)
    strategy = value.get("strategy")
    require_type("compaction strategy", strategy, str)
    kind = STRATEGIES.get(str(strategy))
    if kind is None:
        raise UnsupportedFormatError(
            f"compaction strategy {strategy!r} not known: written by a newer Fjeld; upgrade to open it"
        )
    rest = {name: member for name, member in value.items() if name != "strategy"}
    return kind(**known_members(rest, f"{strategy} compaction", kind))
