"""`fjeld checkpoints list`: what there is."""

from __future__ import annotations

from pathlib import Path

import click

from fjeld.cli.checkpoints.folder import describe, facts, folder_argument, opened, tell_damaged
from fjeld.cli.exits import Exit
from fjeld.cli.output import Output
from fjeld.cli.params import json_option

__all__ = ["list_checkpoints"]


@click.command("list")
@folder_argument
@json_option
@click.pass_context
def list_checkpoints(context: click.Context, folder: Path) -> None:
    """The checkpoints in FOLDER, oldest first. Exit code 5 where there are damaged ones."""
    output = context.ensure_object(Output)
    found = opened(folder)
    damaged = list(found.damaged())
    checkpoints = found.list()
    if output.json:
        output.document(
            {
                "checkpoints": [facts(info) for info in checkpoints],
                "damaged": [{"path": each.path, "error": str(each.error)} for each in damaged],
            }
        )
    else:
        for info in checkpoints:
            click.echo(describe(info))
        tell_damaged(damaged)
    if damaged:
        context.exit(Exit.CORRUPT)
