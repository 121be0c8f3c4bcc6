"""Two series of latencies side by side, drawn with rich: a row a bucket, buckets and bars on a log scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from fjeld.cli.demo.latency import Series, Summary, bucketize, summarize
from fjeld.cli.output import human_seconds

__all__ = ["bar", "bucket_bounds", "draw", "percentile_table"]

# Six buckets a decade: wide enough for a screen, narrow enough to see a second hump.
_STEPS = (10, 15, 20, 30, 50, 70)
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR_WIDTH = 26


def bucket_bounds(low_ns: int, high_ns: int) -> list[int]:
    """Upper bounds of the buckets that cover both values: 1, 1.5, 2, 3, 5, 7 times powers of ten."""
    bounds: list[int] = []
    scale = 10 ** max(0, int(math.log10(max(low_ns, 1))) - 1)
    while True:
        for step in _STEPS:
            bound = step * scale
            if bound >= low_ns:
                bounds.append(bound)
            if bound >= high_ns:
                return bounds
        scale *= 10


def bar(fraction: float, width: int, *, ascii_only: bool = False) -> str:
    """A horizontal bar of so much of the width; whatever is above zero can be seen."""
    eighths = round(min(max(fraction, 0.0), 1.0) * width * 8)
    if fraction > 0:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    if ascii_only:
        return "#" * max(full, 1 if eighths else 0)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _log_share(count: int, largest: int) -> float:
    """The length of a bar: 0 for none, the whole for the largest; a single sample still shows."""
    return math.log1p(count) / math.log1p(largest) if count else 0.0


def draw(without: Sequence[int], during: Sequence[int], *, ascii_only: bool = False) -> Table:
    """The histogram of commits without and with a checkpoint in flight (durations in ns)."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("commit took up to", justify="right")
    for title in ("no checkpoint in flight", "checkpoint in flight"):
        table.add_column(title, width=_BAR_WIDTH)
        table.add_column("", justify="right")
    values = [*without, *during]
    if not values:
        return table
    bounds = bucket_bounds(min(values), max(values))
    left, right = bucketize(without, bounds), bucketize(during, bounds)
    most_left, most_right = max(left), max(right)
    for bound, quiet, busy in zip(bounds, left, right, strict=False):
        table.add_row(
            human_seconds(bound / 1e9),
            Text(bar(_log_share(quiet, most_left), _BAR_WIDTH, ascii_only=ascii_only), style="cyan"),
            f"{quiet:,}" if quiet else "",
            Text(bar(_log_share(busy, most_right), _BAR_WIDTH, ascii_only=ascii_only), style="magenta"),
            f"{busy:,}" if busy else "",
        )
    return table


def percentile_table(without: Series, during: Series) -> Table:
    """Rate, p50, p99, p99.9 and the maximum of both, and how they compare."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("")
    for title in ("commits", "a second", "p50", "p99", "p99.9", "max"):
        table.add_column(title, justify="right")
    summaries = summarize(without.durations_ns), summarize(during.durations_ns)
    titles = ("no checkpoint in flight", "checkpoint in flight")
    for title, series, summary in zip(titles, (without, during), summaries, strict=True):
        table.add_row(title, *_cells(series, summary))
    first, second = summaries
    if first is not None and second is not None:
        pairs = (
            (without.rate, during.rate),
            (first.p50_ns, second.p50_ns),
            (first.p99_ns, second.p99_ns),
            (first.p999_ns, second.p999_ns),
            (first.max_ns, second.max_ns),
        )
        table.add_row("ratio", "", *(f"{b / max(a, 1e-9):.2f}x" for a, b in pairs))
    return table


def _cells(series: Series, summary: Summary | None) -> list[str]:
    if summary is None:
        return ["0", "-", "-", "-", "-", "-"]
    times = (summary.p50_ns, summary.p99_ns, summary.p999_ns, summary.max_ns)
    return [f"{summary.count:,}", f"{series.rate:,.0f}", *(human_seconds(ns / 1e9) for ns in times)]
