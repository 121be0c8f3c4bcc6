"""The figures of growth.py as files: JSON, CSV, and plots (SVG and PNG) where matplotlib is installed."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import Measurement
from benchmarks.table import medians
from fjeld.cli.bench.machine import machine

__all__ = ["Point", "points_of", "write_all"]

Point = tuple[str, str, int, float]
"""Engine, what, at which size, value."""

COLORS = {  # fjeld stands out; the others can be told apart without colours too, by their markers
    "fjeld": ("#c2185b", "o"),
    "rocksdict": ("#1f6fb4", "s"),
    "rocksdict tuned": ("#7fb3dd", "D"),
    "plyvel": ("#2e8b57", "^"),
    "lmdb": ("#e08a00", "v"),
    "sqlite": ("#7a7a7a", "P"),
    "pyfjall": ("#7e57c2", "X"),
}
OPERATIONS = {"insert_ns": "insert", "get_ns": "get", "scan_ns": "scan of 100 entries"}
CHECKPOINTS = {
    "checkpoint_seconds": "checkpoint",
    "link_seconds": "bare links of its files",
    "stall_seconds": "longest stall of a writer beside it",
}


def points_of(measurements: Sequence[Measurement]) -> list[Point]:
    """Medians, in the order of engine, what and size. A number of files is that which there really was."""
    points: list[Point] = []
    for (_, engine), figures in medians(measurements).items():
        for name, value in figures.items():
            what, _, size = name.partition(" ")
            if what != "files":
                points.append((engine, what, int(figures.get(f"files {size}", int(size))), value))
    return sorted(points)


def write_all(folder: Path, measurements: Sequence[Measurement]) -> list[str]:
    """Returns what is to be said of it, a line each."""
    folder.mkdir(parents=True, exist_ok=True)
    points = points_of(measurements)
    names = ("engine", "what", "size", "value")
    records = [dict(zip(names, point, strict=True)) for point in points]
    (folder / "growth.json").write_text(json.dumps({"machine": machine(), "points": records}, indent=2))
    with (folder / "growth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(points)
    written = ["growth.json", "growth.csv"]
    if find_spec("matplotlib") is None:
        return [f"written to {folder}: {', '.join(written)}", "for plots: pip install matplotlib"]
    for name, panels, unit, axis in (
        ("growth_operations", OPERATIONS, 1e-3, "entries"),
        ("growth_checkpoints", CHECKPOINTS, 1e3, "files"),
    ):
        chosen = [point for point in points if point[1] in panels]
        if chosen:
            written += draw(folder / name, panels, chosen, unit, axis)
    return [f"written to {folder}: {', '.join(written)}"]


def draw(path: Path, panels: dict[str, str], points: Sequence[Point], unit: float, axis: str) -> list[str]:
    """A panel for each of `panels`, one line an engine, both axes logarithmic; names of the files."""
    import_module("matplotlib").use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    ticker: Any = import_module("matplotlib.ticker")
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.6 * len(panels), 4.2), layout="constrained")
    engines = [name for name in COLORS if any(point[0] == name for point in points)]
    engines += sorted({point[0] for point in points} - set(engines))
    for place, (what, title) in zip(axes, panels.items(), strict=True):
        for engine in engines:
            line = [
                (size, value * unit) for name, kind, size, value in points if (name, kind) == (engine, what)
            ]
            if not line:
                continue
            color, marker = COLORS.get(engine, ("#000000", "*"))
            width = 2.4 if engine == "fjeld" else 1.3
            place.plot(*zip(*line, strict=True), color=color, marker=marker, linewidth=width, label=engine)
        place.set(xscale="log", yscale="log", title=title, xlabel=axis)
        place.set_ylabel("us" if unit < 1 else "ms")
        place.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        place.yaxis.set_minor_locator(ticker.NullLocator())
        place.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
        place.grid(visible=True, which="major", color="#e0e0e0", linewidth=0.6)
        place.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)), frameon=False)
    figure.suptitle(machine(), fontsize="small", color="#555555")
    for suffix in (".svg", ".png"):
        figure.savefig(path.with_suffix(suffix), dpi=150)
    pyplot.close(figure)
    return [path.name + suffix for suffix in (".svg", ".png")]
