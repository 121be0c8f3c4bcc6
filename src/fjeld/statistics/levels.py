"""Figures of a partition's levels: pure functions over its state and what was counted."""

from __future__ import annotations

from collections.abc import Sequence

from fjeld.compaction_options import STRATEGIES
from fjeld.maintenance.activity import Activity
from fjeld.maintenance.strategies import Drop, Merge, choose
from fjeld.maintenance.strategies.leveled import level_scores
from fjeld.manifest.state import PartitionState
from fjeld.options import LEVELS, Fifo, Leveled
from fjeld.statistics.figures import LevelFigures

__all__ = ["Reads", "level_figures", "oldest_run_bytes", "sorted_runs", "strategy_name"]

Reads = Sequence[tuple[int, int, int, int, int]]
"""For each level, as kernel.read_counters gives them."""

BOTTOM = LEVELS - 1


def level_figures(
    state: PartitionState, reads: Reads, activity: Activity, now_ns: int
) -> tuple[LevelFigures, ...]:
    """All levels, level 0 first."""
    sizes = [sum(table.size_bytes for table in tables) for tables in state.levels]
    targets = _targets(state)
    scores = _scores(state)
    debts = _debts(state, sizes, scores, now_ns)
    return tuple(
        LevelFigures(
            level=level,
            tables=len(tables),
            bytes=sizes[level],
            entries=sum(table.entries for table in tables),
            tombstones=sum(table.tombstones + table.weak_tombstones for table in tables),
            target_bytes=targets.get(level),
            score=scores.get(level),
            debt_bytes=debts[level],
            compaction_read_bytes=activity.compaction_bytes(level)[0],
            compaction_written_bytes=activity.compaction_bytes(level)[1],
            lookups=sum(reads[level][:4]),
            found=reads[level][0],
            filter_negatives=reads[level][1],
            filter_false_positives=reads[level][2],
            block_loads=reads[level][4],
        )
        for level, tables in enumerate(state.levels)
    )


def strategy_name(state: PartitionState) -> str:
    """As the options name it."""
    return next(name for name, kind in STRATEGIES.items() if isinstance(state.options.compaction, kind))


def _targets(state: PartitionState) -> dict[int, int]:
    """Level 0 has none: it counts runs. Neither has the last: nothing lies beneath it."""
    options = state.options.compaction
    if not isinstance(options, Leveled):
        return {}
    return {level: options.target_bytes(level) for level in range(1, BOTTOM)}


def _scores(state: PartitionState) -> dict[int, float]:
    options = state.options.compaction
    return level_scores(state, (), options) if isinstance(options, Leveled) else {}


def _debts(state: PartitionState, sizes: list[int], scores: dict[int, float], now_ns: int) -> list[int]:
    """What the strategy wants to take out of each level.

    Leveled: what lies above the target, and all of a level 0 that has the runs for a merge. Others: the
    tables of the job that they would choose now.
    """
    if isinstance(state.options.compaction, Leveled):
        above = [max(0, sizes[level] - target) for level, target in sorted(_targets(state).items())]
        return [sizes[0] if scores[0] >= 1 else 0, *above, 0]
    choice = choose(state, (), now_ns)
    wanted = set(choice.inputs) if isinstance(choice, Merge | Drop) else set()
    return [
        sum(table.size_bytes for table in tables if (level, table.number) in wanted)
        for level, tables in enumerate(state.levels)
    ]


def sorted_runs(state: PartitionState) -> int:
    """In how many places on disk a look-up may have to look: each table of level 0, each deeper level."""
    return len(state.levels[0]) + sum(bool(tables) for tables in state.levels[1:])


def oldest_run_bytes(state: PartitionState) -> int | None:
    """The size of the last level that holds tables, or of the oldest table of level 0, with the values in blob files
    that it points to: what a partition would take that held no older versions. None where that cannot be told: there
    is nothing, or nothing is merged.
    """
    if isinstance(state.options.compaction, Fifo):
        return None
    for tables in reversed(state.levels[1:]):
        if tables:
            return sum(table.held_bytes for table in tables)
    return state.levels[0][-1].held_bytes if state.levels[0] else None
