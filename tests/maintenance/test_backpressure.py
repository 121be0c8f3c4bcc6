"""Backpressure, as tables: what has piled up, and the answer."""

import itertools

import pytest

from fjeld.maintenance.backpressure import (
    MAX_DELAY_SECONDS,
    MIN_DELAY_SECONDS,
    Go,
    Limits,
    Load,
    Slow,
    StallReason,
    Stop,
    decide,
)
from fjeld.options import KeyspaceOptions, Leveled, PartitionOptions

LIMITS = Limits(max_sealed_memtables=4, level0_slowdown_runs=8, level0_stop_runs=12, journals_max_bytes=1000)


def load(memtables=0, runs=0, journals=0):
    return Load(sealed_memtables=memtables, level0_runs=runs, journals_bytes=journals)


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


def test_delays_grow_towards_the_limit():
    delays = [decide(load(runs=runs), LIMITS).delay_seconds for runs in range(8, 12)]
    assert delays[0] == MIN_DELAY_SECONDS
    assert all(left < right for left, right in itertools.pairwise(delays))
    assert delays[-1] < MAX_DELAY_SECONDS


def test_an_idle_partition_is_never_slowed_whatever_the_limits():
    tight = Limits(max_sealed_memtables=1, level0_slowdown_runs=1, level0_stop_runs=2, journals_max_bytes=1)
    assert decide(load(), tight) == Go()
    assert decide(load(memtables=1), tight) == Stop(StallReason.MEMTABLES)
    assert decide(load(runs=1), tight) == Slow(MIN_DELAY_SECONDS, StallReason.LEVEL0)


def test_limits_come_from_the_options():
    keyspace = KeyspaceOptions(max_sealed_memtables=7, level0_slowdown_runs=10, level0_stop_runs=20)
    limits = Limits.of(keyspace, PartitionOptions())
    assert limits == Limits(
        max_sealed_memtables=7,
        level0_slowdown_runs=10,
        level0_stop_runs=20,
        journals_max_bytes=keyspace.journals_max_bytes,
    )


def test_writers_never_wait_for_a_merge_that_nothing_starts():
    keyspace = KeyspaceOptions(level0_slowdown_runs=2, level0_stop_runs=3)
    limits = Limits.of(keyspace, PartitionOptions(compaction=Leveled(level0_runs=50)))
    assert decide(load(runs=50), limits) == Go()
    assert decide(load(runs=51), limits) == Slow(MIN_DELAY_SECONDS, StallReason.LEVEL0)
    assert decide(load(runs=52), limits) == Stop(StallReason.LEVEL0)
