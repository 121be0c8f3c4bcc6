"""Compaction strategies. A strategy only chooses, as a pure function over values; a worker carries out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from fjeld.maintenance.strategies import fifo, leveled, size_tiered
from fjeld.maintenance.strategies.blobs import collect, joined, stale
from fjeld.maintenance.strategies.choice import Choice, Drop, Job, Merge, Move, Nothing, clash
from fjeld.maintenance.strategies.drop_range import drop_range
from fjeld.maintenance.strategies.major import major
from fjeld.manifest.version import PartitionState
from fjeld.options import Fifo, SizeTiered

__all__ = [
    "Choice",
    "Drop",
    "Job",
    "Merge",
    "Move",
    "Nothing",
    "choose",
    "clash",
    "drop_range",
    "due_ns",
    "major",
]


def choose(state: PartitionState, running: Collection[Job], now_ns: int) -> Choice:
    """What the partition needs most, beside the jobs that run on it, by the strategy of its options; where that needs
    nothing, the collection of blob files.

    Requires: `running` was taken before `state`, and no job ended in between; a job runs until its edit is in
    the version.
    """
    choice = _by_strategy(state, running, now_ns)
    moved = stale(state) if state.blobs and isinstance(choice, Nothing | Merge) else frozenset()
    if isinstance(choice, Merge) and state.blobs:
        return dataclasses.replace(choice, moved=moved | joined(state, choice))
    return collect(state, running, moved) if moved else choice


def _by_strategy(state: PartitionState, running: Collection[Job], now_ns: int) -> Choice:
    options = state.options.compaction
    if isinstance(options, SizeTiered):
        return size_tiered.choose(state, running, options)
    if isinstance(options, Fifo):
        return fifo.choose(state, running, options, now_ns)
    return leveled.choose(state, running, options)


def due_ns(state: PartitionState) -> int | None:
    """When, ns since the epoch, there will be something to choose although nothing was written; None: never."""
    options = state.options.compaction
    return fifo.due_ns(state, options) if isinstance(options, Fifo) else None
