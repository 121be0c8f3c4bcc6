"""`fjeld checkpoints clean`: left-overs."""

from __future__ import annotations

from pathlib import Path

import click

from fjeld.cli.checkpoints.folder import folder_argument, opened
from fjeld.cli.output import Output
from fjeld.cli.params import json_option

__all__ = ["clean"]


@click.command()
@folder_argument
@json_option
@click.pass_obj
def clean(output: Output, folder: Path) -> None:
    """Deal with what interrupted backups and removals have left in FOLDER."""
    done = opened(folder).clean()
    if output.json:
        output.document(list(done))
        return
    for path in done:
        click.echo(path.name)
