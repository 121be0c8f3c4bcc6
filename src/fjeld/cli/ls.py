"""`fjeld ls`: the partitions of a keyspace."""

from __future__ import annotations

from pathlib import Path

import click

from fjeld.cli.opening import read_keyspace
from fjeld.cli.output import Output
from fjeld.cli.params import json_option, path_argument

__all__ = ["ls"]


@click.command()
@path_argument
@click.option("--long", "-l", is_flag=True, help="With the exact number of entries (reads every key).")
@json_option
@click.pass_obj
def ls(output: Output, path: Path, long: bool) -> None:
    """The partitions of the keyspace PATH, one a line."""
    with read_keyspace(path) as keyspace:
        names = keyspace.partitions()
        entries = {name: len(keyspace.partition(name)) for name in names} if long else {}
    if output.json:
        output.document(entries if long else names)
        return
    for name in names:
        click.echo(f"{entries[name]:>14,}  {name}" if long else name)
