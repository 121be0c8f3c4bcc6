"""`fjeld stats`: figures of a keyspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fjeld.cli.opening import open_keyspace
from fjeld.cli.output import Output, plain
from fjeld.cli.params import json_option, path_argument

__all__ = ["flatten", "stats"]


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as (dotted.name, figure)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from flatten(item, f"{name}[{index}]")
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    else:
        yield name, value


@click.command()
@path_argument
@json_option
@click.pass_obj
def stats(output: Output, path: Path) -> None:
    """Figures of the keyspace PATH: levels, tables, journals, cache, memory."""
    with open_keyspace(path) as keyspace:
        figures = plain(keyspace.stats())
    if output.json:
        output.document(figures)
        return
    lines = list(flatten(figures))
    width = max((len(name) for name, _ in lines), default=0)
    for name, figure in lines:
        click.echo(f"{name:<{width}}  {figure}")
