"""`fjeld checkpoints take`: one more checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from fjeld import CheckpointFolder
from fjeld.cli.backup import cancel_on_interrupt, parse_metadata
from fjeld.cli.backup import describe as describe_backup
from fjeld.cli.checkpoints.folder import folder_argument
from fjeld.cli.opening import open_keyspace
from fjeld.cli.output import Output, human_bytes
from fjeld.cli.params import json_option

__all__ = ["take"]


@click.command()
@folder_argument
@click.argument("keyspace", type=click.Path(path_type=Path))
@click.option(
    "--flush", is_flag=True, help="Write memory to tables first, so that the copy opens without a replay."
)
@click.option("--link", type=click.Choice(["auto", "never"]), default="auto", show_default=True)
@click.option(
    "--metadata", metavar="JSON", callback=parse_metadata, help="An object to keep in the checkpoint."
)
@json_option
@click.pass_obj
def take(
    output: Output,
    folder: Path,
    keyspace: Path,
    flush: bool,
    link: Literal["auto", "never"],
    metadata: dict[str, Any] | None,
) -> None:
    """Take a checkpoint of KEYSPACE into FOLDER (made where it does not exist), under a name of its own."""
    with open_keyspace(keyspace) as source, output.progress() as bars, cancel_on_interrupt() as cancel:
        task = bars.add_task("files", total=None, note="")

        def report(done_files: int, total_files: int, done_bytes: int, total_bytes: int) -> None:
            note = f"{human_bytes(done_bytes)} of {human_bytes(total_bytes)}"
            bars.update(task, completed=done_files, total=total_files, note=note)

        info = CheckpointFolder(folder).take(
            source, flush=flush, link=link, metadata=metadata, progress=report, cancel=cancel
        )
    if output.json:
        output.document(info)
    else:
        click.echo(describe_backup(info))
