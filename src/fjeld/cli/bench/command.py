"""`fjeld bench`: every engine, every workload, on this machine."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from rich.progress import Progress, TaskID

from fjeld.cli.bench.engine import Engine
from fjeld.cli.bench.machine import machine
from fjeld.cli.bench.own import FjeldEngine
from fjeld.cli.bench.peers import Lmdb, Plyvel, RocksDict, Sqlite
from fjeld.cli.bench.table import draw, medians, ratio_to_best
from fjeld.cli.bench.workload import WORKLOADS, Dataset, run_engine
from fjeld.cli.output import Output, human_count
from fjeld.cli.params import json_option

__all__ = ["bench"]

ENGINES: tuple[type[Engine], ...] = (FjeldEngine, RocksDict, Plyvel, Lmdb, Sqlite)


def installed(names: str | None) -> list[type[Engine]]:
    """The engines that can be imported here, those of the names only if some are given."""
    known = {engine.name: engine for engine in ENGINES}
    wanted = list(known) if names is None else [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise click.BadParameter(f"unknown engine {name!r} (known: {', '.join(known)})")
    found = [known[name] for name in wanted if importlib.util.find_spec(known[name].module) is not None]
    if not found:
        raise click.BadParameter(f"not installed: {', '.join(wanted)}")
    return found


def _advance(bars: Progress, task: TaskID, engine: str, workload: str) -> None:
    bars.update(task, advance=1, note=f"{engine}: {workload}")


def measure(
    bars: Progress, chosen: Sequence[type[Engine]], path: Path | None, data: Dataset, rounds: int
) -> list[dict[str, dict[str, float]]]:
    """For each round {engine: {workload: figure}}. The order of the engines rotates from round to round."""
    task = bars.add_task("measuring", total=rounds * len(chosen) * len(WORKLOADS), note="")
    results = []
    for number in range(rounds):
        first = number % len(chosen)
        figures: dict[str, dict[str, float]] = {}
        for kind in [*chosen[first:], *chosen[:first]]:
            folder = Path(tempfile.mkdtemp(prefix="fjeld-bench-", dir=path))
            on_step = partial(_advance, bars, task, kind.name)
            try:
                figures[kind.name] = run_engine(kind(), folder / kind.name, data, on_step)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        results.append({kind.name: figures[kind.name] for kind in chosen})
    return results


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False)
@click.option("--count", type=click.IntRange(min=1_000), default=200_000, show_default=True, help="Entries.")
@click.option("--value-bytes", type=click.IntRange(min=0, max=1 << 20), default=100, show_default=True)
@click.option(
    "--rounds", type=click.IntRange(min=1), default=1, show_default=True, help="The median of so many."
)
@click.option("--engines", metavar="A,B,...", help="Only these; else all that are installed.")
@json_option
@click.pass_obj
def bench(
    output: Output, path: Path | None, count: int, value_bytes: int, rounds: int, engines: str | None
) -> None:
    """Measure fjeld beside rocksdict, plyvel, lmdb (where installed) and sqlite3, in a folder inside PATH.

    Random 16-byte keys, one thread, each engine's defaults, no sync for each write. Without PATH the folder
    for temporary files is used, which may be memory rather than disk.
    """
    chosen = installed(engines)
    data = Dataset.make(count, value_bytes)
    gc.collect()
    gc.freeze()  # the data set is no business of collections that fall into a measurement
    try:
        with output.progress() as bars:
            results = measure(bars, chosen, path, data, rounds)
    finally:
        gc.unfreeze()
    figures = medians(results)
    if output.json:
        ratios = {workload: ratio_to_best(figures, workload) for workload in WORKLOADS}
        output.document(
            {
                "machine": machine(),
                "count": count,
                "value_bytes": value_bytes,
                "figures": figures,
                "ratio": ratios,
            }
        )
        return
    console = output.console
    console.print(f"{human_count(count)} entries of 16 + {value_bytes} bytes; {machine()}; rounds: {rounds}")
    console.print(draw(figures))
