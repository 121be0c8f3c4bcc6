"""Figures of levels: functions over values, by tables of cases."""

from __future__ import annotations

import pytest

from fjeld.maintenance.activity import Activity
from fjeld.options import LEVELS, Fifo, Leveled, SizeTiered
from fjeld.statistics.levels import level_figures, oldest_run_bytes, sorted_runs, strategy_name
from tests.statistics.states import state, table

LEVELED = Leveled(level0_runs=2, level_ratio=10, level1_bytes=1024, table_bytes=1024)
UNREAD = [(0, 0, 0, 0, 0)] * LEVELS


def figures(of, reads=UNREAD, now_ns=0):
    return level_figures(of, reads, Activity(), now_ns)


def test_sums():
    level = figures(state([table(1, 100), table(2, 50)], compaction=LEVELED))[0]
    assert (level.tables, level.bytes) == (2, 150)
    assert (level.entries, level.tombstones) == (10, 6), "weak ones count too"


def test_a_level_of_a_leveled_partition_owes_what_is_above_its_target():
    found = figures(
        state([table(1, 10)], [table(2, 1500, largest=b"b")], [table(3, 5120)], compaction=LEVELED)
    )
    assert [level.target_bytes for level in found] == [None, 1024, 10240, 102400, 1024000, 10240000, None]
    assert [level.debt_bytes for level in found] == [0, 476, 0, 0, 0, 0, 0]
    assert [level.score for level in found[:3]] == [0.5, 1500 / 1024, 0.5]
    assert found[-1].score is None, "nothing lies beneath the last level"


def test_level0_owes_all_of_itself_once_it_has_its_runs():
    assert figures(state([table(1, 10)], compaction=LEVELED))[0].debt_bytes == 0
    full = figures(state([table(2, 20), table(1, 10)], compaction=LEVELED))[0]
    assert (full.score, full.debt_bytes) == (1.0, 30)


def test_other_strategies_owe_the_job_that_they_would_choose():
    tiered = SizeTiered(min_runs=2)
    assert sum(level.debt_bytes for level in figures(state([table(1, 10)], compaction=tiered))) == 0
    found = figures(state([table(2, 10), table(1, 10)], compaction=tiered))
    assert [level.debt_bytes for level in found] == [20, 0, 0, 0, 0, 0, 0]
    fifo = Fifo(max_bytes=1024)
    found = figures(state([table(3, 500), table(2, 400), table(1, 300)], compaction=fifo))
    assert found[0].debt_bytes == 300, "the oldest goes"
    assert found[0].score is found[0].target_bytes is None


def test_reads():
    reads = [*UNREAD[:3], (5, 4, 3, 2, 1), *UNREAD[4:]]
    level = figures(state(), reads)[3]
    assert level.lookups == 5 + 4 + 3 + 2
    assert (level.found, level.filter_negatives, level.filter_false_positives) == (5, 4, 3)
    assert level.block_loads == 1


def test_compaction_of_a_level():
    activity = Activity()
    activity.compacted(state([table(1, 100)]), [(0, 1)], 1, [table(2, 90)], 1.0)
    found = level_figures(state(), UNREAD, activity, 0)
    assert [level.compaction_read_bytes for level in found[:2]] == [100, 0]
    assert [level.compaction_written_bytes for level in found[:2]] == [0, 90]


@pytest.mark.parametrize(
    ("of", "runs", "oldest"),
    [
        (state(), 0, None),
        (state([table(2, 20), table(1, 10)]), 2, 10),
        (state([table(3, 30)], [table(1, 10), table(2, 20)]), 2, 30),
        (state([], [table(1, 10)], [], [table(2, 500)]), 2, 500),
        (state([table(2, 20), table(1, 10)], compaction=Fifo()), 2, None),
    ],
)
def test_runs(of, runs, oldest):
    assert sorted_runs(of) == runs
    assert oldest_run_bytes(of) == oldest


@pytest.mark.parametrize(
    ("options", "name"), [(Leveled(), "leveled"), (SizeTiered(), "size_tiered"), (Fifo(), "fifo")]
)
def test_strategy_name(options, name):
    assert strategy_name(state(compaction=options)) == name
