"""Buckets that lose at most 3 per cent, beside a plain list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.histogram import Histogram, bucket_of, highest_of
from fjeld.cli.demo.latency import percentile

times = st.integers(0, 1 << 40) | st.integers(0, 200)


@given(times)
def test_a_bucket_holds_its_value(value):
    bucket = bucket_of(value)
    assert value <= highest_of(bucket) <= value * 33 / 32
    assert bucket == 0 or highest_of(bucket - 1) < value


def test_buckets_follow_one_another():
    assert [bucket_of(highest_of(bucket)) for bucket in range(1_000)] == list(range(1_000))
    assert [bucket_of(highest_of(bucket) + 1) for bucket in range(1_000)] == list(range(1, 1_001))


@given(st.lists(times, min_size=1), st.sampled_from([0, 1, 50, 99, 99.9, 100]))
def test_percentiles_are_those_of_a_list_but_for_the_bucket(values, per_cent):
    taken = Histogram()
    taken.add(values)
    exact = percentile(sorted(values), per_cent)
    assert exact <= taken.percentile(per_cent) <= exact * 33 / 32
    assert (taken.count, taken.total, taken.max) == (len(values), sum(values), max(values))


@given(st.lists(times), st.lists(times, min_size=1))
def test_merged_is_as_if_counted_together(some, others):
    together, first, second = Histogram(), Histogram(), Histogram()
    together.add(some + others)
    first.add(some)
    second.add(others)
    first.merge(second)
    assert vars(first) == vars(together)


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        Histogram().percentile(50)


@pytest.mark.parametrize("per_cent", [-1, 100.1])
def test_per_cents_are_checked(per_cent):
    taken = Histogram()
    taken.add([1])
    with pytest.raises(ValueError, match="0 to 100"):
        taken.percentile(per_cent)
