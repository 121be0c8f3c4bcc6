"""What must hold of every strategy, whatever is flushed and in whatever order its jobs start and end."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.maintenance.strategies import Move, choose, due_ns
from fjeld.maintenance.strategies.leveled import level_scores
from fjeld.options import Fifo, Leveled, SizeTiered
from tests.maintenance.strategies.simulation import Simulation, at_rest
from tests.maintenance.strategies.text import KIB, OPTIONS, SECOND, job, partition, show

compactions = (
    st.builds(
        Leveled,
        level0_runs=st.integers(1, 4),
        level_ratio=st.integers(2, 4),
        level1_bytes=st.integers(1, 20).map(lambda size: size * KIB),
        table_bytes=st.integers(1, 8).map(lambda size: size * KIB),
    )
    | st.integers(2, 4).flatmap(
        lambda least: st.builds(
            SizeTiered,
            min_runs=st.just(least),
            max_runs=st.integers(least, least + 5),
            size_ratio=st.floats(1, 4),
            max_space_amplification=st.floats(0.1, 5),
        )
    )
    | st.builds(
        Fifo,
        max_bytes=st.integers(1, 40).map(lambda size: size * KIB),
        max_age_seconds=st.none() | st.integers(1, 20),
    )
)
steps = st.lists(st.sampled_from(["flush", "flush", "start", "start", "finish"]), max_size=60)


@settings(deadline=None, max_examples=150)
@given(options=compactions, steps=steps, chance=st.integers(0, 1 << 32).map(random.Random))
def test_any_interleaving_keeps_the_version_sound_and_comes_to_rest(options, steps, chance):
    simulation = Simulation(options, chance)
    for step in steps:
        simulation.steps[step]()
        assert not list(simulation.state.problems())
    simulation.check_reads()
    simulation.rest(most=500)
    simulation.check_reads()
    assert at_rest(simulation.state, options)


@pytest.mark.parametrize("strategy", OPTIONS)
@pytest.mark.parametrize("seed", range(5))
def test_long_interleavings(strategy, seed):
    simulation = Simulation(OPTIONS[strategy], random.Random(seed))
    steps = random.Random(seed)
    for _ in range(400):
        step = steps.choice(["flush", "flush", "start", "start", "finish"])
        if step != "start" or len(simulation.running) < 4:
            simulation.steps[step]()
        simulation.check_reads()
    assert simulation.merged > 10 or strategy == "fifo"


@pytest.mark.parametrize("seed", range(3))
def test_dropping_ranges_beside_other_jobs(seed):
    simulation = Simulation(OPTIONS["leveled"], random.Random(seed))
    steps = random.Random(seed)
    for _ in range(300):
        step = steps.choice(["flush", "start", "finish", "drop_range"])
        getattr(simulation, step)()


@pytest.mark.parametrize(("strategy", "most"), [("leveled", 8), ("size_tiered", 6)])
def test_no_entry_is_written_again_for_ever(strategy, most):
    """Bytes written for each byte flushed: about one for each time that the partition has grown by min_runs,
    and for each level about 1 + level_ratio / 2."""
    simulation = Simulation(OPTIONS[strategy], random.Random(1))
    written = flushed = 0
    for _ in range(300):
        simulation.flush()
        flushed += simulation.state.levels[0][0].size_bytes
        while (chosen := simulation.choose()) is not None:
            inputs = {number for _, number in chosen.inputs}
            if not isinstance(chosen, Move):
                written += sum(t.size_bytes for t in simulation.state.tables() if t.number in inputs)
            simulation.begin(chosen)
            simulation.finish()
    assert written < most * flushed


def test_scores_leave_out_what_leaves():
    state = partition(["L0: 2:a-z 1:a-z", "L1: 4:a-c 5:d-f"], "leveled")
    leveled = OPTIONS["leveled"]
    assert level_scores(state, [], leveled)[0] == pytest.approx(2 / 3)
    assert level_scores(state, [], leveled)[1] == 1
    assert level_scores(state, [job("merge 0/1 1/4 to 1 a-z")], leveled)[0] == pytest.approx(1 / 3)
    assert level_scores(state, [job("merge 0/1 1/4 to 1 a-z")], leveled)[1] == 1
    assert level_scores(state, [job("move 1/4 to 2 a-c")], leveled)[1] == 0.5
    assert level_scores(state, [job("drop 1/4 0/1")], leveled)[1] == 0.5


def test_merges_carry_the_table_size_of_the_options():
    assert choose(partition(["L0: 3:a-z 2:a-z 1:a-z"], "leveled"), [], 0).table_bytes == 10 * KIB


def test_when_there_will_be_something_to_do():
    state = partition(["L0: 3:a-z=1@40 2:a-z=1@30"], "fifo")
    assert due_ns(state) == 130 * SECOND
    assert show(choose(state, [], due_ns(state) - 1)) == "nothing"
    assert show(choose(state, [], due_ns(state))) == "drop 0/2"
    assert due_ns(partition([], "fifo")) is None
    assert due_ns(partition(["L0: 3:a-z"], "leveled")) is None
