"""`fjeld discard`: remove what restores have kept aside."""

from __future__ import annotations

from pathlib import Path

import click

import fjeld
from fjeld.cli.output import Output
from fjeld.cli.params import json_option, path_argument

__all__ = ["discard"]


@click.command(
    epilog="""\b
Example:
  fjeld discard data      removes data.replaced-20261123T001500Z and the like"""
)
@path_argument
@json_option
@click.pass_obj
def discard(output: Output, path: Path) -> None:
    """Remove the keyspaces that `fjeld restore --replace` has put aside for the keyspace PATH. PATH itself stays."""
    gone = fjeld.discard_replaced(path)
    if output.json:
        output.document(gone)
        return
    for each in gone:
        click.echo(f"removed {each}")
