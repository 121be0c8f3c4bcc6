"""Backpressure, as tables: what has piled up, and the answer."""

import itertools

import pytest

from fjeld.maintenance.backpressure import (
    FASTEST_RATE,
    SLOWEST_RATE,
    Go,
    Limits,
    Load,
    Slow,
    StallReason,
    Stop,
    decide,
)
from fjeld.options import Fifo, KeyspaceOptions, Leveled, PartitionOptions, SizeTiered

LIMITS = Limits(max_sealed_memtables=4, level0_slowdown_runs=8, level0_stop_runs=12, journals_max_bytes=1000)


def load(memtables=0, runs=0, journals=0, active=0.0, garbage=0.0):
    return Load(
        sealed_memtables=memtables,
        active_part=active,
        level0_runs=runs,
        journals_bytes=journals,
        garbage=garbage,
    )


@pytest.mark.parametrize(
    ("memtables", "runs", "journals", "answer"),
    [
        (0, 0, 0, "go"),
        (2, 7, 749, "go"),
        (3, 0, 0, "slow memtables"),
        (4, 0, 0, "stop memtables"),
        (9, 0, 0, "stop memtables"),
        (0, 8, 0, "slow level0"),
        (0, 11, 0, "slow level0"),
        (0, 12, 0, "stop level0"),
        (0, 0, 750, "slow journals"),
        (0, 0, 999, "slow journals"),
        (0, 0, 1000, "stop journals"),
        (3, 11, 0, "slow level0"),
        (3, 11, 990, "slow journals"),
        (3, 12, 990, "stop level0"),
    ],
)
def test_the_strictest_answer_counts(memtables, runs, journals, answer):
    decision = decide(load(memtables, runs, journals), LIMITS)
    word = type(decision).__name__.lower()
    assert answer == (word if isinstance(decision, Go) else f"{word} {decision.reason.value}")


@pytest.mark.parametrize(
    "loads",
    [
        [load(runs=runs) for runs in range(8, 12)],
        [load(journals=journals) for journals in range(750, 1000, 10)],
        [load(memtables=3, active=active / 10) for active in range(10)],
        [load(garbage=garbage / 100) for garbage in range(50, 99)],
    ],
)
def test_the_rate_falls_smoothly_towards_the_limit(loads):
    rates = [decide(each, LIMITS).bytes_per_second for each in loads]
    assert rates[0] == FASTEST_RATE
    factors = [right / left for left, right in itertools.pairwise(rates)]
    assert max(factors) < 1
    assert max(factors) == pytest.approx(min(factors)), "equal steps, equal factors"
    assert rates[-1] > SLOWEST_RATE


def test_a_memtable_that_has_outgrown_its_size_is_no_reason_to_stop():
    assert isinstance(decide(load(memtables=3, active=5.0), LIMITS), Slow)


def test_garbage_slows_and_never_stops():
    assert decide(load(garbage=0.49), LIMITS) == Go()
    assert decide(load(garbage=0.5), LIMITS) == Slow(FASTEST_RATE, StallReason.GARBAGE)
    slowest = decide(load(garbage=1.0), LIMITS)
    assert isinstance(slowest, Slow)
    assert SLOWEST_RATE < slowest.bytes_per_second < 2 * SLOWEST_RATE


def test_writers_are_slowed_from_what_they_wrote():
    fast = 20 * FASTEST_RATE
    assert decide(load(runs=8), LIMITS, fast) == Slow(fast, StallReason.LEVEL0)
    rates = [decide(load(runs=8 + runs), LIMITS, fast).bytes_per_second for runs in range(4)]
    factors = [right / left for left, right in itertools.pairwise(rates)]
    assert max(factors) == pytest.approx(min(factors))
    assert rates[-1] > SLOWEST_RATE


def test_a_full_memtable_alone_slows_nobody():
    tight = Limits(max_sealed_memtables=1, level0_slowdown_runs=8, level0_stop_runs=9, journals_max_bytes=100)
    assert decide(load(active=1.0), tight) == Go()
    assert decide(load(memtables=1), tight) == Stop(StallReason.MEMTABLES)


def test_an_idle_partition_is_never_slowed_whatever_the_limits():
    tight = Limits(max_sealed_memtables=1, level0_slowdown_runs=1, level0_stop_runs=2, journals_max_bytes=1)
    assert decide(load(), tight) == Go()
    assert decide(load(runs=1), tight) == Slow(FASTEST_RATE, StallReason.LEVEL0)


def test_limits_come_from_the_options():
    keyspace = KeyspaceOptions(max_sealed_memtables=7, level0_slowdown_runs=10, level0_stop_runs=20)
    limits = Limits.of(keyspace, PartitionOptions())
    assert limits == Limits(
        max_sealed_memtables=7,
        level0_slowdown_runs=10,
        level0_stop_runs=20,
        journals_max_bytes=keyspace.journals_max_bytes,
    )


def word(keyspace, compaction, runs):
    limits = Limits.of(keyspace, PartitionOptions(compaction=compaction))
    return type(decide(load(runs=runs), limits)).__name__


def test_writers_never_wait_for_a_merge_that_nothing_starts():
    keyspace = KeyspaceOptions(level0_slowdown_runs=2, level0_stop_runs=3)
    leveled = Leveled(level0_runs=50)
    assert [word(keyspace, leveled, runs) for runs in (50, 51, 52)] == ["Go", "Slow", "Stop"]


def test_size_tiered_compaction_slows_from_its_own_number_of_runs():
    keyspace = KeyspaceOptions(level0_slowdown_runs=2, level0_stop_runs=3)
    tiered = SizeTiered(min_runs=4, max_runs=12)
    assert [word(keyspace, tiered, runs) for runs in (13, 15, 16, 27, 28)] == [
        "Go",
        "Go",
        "Slow",
        "Slow",
        "Stop",
    ]


def test_first_in_first_out_is_never_slowed_for_its_runs():
    assert word(KeyspaceOptions(), Fifo(), 1_000_000) == "Go"
