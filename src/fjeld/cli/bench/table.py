"""The result as a table: engines side by side, and how fjeld compares with the best of the others."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from rich.table import Table

from fjeld.cli.bench.workload import WORKLOADS

__all__ = ["draw", "is_time", "medians", "ratio_to_best"]

Figures = Mapping[str, Mapping[str, float]]
"""{engine: {workload: figure}}"""


def is_time(workload: str) -> bool:
    """Whether less is better."""
    return " ms" in workload or " us" in workload


def medians(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of each figure over the rounds."""
    return {
        engine: {
            workload: median(one[engine][workload] for one in rounds if workload in one[engine])
            for workload in rounds[0][engine]
        }
        for engine in rounds[0]
    }


def ratio_to_best(figures: Figures, workload: str, *, own: str = "fjeld") -> float | None:
    """How many times as good as the best peer fjeld is; None where there is nothing to compare."""
    mine = figures.get(own, {}).get(workload)
    peers = [of[workload] for engine, of in figures.items() if engine != own and workload in of]
    if mine is None or not peers or not mine:
        return None
    return min(peers) / mine if is_time(workload) else mine / max(peers)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.0f} k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw(figures: Figures) -> Table:
    """A row a workload. Of rates more is better, of ms and us less; of the ratio always more."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("a second, or as said")
    for engine in figures:
        table.add_column(engine, justify="right")
    table.add_column("to the best peer", justify="right")
    for workload in WORKLOADS:
        if not any(workload in of for of in figures.values()):
            continue
        ratio = ratio_to_best(figures, workload)
        style = "" if ratio is None else ("green" if ratio >= 1 else "red")
        shown = "-" if ratio is None else f"{ratio:.2f}x"
        cells = [_figure(of.get(workload)) for of in figures.values()]
        table.add_row(workload, *cells, f"[{style}]{shown}[/]" if style else shown)
    return table
