"""Percentiles against a plain definition, and the split of samples by what was in flight."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.cli.demo.latency import (
    LatencyRecorder,
    Series,
    bucketize,
    overlaps,
    percentile,
    summarize,
    total_seconds,
)


@pytest.mark.parametrize(
    ("per_cent", "expected"),
    [(0, 1), (0.1, 1), (50, 500), (99, 990), (99.9, 999), (99.91, 1000), (100, 1000)],
)
def test_nearest_rank(per_cent, expected):
    assert percentile(range(1, 1001), per_cent) == expected


@given(
    values=st.lists(st.integers(0, 1_000), min_size=1, max_size=300),
    per_mille=st.integers(min_value=1, max_value=1000),
)
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values, per_mille):
    found = percentile(sorted(values), per_mille / 10)
    enough = [value for value in values if sum(v <= value for v in values) * 1000 >= per_mille * len(values)]
    assert found == min(enough)


@pytest.mark.parametrize(("values", "per_cent"), [([], 50), ([1], -1), ([1], 100.5)])
def test_no_percentile(values, per_cent):
    with pytest.raises(ValueError):
        percentile(values, per_cent)


@given(
    cuts=st.lists(st.integers(0, 200), unique=True, max_size=20).map(sorted),
    start=st.integers(-5, 205),
    length=st.integers(0, 50),
)
def test_overlap_against_the_plain_definition(cuts, start, length):
    intervals = list(zip(cuts[::2], cuts[1::2], strict=False))
    end = start + length
    assert overlaps(intervals, start, end) == any(a <= end and start <= b for a, b in intervals)


def test_samples_are_told_apart():
    recorder = LatencyRecorder()
    for start, end in [(0, 3), (9, 12), (21, 26), (40, 47), (55, 63)]:
        recorder.record(start, end)
    without, during = recorder.split(busy=[(10, 20), (45, 50)], quiet=[(0, 8), (51, 70)])
    assert without == [3, 8]
    assert during == [3, 7]  # (21, 26) lies between two checkpoints: in neither
    assert recorder.durations() == [3, 3, 5, 7, 8]
    assert len(recorder) == 5


def test_a_commit_that_meets_a_checkpoint_counts_as_such_even_in_a_quiet_window():
    recorder = LatencyRecorder()
    recorder.record(5, 15)
    assert recorder.split(busy=[(10, 20)], quiet=[(0, 12)]) == ([], [10])


def test_summary():
    summary = summarize([5, 1, 4, 2, 3])
    assert summary is not None
    assert (summary.count, summary.p50_ns, summary.p99_ns, summary.p999_ns, summary.max_ns) == (5, 3, 5, 5, 5)
    assert summarize([]) is None


def test_the_rate_of_a_series():
    assert total_seconds([(0, 250_000_000), (500_000_000, 750_000_000)]) == 0.5
    assert Series([1, 2, 3], 0.5).rate == 6
    assert Series([], 0.0).rate == 0


def test_buckets_include_their_upper_bound():
    assert bucketize([1, 10, 11, 20, 21, 999], [10, 20]) == [2, 2, 2]


@given(
    values=st.lists(st.integers(0, 10_000)), bounds=st.lists(st.integers(0, 10_000), unique=True).map(sorted)
)
def test_every_value_is_in_one_bucket(values, bounds):
    counts = bucketize(values, bounds)
    edges = [-1, *bounds, 10**9]
    assert counts == [sum(a < v <= b for v in values) for a, b in pairwise(edges)]
