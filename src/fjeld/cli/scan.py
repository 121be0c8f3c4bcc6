"""`fjeld scan`: entries in order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click

from fjeld import ReadOnlyPartition
from fjeld.cli.opening import read_partition
from fjeld.cli.output import Output, show
from fjeld.cli.params import hex_option, json_option, partition_argument, path_argument, to_bytes

__all__ = ["scan"]


def choose(
    partition: ReadOnlyPartition,
    *,
    prefix: bytes | None,
    start: bytes | None,
    stop: bytes | None,
    reverse: bool,
) -> Iterator[tuple[bytes, bytes]]:
    """The iterator for what the options ask for."""
    if prefix is not None:
        if start is not None or stop is not None:
            raise click.UsageError("--prefix goes without --start and --stop")
        return iter(partition.prefix(prefix, reverse=reverse))
    return iter(partition.range(start, stop, reverse=reverse))


@click.command()
@path_argument
@partition_argument
@click.option("--prefix", metavar="KEY", help="Only keys that begin so.")
@click.option("--start", metavar="KEY", help="From this key on.")
@click.option("--stop", metavar="KEY", help="Up to this key, without it.")
@click.option("--reverse", is_flag=True, help="Last key first.")
@click.option("--limit", type=click.IntRange(min=0), help="So many entries at most.")
@click.option("--keys", "keys_only", is_flag=True, help="Keys without values.")
@hex_option
@json_option
@click.pass_obj
def scan(
    output: Output,
    path: Path,
    partition: str,
    prefix: str | None,
    start: str | None,
    stop: str | None,
    reverse: bool,
    limit: int | None,
    keys_only: bool,
    as_hex: bool,
) -> None:
    """Entries in order of their keys, one a line: key, tab, value. With --json one document a line."""

    def bound(text: str | None) -> bytes | None:
        return None if text is None else to_bytes(text, as_hex=as_hex)

    with read_partition(path, partition) as opened:
        entries = choose(opened, prefix=bound(prefix), start=bound(start), stop=bound(stop), reverse=reverse)
        for key, value in islice(entries, limit):
            if output.json:
                pair = {"key": key.hex() if as_hex else key}
                output.line(pair if keys_only else {**pair, "value": value.hex() if as_hex else value})
            elif keys_only:
                click.echo(show(key, as_hex=as_hex))
            else:
                click.echo(f"{show(key, as_hex=as_hex)}\t{show(value, as_hex=as_hex)}")
