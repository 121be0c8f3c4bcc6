"""Retention, as tables: times in, what is kept and why out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld import InvalidOptionError, RetentionPolicy

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)  # a Wednesday


def kept(times: list[datetime], **rules: object) -> list[int]:
    return list(RetentionPolicy(**rules).kept(times))


def back(**spans: float) -> datetime:
    return NOON - timedelta(**spans)


@pytest.mark.parametrize(
    ("rules", "times", "expected"),
    [
        ({"last": 2}, [back(days=3), back(days=2), back(days=1), NOON], [2, 3]),
        ({"last": 9}, [back(days=1), NOON], [0, 1]),
        ({"last": 1}, [NOON, NOON], [1]),
        ({"last": 1}, [], []),
        # of each hour the newest; hours without a checkpoint do not count
        ({"hourly": 2}, [back(hours=5), back(minutes=70), back(minutes=61), back(minutes=1), NOON], [3, 4]),
        (
            {"hourly": 3},
            [back(hours=5), back(minutes=70), back(minutes=61), back(minutes=1), NOON],
            [2, 3, 4],
        ),
        ({"hourly": 3}, [back(hours=50), back(hours=5), NOON], [0, 1, 2]),
        ({"daily": 2}, [back(days=1, hours=1), back(days=1), back(hours=1), NOON], [1, 3]),
        ({"daily": 2}, [back(days=40), back(hours=13), back(hours=1)], [1, 2]),
        # Monday begins a week: the 15th of March is a Sunday, the 16th a Monday
        ({"weekly": 2}, [back(days=10), back(days=3), back(days=2), NOON], [1, 3]),
        ({"weekly": 3}, [back(days=10), back(days=3), back(days=2), NOON], [0, 1, 3]),
        ({"monthly": 2}, [back(days=60), back(days=18), back(days=17), NOON], [1, 3]),
        ({"within": timedelta(days=1)}, [back(days=1, seconds=1), back(days=1), NOON], [1, 2]),
        ({"within": timedelta(0)}, [back(seconds=1), NOON], [1]),
        # rules add up
        ({"last": 1, "daily": 2}, [back(days=1), back(hours=1), NOON], [0, 2]),
        ({"last": 2, "monthly": 2}, [back(days=30), back(days=20), back(hours=1), NOON], [1, 2, 3]),
        # in any order
        ({"last": 1}, [NOON, back(days=1)], [0]),
        ({"daily": 1}, [back(hours=1), NOON, back(hours=2)], [1]),
    ],
)
def test_what_is_kept(rules: dict, times: list[datetime], expected: list[int]) -> None:
    assert kept(times, **rules) == expected


def test_weeks_and_years() -> None:
    """The first of January 2027 is in the last week of 2026 still."""
    times = [
        datetime(2026, 12, 28, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
        datetime(2027, 1, 4, tzinfo=UTC),
    ]
    assert kept(times, weekly=2) == [1, 2]
    assert kept(times, monthly=2) == [0, 2]


def test_the_zone_is_utc() -> None:
    east = timezone(timedelta(hours=14))
    times = [datetime(2026, 3, 18, 1, 0, tzinfo=east), datetime(2026, 3, 17, 23, 0, tzinfo=UTC)]
    assert kept(times, daily=2) == [1], "the same day there"


def test_reasons() -> None:
    policy = RetentionPolicy(last=2, daily=1, weekly=2, within=timedelta(hours=1))
    assert policy.kept([back(days=7), back(minutes=30), NOON]) == {
        0: ("weekly 2 of 2 (2026-W11)",),
        1: ("last 2 of 2", "within 1:00:00 of the newest"),
        2: (
            "the newest",
            "last 1 of 2",
            "daily 1 of 1 (2026-03-18)",
            "weekly 1 of 2 (2026-W12)",
            "within 1:00:00 of the newest",
        ),
    }


def test_rules_that_make_no_sense() -> None:
    with pytest.raises(InvalidOptionError, match="no rule"):
        RetentionPolicy()
    for name in ("last", "hourly", "daily", "weekly", "monthly"):
        with pytest.raises(InvalidOptionError, match=name):
            RetentionPolicy(**{name: 0})
        with pytest.raises(TypeError, match=name):
            RetentionPolicy(**{name: "3"})
    with pytest.raises(InvalidOptionError, match="negative"):
        RetentionPolicy(within=timedelta(seconds=-1))
    with pytest.raises(TypeError, match="within"):
        RetentionPolicy(within=3)


TIMES = st.lists(
    st.integers(0, 2 * 366 * 24 * 60).map(lambda minutes: NOON - timedelta(minutes=minutes)), max_size=30
)
COUNTS = st.none() | st.integers(1, 5)


@given(TIMES, COUNTS, COUNTS, COUNTS, COUNTS)
def test_properties(
    times: list[datetime], last: int | None, hourly: int | None, daily: int | None, monthly
) -> None:
    rules = {"last": last or 1, "hourly": hourly, "daily": daily, "monthly": monthly}
    found = RetentionPolicy(**rules).kept(times)
    assert all(found.values()), "a reason for each"
    if times:
        newest = max(times)
        assert any(times[place] == newest for place in found)
    # Expiring again changes nothing: what is kept is kept for the same rules.
    left = [times[place] for place in found]
    assert len(RetentionPolicy(**rules).kept(left)) == len(left)
    assert len(found) <= sum(count or 0 for count in rules.values()) + 1
