"""Joining ranges: nothing that was covered is lost, and the weight is bounded."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from fjeld.kernel.read_set import join_ranges

UNLIMITED = 1 << 60


def test_neighbours_and_overlaps():
    assert join_ranges([], UNLIMITED) == []
    assert join_ranges([(b"c", b"d"), (b"a", b"b")], UNLIMITED) == [(b"a", b"b"), (b"c", b"d")]
    assert join_ranges([(b"a", b"c"), (b"b", b"d"), (b"d", b"e")], UNLIMITED) == [(b"a", b"e")]
    assert join_ranges([(None, b"b"), (b"a", None)], UNLIMITED) == [(None, None)]
    assert join_ranges([(b"a", None), (b"b", b"c")], UNLIMITED) == [(b"a", None)]
    assert join_ranges([(b"a", b"d"), (b"b", b"c")], UNLIMITED) == [(b"a", b"d")]


def test_too_many():
    spans = [(b"%02d" % n, b"%02d\x00" % n) for n in range(5)]
    assert join_ranges(spans, 320) == [(b"00", b"01\x00"), (b"02", b"03\x00"), (b"04", b"04\x00")]
    assert join_ranges(spans, 0) == [(b"00", b"04\x00")]


keys = st.binary(max_size=2)
spans = st.tuples(st.none() | keys, st.none() | keys)


def holds(span: tuple[bytes | None, bytes | None], key: bytes) -> bool:
    return (span[0] or b"") <= key and (span[1] is None or key < span[1])


@given(st.lists(spans, max_size=12), keys, st.integers(0, 2_000))
def test_what_was_covered_stays_covered(given_spans, key, weight):
    given_spans = [(low, high) for low, high in given_spans if high is None or (low or b"") <= high]
    joined = join_ranges(given_spans, weight)
    if any(holds(span, key) for span in given_spans):
        assert any(holds(span, key) for span in joined)
    for before, after in itertools.pairwise(joined):
        assert before[1] is not None
        assert after[0] is not None
        assert before[1] < after[0]
