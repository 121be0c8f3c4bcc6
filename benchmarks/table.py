"""Measurements as a Markdown table: engines side by side, and how fjeld compares with the best of the others."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

from benchmarks.harness import DONE, Measurement

__all__ = ["Row", "medians", "report", "shown"]

OWN = "fjeld"

Unit = Literal["rate", "ns", "seconds", "bytes", "times"]


@dataclass(frozen=True)
class Row:
    """A figure of each case: its name among the figures, and how it is shown. Of a rate more is better, of
    all else less.
    """

    figure: str
    title: str
    unit: Unit


def _scaled(value: float, steps: Sequence[tuple[float, str]]) -> str:
    """In the first unit in which it is below 999.5; three digits."""
    for factor, name in steps[:-1]:
        if value / factor < 999.5:
            return f"{value / factor:.3g}{name}"
    factor, name = steps[-1]
    return f"{value / factor:,.0f}{name}" if value / factor >= 999.5 else f"{value / factor:.3g}{name}"


def shown(value: float | None, unit: Unit) -> str:
    """1_520_000 a second -> '1.52 M'; a dash where there is nothing."""
    if value is None or math.isnan(value):
        return "–"
    if unit == "rate":
        return _scaled(value, [(1, ""), (1e3, " k"), (1e6, " M")])
    if unit == "bytes":
        return _scaled(value, [(1e6, " MB"), (1e9, " GB")])
    if unit == "times":
        return f"{value:,.0f}x" if value >= 100 else f"{value:.3g}x"
    ns = value * 1e9 if unit == "seconds" else value
    return _scaled(ns, [(1, " ns"), (1e3, " us"), (1e6, " ms"), (1e9, " s")])


def medians(measurements: Sequence[Measurement]) -> dict[tuple[str, str], dict[str, float]]:
    """{(case, engine): {figure: the median of its rounds}}"""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for one in measurements:
        figures = found.setdefault((one.case, one.engine), {})
        for name, value in one.figures.items():
            figures.setdefault(name, []).append(value)
    return {key: {name: median(all_) for name, all_ in of.items()} for key, of in found.items()}


def _ratio(row: Row, by_engine: dict[str, dict[str, float]]) -> str:
    """How many times as good as the best peer. One that was cut off has done less: only its rate counts."""
    peers = [
        of[row.figure]
        for engine, of in by_engine.items()
        if engine != OWN and row.figure in of and (row.unit == "rate" or of.get(DONE, 1) >= 1)
    ]
    own = by_engine.get(OWN, {}).get(row.figure)
    if not own or not peers or not min(peers):
        return ""
    ratio = own / max(peers) if row.unit == "rate" else min(peers) / own
    return f"**{ratio:,.0f}x**" if ratio >= 10 else f"**{ratio:.2g}x**"


def report(
    measurements: Sequence[Measurement], rows: Sequence[Row], *, as_json: bool, heading: str = ""
) -> str:
    """The whole answer of a command."""
    from fjeld.cli.bench.machine import machine  # here: in a peer's process fjeld has no place

    if as_json:
        document = {"machine": machine(), "heading": heading}
        return json.dumps(document | {"measurements": [asdict(one) for one in measurements]}, indent=2)
    figures = medians(measurements)
    engines = list(dict.fromkeys(one.engine for one in sorted(measurements, key=lambda one: one.round)))
    cases = list(dict.fromkeys(one.case for one in measurements))
    lines = [machine(), ""]
    if heading:
        lines += [heading, ""]
    lines += [f"| | {' | '.join(engines)} | to the best peer |", "|---|" + "--:|" * (len(engines) + 1)]
    cut: dict[tuple[str, str], float] = {}
    for case in cases:
        by_engine = {engine: figures.get((case, engine), {}) for engine in engines}
        for row in rows:
            if not any(row.figure in of for of in by_engine.values()):
                continue
            cells = []
            for engine, of in by_engine.items():
                mark = ""
                if row.figure in of and of.get(DONE, 1) < 1:
                    cut[case, engine] = of[DONE]
                    mark = "*"
                cells.append(shown(of.get(row.figure), row.unit) + mark)
            title = f"{case}: {row.title}" if case else row.title
            lines.append(f"| {title} | {' | '.join(cells)} | {_ratio(row, by_engine)} |")
    return "\n".join(lines + _notes(measurements, cut))


def _notes(measurements: Sequence[Measurement], cut: dict[tuple[str, str], float]) -> list[str]:
    """What the reader must know of single cells."""
    lines = [""] if cut else []
    for (case, engine), done in cut.items():
        lines.append(f"\\* {engine}{f', {case}' if case else ''}: cut off after {done:.0%} of the work.")
    failed = {(one.engine, one.case): one.failure for one in measurements if one.failure is not None}
    for (engine, case), failure in failed.items():
        lines += ["", f"{engine}{f', {case}' if case else ''} failed: {failure}"]
    return lines
