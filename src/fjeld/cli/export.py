"""`fjeld export`: everything in a keyspace as one stream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from fjeld import ExportInfo
from fjeld.cli.backup import cancel_on_interrupt, parse_metadata
from fjeld.cli.opening import open_keyspace
from fjeld.cli.output import Output, human_bytes, human_count, human_seconds
from fjeld.cli.params import json_option, path_argument

__all__ = ["export"]


def describe(info: ExportInfo) -> str:
    """What was done, in two lines."""
    where = "standard output" if info.path is None else info.path
    names = "partition" if len(info.partitions) == 1 else "partitions"
    return (
        f"{where}: seqno {info.seqno}, {human_count(info.entries)} entries of {len(info.partitions)} {names}, "
        f"{human_bytes(info.size_bytes)} ({human_bytes(info.raw_bytes)} before compression)\n"
        f"digest {info.digest}; took {human_seconds(info.elapsed_seconds)}"
    )


@click.command(
    epilog="""\b
Examples:
  fjeld export data data.fjx
  fjeld export data - | ssh elsewhere fjeld import - data
  fjeld export data users.fjx --partition users --compression lz4"""
)
@path_argument
@click.argument("target", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--partition", "-p", "partitions", multiple=True, help="Only this one; may be given again.")
@click.option(
    "--compression",
    type=click.Choice(["zstd", "lz4", "none"]),
    default="zstd",
    show_default=True,
    help="How chunks are compressed.",
)
@click.option("--metadata", metavar="JSON", callback=parse_metadata, help="An object to keep in the export.")
@json_option
@click.pass_obj
def export(
    output: Output,
    path: Path,
    target: Path,
    partitions: tuple[str, ...],
    compression: Literal["zstd", "lz4", "none"],
    metadata: dict[str, Any] | None,
) -> None:
    """Write everything in the keyspace PATH to the file TARGET, which must not exist, or to standard output (-).

    The result is one portable, checksummed file; `fjeld import` makes a keyspace of it. With - what was done is told
    on standard error.
    """
    to_stdout = str(target) == "-"
    if to_stdout and sys.stdout.isatty():
        raise click.UsageError("an export is binary: send it to a file or a pipe")
    with open_keyspace(path) as keyspace, output.progress() as bars, cancel_on_interrupt() as cancel:
        known = keyspace.partitions()
        for name in partitions:
            if name not in known:
                raise click.BadParameter(
                    f"there is no partition {name!r} in {path} (there is: {', '.join(known) or 'none'})"
                )
        task = bars.add_task("partitions", total=None, note="")

        def report(done: int, total: int, done_bytes: int, _total_bytes: int) -> None:
            bars.update(task, completed=done, total=total, note=human_bytes(done_bytes))

        info = keyspace.export_to(
            sys.stdout.buffer if to_stdout else target,
            partitions=partitions or None,
            metadata=metadata,
            compression=compression,
            progress=report,
            cancel=cancel,
        )
    if output.json:
        output.document(info, err=to_stdout)
    else:
        click.echo(describe(info), err=to_stdout)
