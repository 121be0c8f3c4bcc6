"""`fjeld digest`: one hash over all entries."""

from __future__ import annotations

from pathlib import Path

import click

from fjeld.cli.opening import read_keyspace
from fjeld.cli.output import Output
from fjeld.cli.params import json_option, path_argument

__all__ = ["digest"]


@click.command()
@path_argument
@json_option
@click.pass_obj
def digest(output: Output, path: Path) -> None:
    """A hash over all entries of PATH: equal for two keyspaces exactly if their contents are equal."""
    with read_keyspace(path) as keyspace:
        value, seqno = keyspace.digest(), keyspace.seqno
    if output.json:
        output.document({"digest": value, "seqno": seqno})
    else:
        click.echo(value)
