"""The histogram: buckets cover all values, bars are as long as they should be, and the whole is drawn."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fjeld.cli.demo.histogram import bar, bucket_bounds, draw, percentile_table
from fjeld.cli.demo.latency import Series


def drawn(table) -> str:
    text = io.StringIO()
    Console(file=text, width=110, color_system=None).print(table)
    return text.getvalue()


@given(low=st.integers(0, 10**10), more=st.integers(0, 10**10))
def test_bounds_cover_both_values(low, more):
    bounds = bucket_bounds(low, low + more)
    assert bounds == sorted(set(bounds))
    assert low <= bounds[0] <= max(2 * low, 10)
    assert bounds[-1] >= low + more
    assert all(b <= 2 * a for a, b in pairwise(bounds))


def test_bounds_are_round_numbers():
    assert bucket_bounds(900, 12_000) == [1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000]


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0, ""), (1e-9, "▏"), (0.25, "█"), (0.5, "██"), (0.53, "██▏"), (1, "████"), (7, "████"), (-1, "")],
)
def test_bar(fraction, expected):
    assert bar(fraction, 4) == expected


@pytest.mark.parametrize(("fraction", "expected"), [(0, ""), (1e-9, "#"), (0.5, "##"), (1, "####")])
def test_bar_without_unicode(fraction, expected):
    assert bar(fraction, 4, ascii_only=True) == expected


def test_both_series_are_drawn():
    text = drawn(draw([1_000] * 100 + [5_000_000], [1_000] * 7))
    lines = text.splitlines()
    assert "no checkpoint in flight" in lines[0]
    assert lines[1].split()[0:2] == ["1", "us"]
    assert "100" in lines[1]
    assert lines[1].rstrip().endswith("7")
    assert lines[-1].split()[0:2] == ["5", "ms"]
    assert lines[-1].rstrip().endswith("1")


def test_nothing_to_draw():
    assert "no checkpoint in flight" in drawn(draw([], []))
    assert drawn(percentile_table(Series([], 0), Series([], 0))).count("-") >= 10


def test_percentiles_and_their_ratio():
    text = drawn(percentile_table(Series([1_000] * 999 + [2_000], 2.0), Series([2_000] * 10, 0.04)))
    rows = text.splitlines()
    assert "1 us" in rows[1]
    assert "2 us" in rows[2]
    assert rows[1].split()[4:7] == ["1,000", "500", "1"]
    assert rows[3].split() == ["ratio", "0.50x", "2.00x", "2.00x", "2.00x", "1.00x"]
