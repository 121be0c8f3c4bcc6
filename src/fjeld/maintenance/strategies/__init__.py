"""Compaction strategies. A strategy only chooses, as a pure function over values; a worker carries out."""

from __future__ import annotations

from collections.abc import Collection

from fjeld.maintenance.strategies import leveled
from fjeld.maintenance.strategies.choice import Choice, Job, Merge, Move, Nothing
from fjeld.manifest.version import PartitionState

__all__ = ["Choice", "Job", "Merge", "Move", "Nothing", "choose", "major"]


def choose(state: PartitionState, running: Collection[Job]) -> Choice:
    """What the partition needs most, beside the jobs that run on it, by the strategy of its options.

    Requires: `state` and `running` were taken under one lock; a job runs until its edit is in the version.
    """
    return leveled.choose(state, running, state.options.compaction)


def major(state: PartitionState) -> Choice:
    """Everything into one run. Requires: no job runs on the partition, nor starts from an older state."""
    return leveled.major(state, state.options.compaction)
