from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.maintenance.strategies.pieces import MIN_PIECE_TABLES, piece_keys
from tests.maintenance.strategies.text import KIB, table

TABLE_BYTES = 10 * KIB // MIN_PIECE_TABLES  # so that 10 KiB are enough for a piece


@pytest.mark.parametrize(
    ("tables", "most", "keys"),
    [
        ("", 8, ""),
        ("1:a-z=90", 8, ""),
        ("1:a-b 2:c-d 3:e-f 4:g-h", 1, ""),
        ("1:a-b 2:c-d 3:e-f 4:g-h", 2, "e"),
        ("1:a-b 2:c-d 3:e-f 4:g-h", 4, "c e g"),
        ("1:a-b 2:c-d 3:e-f 4:g-h", 99, "c e g"),
        ("1:a-b=5 2:c-d=5 3:e-f=5", 99, ""),
        ("1:a-b=5 2:c-d=5 3:e-f=5 4:g-h=5", 99, "e"),
        ("1:a-h=80 2:a-b 3:c-d 4:e-f 5:g-h", 2, "e"),
        ("1:a-b=50 2:c-d=1 3:e-f=1 4:g-h=1 5:i-j=1", 2, "c"),
        ("1:a-b=1 2:c-d=1 3:e-f=1 4:g-h=1 5:i-j=50", 2, "i"),
        ("1:a-z 2:a-z 3:a-z", 3, ""),
        ("1:-b 2:c-d", 2, "c"),
    ],
)
def test_pieces(tables, most, keys):
    found = piece_keys([table(word) for word in tables.split()], TABLE_BYTES, most)
    assert b" ".join(found).decode() == keys


@given(seed=st.integers(0, 1 << 32), count=st.integers(0, 40), most=st.integers(1, 12))
def test_keys_ascend_and_are_inside_and_no_piece_is_much_too_large(seed, count, most):
    chance = random.Random(seed)
    tables = []
    for number in range(count):
        start = chance.randrange(900)
        stop = start + chance.choice([5, 50, 99])
        tables.append(table(f"{number}:{start:03}-{stop:03}={chance.randrange(1, 40)}"))
    keys = piece_keys(tables, TABLE_BYTES, most)
    assert list(keys) == sorted(set(keys))
    assert len(keys) < most
    if keys:
        assert min(meta.smallest for meta in tables) < keys[0]
        assert set(keys) <= {meta.smallest for meta in tables}


def test_pieces_are_about_equal():
    tables = [table(f"{number}:{number:03}-{number:03}") for number in range(100)]
    keys = [int(key) for key in piece_keys(tables, TABLE_BYTES, 7)]
    sizes = [stop - start for start, stop in zip([0, *keys], [*keys, 100], strict=True)]
    assert len(sizes) == 7
    assert max(sizes) - min(sizes) <= 1
