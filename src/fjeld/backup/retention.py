"""Which checkpoints to keep: a pure function over their times. No clock, no files.

    last=N                the newest N
    hourly=N ... monthly=N    the newest of each of the newest N hours, days, weeks (Monday to Sunday), months that have one
    within=timedelta      all that are at most so much older than the newest

Rules add up: what any of them keeps is kept. All times are UTC. Everything is counted back from the newest checkpoint,
not from now, so where nothing new is made nothing is lost either; and the newest is always kept.

Considered and left: counting from now (a folder whose backups have stopped would empty itself); a rule that passes over
what another one keeps already, as some tools have it (nobody can say beforehand what will be there).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fjeld.errors import InvalidOptionError
from fjeld.option_checks import require_integer, require_type

__all__ = ["RetentionPolicy"]

MAX_COUNT = 1_000_000


def _hour(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H}:00"


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _week(time: datetime) -> str:
    year, week, _ = time.isocalendar()
    return f"{year:04d}-W{week:02d}"


def _month(time: datetime) -> str:
    return f"{time:%Y-%m}"


PERIODS: dict[str, Callable[[datetime], str]] = {
    "hourly": _hour,
    "daily": _day,
    "weekly": _week,
    "monthly": _month,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What to keep. At least one rule; see the module."""

    last: int | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    within: timedelta | None = None

    def __post_init__(self) -> None:
        for name in ("last", *PERIODS):
            if getattr(self, name) is not None:
                require_integer(name, getattr(self, name), 1, MAX_COUNT)
        if self.within is not None:
            require_type("within", self.within, timedelta)
            if self.within < timedelta(0):
                raise InvalidOptionError(f"within must not be negative: {self.within}")
        if all(getattr(self, name) is None for name in ("last", "within", *PERIODS)):
            raise InvalidOptionError(
                "the policy has no rule: it would keep one checkpoint only; say last=1 for that"
            )

    def kept(self, times: Sequence[datetime]) -> dict[int, tuple[str, ...]]:
        """For each of the times that is kept, by its place in `times`: why. Times have zones, in any order."""
        ages = [time.astimezone(UTC) for time in times]
        newest_first = sorted(range(len(ages)), key=lambda place: (ages[place], place), reverse=True)
        reasons: dict[int, list[str]] = {}
        if newest_first:
            reasons[newest_first[0]] = ["the newest"]
        for rank, place in enumerate(newest_first[: self.last or 0], start=1):
            reasons.setdefault(place, []).append(f"last {rank} of {self.last}")
        for name, period_of in PERIODS.items():
            count = getattr(self, name)
            if count is not None:
                for rank, (period, place) in enumerate(_newest_of(newest_first, ages, period_of, count), 1):
                    reasons.setdefault(place, []).append(f"{name} {rank} of {count} ({period})")
        if self.within is not None:
            for place in newest_first:
                if ages[newest_first[0]] - ages[place] <= self.within:
                    reasons.setdefault(place, []).append(f"within {self.within} of the newest")
        return {place: tuple(found) for place, found in sorted(reasons.items())}


def _newest_of(
    newest_first: Sequence[int], ages: Sequence[datetime], period_of: Callable[[datetime], str], count: int
) -> list[tuple[str, int]]:
    """The newest of each of the newest `count` periods: (period, place)."""
    found: dict[str, int] = {}
    for place in newest_first:
        period = period_of(ages[place])
        if period not in found:
            if len(found) == count:
                break
            found[period] = place
    return list(found.items())
