"""`fjeld checkpoints space`: what they take."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from fjeld.cli.checkpoints.folder import folder_argument, opened
from fjeld.cli.output import Output, human_bytes
from fjeld.cli.params import json_option

__all__ = ["space"]


@click.command()
@folder_argument
@json_option
@click.pass_obj
def space(output: Output, folder: Path) -> None:
    """What the checkpoints in FOLDER take on disk, and how much of it is theirs alone: what removing gives back."""
    found = opened(folder).disk_space()
    if output.json:
        output.document(found)
        return
    table = Table("checkpoint", "on disk", "its own", box=None, pad_edge=False)
    for each in found.checkpoints:
        table.add_row(each.path.name, human_bytes(each.size_bytes), human_bytes(each.own_bytes))
    table.add_row("all together", human_bytes(found.size_bytes), human_bytes(found.own_bytes))
    output.console.print(table)
