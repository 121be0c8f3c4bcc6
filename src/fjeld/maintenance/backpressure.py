"""How fast writers may go on: a pure decision over what waits to be flushed and compacted.

Writers are slowed before they would have to stop, little at first and more with every byte of debt, so that
the store never goes from full speed to none. At some rate writers are as slow as flushes and merges are: there
the debt stays. Every reason names work that is under way or can be started at once: nobody waits for what will
not happen.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fjeld.options import Fifo, KeyspaceOptions, PartitionOptions, SizeTiered

__all__ = [
    "FASTEST_RATE",
    "SLOWEST_RATE",
    "Decision",
    "Go",
    "Limits",
    "Load",
    "Slow",
    "StallReason",
    "Stop",
    "decide",
]

# Bytes a second. One thread that inserts small entries as fast as it can writes 100 to 300 MB a second, with large
# values ten times that: writers are slowed from what they wrote before, or from the first of these where that was
# less. A disk that merges no faster than the last one is as good as stopped.
FASTEST_RATE = 128 << 20
SLOWEST_RATE = 1 << 20

# Journals slow writers from this part of their limit on.
JOURNALS_SLOWDOWN = 0.75

# Garbage in blob files slows writers from this share of all that is in them on; nobody stops for it, as it costs
# nothing but disk.
GARBAGE_SLOWDOWN = 0.5
MOST_FOR_GARBAGE = 0.99

# A number of runs that no partition ever has: its level 0 slows nobody.
NEVER = 1 << 62


class StallReason(enum.Enum):
    """What writers wait for."""

    MEMTABLES = "memtables"
    """A flush of the partition's sealed memtables."""

    LEVEL0 = "level0"
    """A merge of the partition's level 0."""

    JOURNALS = "journals"
    """Flushes that let journals retire.

    The caller must start them: the memtables in question may be neither full nor sealed.
    """

    GARBAGE = "garbage"
    """The collection of the partition's blob files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What has piled up: in the partition that is written to, and (journals) in the keyspace."""

    sealed_memtables: int
    active_part: float
    """How much of its size the active memtable has, 0 to 1."""
    level0_runs: int
    journals_bytes: int
    garbage: float = 0.0
    """What waits to be collected, as a share of all that is in blob files, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may pile up."""

    max_sealed_memtables: int
    level0_slowdown_runs: int
    level0_stop_runs: int
    journals_max_bytes: int

    @classmethod
    def of(cls, keyspace: KeyspaceOptions, partition: PartitionOptions) -> Limits:
        """The limits for a partition."""
        slowdown, stop = _level0_limits(keyspace, partition)
        return cls(
            max_sealed_memtables=keyspace.max_sealed_memtables,
            level0_slowdown_runs=slowdown,
            level0_stop_runs=stop,
            journals_max_bytes=keyspace.journals_max_bytes,
        )


def _level0_limits(keyspace: KeyspaceOptions, partition: PartitionOptions) -> tuple[int, int]:
    """Runs in level 0 that slow and that stop writers.

    They slow nobody before a merge has begun for them: else writers would wait for one that nothing starts.
    """
    compaction = partition.compaction
    if isinstance(compaction, Fifo):
        return NEVER, NEVER + 1
    if isinstance(compaction, SizeTiered):
        # The merge that begins above max_runs has the time in which min_runs more come.
        slowdown = compaction.max_runs + compaction.min_runs
        return slowdown, slowdown + compaction.max_runs
    slowdown = max(keyspace.level0_slowdown_runs, compaction.level0_runs + 1)
    return slowdown, max(keyspace.level0_stop_runs, slowdown + 1)


@dataclass(frozen=True, slots=True)
class Go:
    """Write on."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Write no faster than this, all writers together."""

    bytes_per_second: float
    reason: StallReason


@dataclass(frozen=True, slots=True)
class Stop:
    """Wait until something changes, then decide anew."""

    reason: StallReason


Decision = Go | Slow | Stop


def decide(load: Load, limits: Limits, fastest: float = FASTEST_RATE) -> Decision:
    """The strictest answer that any of the four gives.

    fastest: bytes a second that writers are slowed from: what they wrote before, at least `FASTEST_RATE`.
    """
    pressures = {
        StallReason.MEMTABLES: _pressure_of_memtables(load, limits.max_sealed_memtables),
        StallReason.LEVEL0: _pressure(load.level0_runs, limits.level0_slowdown_runs, limits.level0_stop_runs),
        StallReason.JOURNALS: _pressure(
            load.journals_bytes, int(limits.journals_max_bytes * JOURNALS_SLOWDOWN), limits.journals_max_bytes
        ),
        StallReason.GARBAGE: _pressure_of_garbage(load.garbage),
    }
    reason = max(pressures, key=lambda reason: pressures[reason])
    pressure = pressures[reason]
    if pressure >= 1:
        return Stop(reason)
    if pressure < 0:
        return Go()
    # Equal steps of debt slow by equal factors: whatever the disk can do, some debt has its rate.
    return Slow(fastest * (SLOWEST_RATE / fastest) ** pressure, reason)


def _pressure_of_memtables(load: Load, limit: int) -> float:
    """Begins when but one may still be sealed, and grows as the active one fills."""
    if load.sealed_memtables >= limit:
        return 1
    if load.sealed_memtables == 0:  # nothing is there to be flushed
        return -1
    return _pressure(load.sealed_memtables + min(load.active_part, 0.99), limit - 1, limit)


def _pressure_of_garbage(share: float) -> float:
    return min((share - GARBAGE_SLOWDOWN) / (1 - GARBAGE_SLOWDOWN), MOST_FOR_GARBAGE)


def _pressure(amount: float, slowdown: int, stop: int) -> float:
    """Below 0: none; from 0, at `slowdown`, to 1, at `stop`."""
    if amount >= stop:
        return 1
    # With a limit of one, slowdown is 0, and nothing at all must not slow anybody.
    if amount < slowdown or amount == 0:
        return -1
    return (amount - slowdown) / (stop - slowdown)
