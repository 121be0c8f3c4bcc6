"""`fjeld checkpoints at`: the one to restore."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from fjeld.cli.checkpoints.folder import facts, folder_argument, opened
from fjeld.cli.exits import Exit
from fjeld.cli.output import Output
from fjeld.cli.params import json_option

__all__ = ["at"]


def parse_time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    """A time with a zone."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time such as 2026-11-23T06:00:00+00:00") from None
    if time.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no zone: end it in Z or +00:00, for example")
    return time


@click.command()
@folder_argument
@click.option("--seqno", type=click.IntRange(min=0), help="The newest that holds nothing later.")
@click.option(
    "--time", callback=parse_time, metavar="ISO", help="The newest taken at or before, with a zone."
)
@json_option
@click.pass_context
def at(context: click.Context, folder: Path, seqno: int | None, time: datetime | None) -> None:
    """The path of the newest checkpoint in FOLDER, or of the newest at or before a moment. Exit code 1: none."""
    output = context.ensure_object(Output)
    found = opened(folder)
    if seqno is not None and time is not None:
        raise click.UsageError("--seqno or --time, one of them")
    info = found.latest() if seqno is None and time is None else found.at(seqno=seqno, time=time)
    if info is None:
        if output.json:
            output.document(None)
        context.exit(Exit.NO)
    if output.json:
        output.document(facts(info))
    else:
        click.echo(info.path)
