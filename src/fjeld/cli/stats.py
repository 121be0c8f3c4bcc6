"""`fjeld stats`: figures of a keyspace."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import fjeld
from fjeld.cli.level_tree import level_tree
from fjeld.cli.opening import read_keyspace
from fjeld.cli.output import Output, human_bytes, human_count, human_seconds
from fjeld.cli.params import json_option, path_argument
from fjeld.statistics.figures import KeyspaceFigures

__all__ = ["stats"]


def keyspace_lines(figures: KeyspaceFigures) -> dict[str, str]:
    """What is not of one partition: name and text of each line."""
    cache = figures.cache
    lines = {
        "seqno": f"{human_count(figures.seqno)}, on disk up to {human_count(figures.persisted_seqno)}",
        "journals": f"{human_count(figures.journals)}, {human_bytes(figures.journal_bytes)}",
        "manifest": human_bytes(figures.manifest_bytes),
        "cache": f"{human_bytes(cache.used_bytes)} of {human_bytes(cache.budget_bytes)}"
        + ("" if cache.hit_ratio is None else f", {cache.hit_ratio:.1%} hits"),
        "files": f"{human_count(figures.open_files)} open of at most {human_count(figures.max_open_files)}, "
        f"{human_count(figures.pending_deletions)} to delete",
    }
    stalls = [
        f"{reason} {human_count(stall.count)} ({human_seconds(stall.seconds)})"
        for reason, stall in figures.stalls.items()
        if stall.count
    ]
    if stalls:
        lines["stalls"] = ", ".join(stalls)
    if figures.failure is not None:
        lines["failure"] = figures.failure
    return lines


def show_figures(console: Console, figures: KeyspaceFigures) -> None:
    """For people."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in keyspace_lines(figures).items():
        table.add_row(name, text)
    console.print(table)
    for name in sorted(figures.partitions):
        console.print()
        console.print(level_tree(figures.partitions[name], console))


@click.command()
@path_argument
@click.option("--prometheus", is_flag=True, help="As text for Prometheus.")
@json_option
@click.pass_obj
def stats(output: Output, path: Path, prometheus: bool) -> None:
    """Figures of the keyspace PATH: levels, debt, amplification, journals, cache.

    It is only read, so another process may have it open; the counters of that one (work, stalls, look-ups) only it knows:
    ask the program (Keyspace.stats(), fjeld.prometheus_text()).
    """
    with read_keyspace(path) as keyspace:
        document = keyspace.stats()
        text = fjeld.prometheus_text(keyspace) if prometheus else ""
        figures = keyspace.figures()
    if prometheus:
        click.echo(text, nl=False)
    elif output.json:
        output.document(document)
    else:
        show_figures(output.console, figures)
