"""`fjeld checkpoints verify`: read all of them."""

from __future__ import annotations

from pathlib import Path

import click

from fjeld.cli.backup import cancel_on_interrupt
from fjeld.cli.checkpoints.folder import folder_argument, opened
from fjeld.cli.exits import Exit
from fjeld.cli.output import Output, human_bytes
from fjeld.cli.params import json_option

__all__ = ["verify"]


@click.command()
@folder_argument
@json_option
@click.pass_context
def verify(context: click.Context, folder: Path) -> None:
    """Read every file of every checkpoint in FOLDER and compare it with its checksum. Exit code 5: one is damaged."""
    output = context.ensure_object(Output)
    with output.progress() as bars, cancel_on_interrupt() as cancel:
        task = bars.add_task("checkpoints", total=None, note="")

        def report(done: int, total: int, done_bytes: int, total_bytes: int) -> None:
            note = f"{human_bytes(done_bytes)} of {human_bytes(total_bytes)}"
            bars.update(task, completed=done, total=total, note=note)

        verdicts = opened(folder).verify(progress=report, cancel=cancel)
    if output.json:
        output.document(
            [
                {"path": each.path, "ok": each.ok, "problems": [str(error) for error in each.problems]}
                for each in verdicts
            ]
        )
    else:
        for each in verdicts:
            click.echo(f"{'sound  ' if each.ok else 'DAMAGED'}  {each.path.name}")
            for error in each.problems:
                click.echo(f"         {error}")
    if not all(each.ok for each in verdicts):
        context.exit(Exit.CORRUPT)
