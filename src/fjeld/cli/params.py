"""Arguments and options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fjeld.cli.output import Output

__all__ = ["hex_option", "json_option", "partition_argument", "path_argument", "to_bytes"]

F = TypeVar("F", bound=Callable[..., Any])

path_argument = click.argument("path", type=click.Path(path_type=Path))
partition_argument = click.argument("partition")
hex_option = click.option(
    "--hex", "as_hex", is_flag=True, help="Keys and values are hexadecimal, in and out."
)


def _set_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Output).json = True


def json_option(command: F) -> F:
    """--json, before the verb or after it."""
    return click.option(
        "--json", is_flag=True, is_eager=True, expose_value=False, callback=_set_json, help="For machines."
    )(command)


def to_bytes(text: str, *, as_hex: bool) -> bytes:
    """What the user typed, as bytes: hexadecimal, or UTF-8 (what is no UTF-8 stays the bytes that it was)."""
    if not as_hex:
        return text.encode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not hexadecimal (--hex is given)") from None
