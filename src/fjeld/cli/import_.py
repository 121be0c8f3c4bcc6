"""`fjeld import`: a keyspace from an export."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import fjeld
from fjeld.cli.backup import cancel_on_interrupt
from fjeld.cli.output import Output, human_bytes, human_count, human_seconds
from fjeld.cli.params import json_option

__all__ = ["import_export"]


def describe(info: fjeld.ImportInfo) -> str:
    """What was done, in two lines."""
    names = "partition" if len(info.partitions) == 1 else "partitions"
    return (
        f"{info.path}: seqno {info.seqno}, {human_count(info.entries)} entries of {len(info.partitions)} {names}, "
        f"exported {info.created_at.isoformat()}\n"
        f"digest {info.digest}, as exported; took {human_seconds(info.elapsed_seconds)}"
    )


@click.command(
    "import",
    epilog="""\b
Examples:
  fjeld import data.fjx data
  zcat data.fjx.gz | fjeld import - data""",
)
@click.argument("source", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def import_export(output: Output, source: Path, path: Path) -> None:
    """Make the keyspace PATH, which must not exist, of the export in the file SOURCE, or on standard input (-).

    Every byte is checked on the way; an export that is damaged or cut short leaves nothing behind.
    """
    with output.progress() as bars, cancel_on_interrupt() as cancel:
        task = bars.add_task("partitions", total=None, note="")

        def report(done: int, total: int, done_bytes: int, total_bytes: int) -> None:
            of = f" of {human_bytes(total_bytes)}" if total_bytes else ""
            bars.update(task, completed=done, total=total, note=f"{human_bytes(done_bytes)}{of}")

        stdin = str(source) == "-"
        info = fjeld.import_from(sys.stdin.buffer if stdin else source, path, progress=report, cancel=cancel)
    if output.json:
        output.document(info)
    else:
        click.echo(describe(info))
