"""`fjeld compact`: merge what can be merged, now."""

from __future__ import annotations

from pathlib import Path

import click

from fjeld.cli.opening import open_keyspace, open_partition
from fjeld.cli.params import json_option, path_argument

__all__ = ["compact"]


@click.command()
@path_argument
@click.argument("partition", required=False)
@json_option
def compact(path: Path, partition: str | None) -> None:
    """Compact the keyspace PATH, or one PARTITION of it."""
    if partition is None:
        with open_keyspace(path) as keyspace:
            keyspace.compact()
    else:
        with open_partition(path, partition) as opened:
            opened.compact()
