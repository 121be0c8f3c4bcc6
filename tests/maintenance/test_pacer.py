"""Holding writers to a rate: bytes and time are handed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.maintenance.pacer import MIN_WAIT_SECONDS, WINDOW_SECONDS, Pacer, RateMeter

RATE = 1_000_000


def test_what_was_written_before_is_not_owed():
    pacer = Pacer()
    pacer.restart(10 * RATE, 100.0)
    assert pacer.wait_seconds(10 * RATE, RATE, 100.0) == 0
    assert pacer.wait_seconds(12 * RATE, RATE, 100.0) == pytest.approx(2)


def test_who_writes_slower_than_the_rate_never_waits():
    pacer = Pacer()
    pacer.restart(0, 0.0)
    assert [pacer.wait_seconds(900 * n, RATE, n / 1000) for n in range(1, 50)] == [0] * 49


def test_small_debts_add_up_until_they_are_worth_a_sleep():
    pacer = Pacer()
    pacer.restart(0, 0.0)
    waits = [pacer.wait_seconds(100 * n, RATE, 0.0) for n in range(1, 12)]
    assert waits[:9] == [0] * 9
    assert waits[9] == pytest.approx(MIN_WAIT_SECONDS)


def test_time_that_was_not_needed_is_not_saved_up():
    pacer = Pacer()
    pacer.restart(0, 0.0)
    assert pacer.wait_seconds(0, RATE, 1000.0) == 0
    assert pacer.wait_seconds(RATE, RATE, 1000.0) == pytest.approx(1)


def test_another_rate_holds_for_what_is_owed_already():
    pacer = Pacer()
    pacer.restart(0, 0.0)
    assert pacer.wait_seconds(RATE, RATE, 0.0) == pytest.approx(1)
    assert pacer.wait_seconds(RATE, RATE / 4, 0.0) == pytest.approx(4)


@given(st.lists(st.integers(1, 50_000), min_size=1, max_size=50), st.integers(1, 50))
def test_a_batch_is_slowed_as_its_writes_are(sizes, together):
    """Whoever sleeps as told takes as long for a batch as for the writes in it, up to a sleep."""

    def seconds(chunks):
        pacer = Pacer()
        pacer.restart(0, 0.0)
        now, written = 0.0, 0
        for chunk in chunks:
            written += chunk
            now += pacer.wait_seconds(written, RATE, now)
        return now

    batches = [sum(sizes[at : at + together]) for at in range(0, len(sizes), together)]
    assert seconds(sizes) == pytest.approx(seconds(batches), abs=MIN_WAIT_SECONDS)
    assert seconds(sizes) == pytest.approx(sum(sizes) / RATE, abs=MIN_WAIT_SECONDS)


def test_a_meter_takes_looks_that_lie_apart() -> None:
    meter = RateMeter()
    meter.restart(5 * RATE, 10.0)
    assert meter.bytes_per_second == 0
    meter.look(6 * RATE, 10.5)
    assert meter.bytes_per_second == 2 * RATE
    meter.look(60 * RATE, 10.5 + WINDOW_SECONDS / 2)
    assert meter.bytes_per_second == 2 * RATE, "too short to tell"
    meter.restart(60 * RATE, 11.0)
    meter.look(61 * RATE, 12.0)
    assert meter.bytes_per_second == RATE
