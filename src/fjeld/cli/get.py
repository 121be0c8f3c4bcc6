"""`fjeld get`: the value of a key."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fjeld.cli.exits import Exit
from fjeld.cli.opening import read_partition
from fjeld.cli.output import Output
from fjeld.cli.params import hex_option, json_option, partition_argument, path_argument, to_bytes

__all__ = ["get"]


@click.command()
@path_argument
@partition_argument
@click.argument("key")
@hex_option
@json_option
@click.pass_context
def get(context: click.Context, path: Path, partition: str, key: str, as_hex: bool) -> None:
    """The value of KEY, byte for byte (a new line follows on a terminal). Exit code 1 if there is none."""
    output = context.ensure_object(Output)
    with read_partition(path, partition) as opened:
        value = opened.get(to_bytes(key, as_hex=as_hex))
    if value is None:
        if output.json:
            output.document(None)
        context.exit(Exit.NO)
    if output.json:
        output.document(value.hex() if as_hex else value)
    elif as_hex:
        click.echo(value.hex())
    else:
        click.echo(value, nl=sys.stdout.isatty())
