"""Whether writers may go on: a pure decision over what waits to be flushed and compacted.

Writers are slowed a little before they would have to stop, so that the store never goes from full speed to
none. Every reason names work that is under way or can be started at once: nobody waits for what will not
happen.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fjeld.options import KeyspaceOptions, PartitionOptions

__all__ = ["Decision", "Go", "Limits", "Load", "Slow", "StallReason", "Stop", "decide"]

# A write takes about a microsecond. The first delay makes that hundreds, still nothing to one caller; the
# last one, a hundred writes a second, is as good as a stop while flushes and merges catch up.
MIN_DELAY_SECONDS = 0.0002
MAX_DELAY_SECONDS = 0.01

# Journals slow writers from this part of their limit on.
JOURNALS_SLOWDOWN = 0.75


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What has piled up: in the partition that is written to, and (journals) in the keyspace."""

    sealed_memtables: int
    level0_runs: int
    journals_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may pile up."""

    max_sealed_memtables: int
    level0_slowdown_runs: int
    level0_stop_runs: int
    journals_max_bytes: int

    @classmethod
    def of(cls, keyspace: KeyspaceOptions, partition: PartitionOptions) -> Limits:
        """The limits for a partition.

        Level 0 slows nobody before it has the runs that start a merge: else writers would wait for one that
        nothing starts.
        """
        slowdown = max(keyspace.level0_slowdown_runs, partition.compaction.level0_runs + 1)
        return cls(
            max_sealed_memtables=keyspace.max_sealed_memtables,
            level0_slowdown_runs=slowdown,
            level0_stop_runs=max(keyspace.level0_stop_runs, slowdown + 1),
            journals_max_bytes=keyspace.journals_max_bytes,
        )


@dataclass(frozen=True, slots=True)
class Go:
    """Write on."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Wait this long before the write."""

    delay_seconds: float
    reason: StallReason


@dataclass(frozen=True, slots=True)
class Stop:
    """Wait until something changes, then decide anew."""

    reason: StallReason


Decision = Go | Slow | Stop


def decide(load: Load, limits: Limits) -> Decision:
    """The strictest answer that any of the three gives."""
    pressures = {
        StallReason.MEMTABLES: _pressure(
            load.sealed_memtables, limits.max_sealed_memtables - 1, limits.max_sealed_memtables
        ),
        StallReason.LEVEL0: _pressure(load.level0_runs, limits.level0_slowdown_runs, limits.level0_stop_runs),
        StallReason.JOURNALS: _pressure(
            load.journals_bytes, int(limits.journals_max_bytes * JOURNALS_SLOWDOWN), limits.journals_max_bytes
        ),
    }
    reason = max(pressures, key=lambda reason: pressures[reason])
    pressure = pressures[reason]
    if pressure >= 1:
        return Stop(reason)
    if pressure < 0:
        return Go()
    # Quadratic: hardly felt at first, so that a short burst passes; steep when the limit is near.
    return Slow(MIN_DELAY_SECONDS + (MAX_DELAY_SECONDS - MIN_DELAY_SECONDS) * pressure**2, reason)


def _pressure(amount: int, slowdown: int, stop: int) -> float:
    """Below 0: none; from 0, at `slowdown`, to 1, at `stop`."""
    if amount >= stop:
        return 1
    # With a limit of one, slowdown is 0, and nothing at all must not slow anybody.
    if amount < slowdown or amount == 0:
        return -1
    return (amount - slowdown) / (stop - slowdown)
