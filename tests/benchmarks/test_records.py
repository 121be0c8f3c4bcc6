"""Keys, values, and the zipfian distribution beside its definition."""

from __future__ import annotations

import math
import random
import zlib
from collections import Counter
from itertools import pairwise

import pytest

from benchmarks.records import CHUNK, Zipfian, key_of, random_keys, sample_keys, values, zeta


def test_a_chunk_of_keys_can_be_made_again_and_is_like_no_other():
    assert random_keys(3) == random_keys(3)
    together = random_keys(3) + random_keys(4)
    assert len(set(together)) == 2 * CHUNK
    assert {len(key) for key in together} == {16}
    assert random_keys(3, 10) == random_keys(3)[:10]


@pytest.mark.parametrize(("chunks", "count"), [(1, 50), (3, 2_000), (500, 100)])
def test_sampled_keys_are_of_the_first_chunks(chunks, count):
    known = {key for chunk in range(chunks) for key in random_keys(chunk)}
    sampled = sample_keys(chunks, count, 1)
    assert len(sampled) == count
    assert set(sampled) <= known
    assert len(set(sampled)) > 0.9 * len(known) * (
        1 - math.exp(-count / len(known))
    )  # drawn with replacement


def test_keys_of_records_differ_and_are_in_no_order():
    keys = [key_of(number) for number in range(10_000)]
    assert len(set(keys)) == 10_000
    assert {len(key) for key in keys} == {16}
    ascending = sum(before < after for before, after in pairwise(keys))
    assert 4_700 < ascending < 5_300


@pytest.mark.parametrize("size", [0, 1, 100, 1_000])
def test_values_have_their_size_and_compress_to_about_half(size):
    made = values(size, count=50)
    assert {len(value) for value in made} == {size}
    if size >= 100:
        assert len(set(made)) == 50
        assert 0.45 < sum(len(zlib.compress(value)) for value in made) / (50 * size) < 0.85


@pytest.mark.parametrize("count", [1, 2, 9_999, 10_000, 10_001, 50_000])
def test_zeta_is_the_sum(count):
    assert zeta(count, 0.99) == pytest.approx(math.fsum(i**-0.99 for i in range(1, count + 1)), rel=1e-9)


def test_ranks_are_drawn_as_often_as_the_law_says():
    count, draws = 1_000, 200_000
    zipfian = Zipfian(count, random.Random(5))
    drawn = Counter(zipfian.rank() for _ in range(draws))
    total = zeta(count, 0.99)
    assert set(drawn) <= set(range(count))
    assert drawn[0] / draws == pytest.approx(1 / total, rel=0.03)
    assert drawn[1] / draws == pytest.approx(0.5**0.99 / total, rel=0.05)
    for first, last in [(2, 9), (10, 99), (100, 999)]:  # Gray's method is close there, not exact
        expected = sum((rank + 1) ** -0.99 for rank in range(first, last + 1)) / total
        assert sum(drawn[rank] for rank in range(first, last + 1)) / draws == pytest.approx(
            expected, rel=0.15
        )


def test_scrambled_is_as_skewed_and_elsewhere():
    count, draws = 1_000, 50_000
    zipfian = Zipfian(count, random.Random(5))
    drawn = Counter(zipfian.scrambled() for _ in range(draws))
    popular = [record for record, _ in drawn.most_common(20)]
    assert drawn[popular[0]] / draws == pytest.approx(1 / zeta(count, 0.99), rel=0.1)
    assert max(popular) - min(popular) > count / 2
    assert set(drawn) <= set(range(count))


def test_one_item_is_no_choice():
    with pytest.raises(ValueError, match="at least 2"):
        Zipfian(1, random.Random(1))
