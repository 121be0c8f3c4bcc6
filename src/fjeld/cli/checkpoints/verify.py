"""`fjeld checkpoints verify`: read all of them."""

from __future__ import annotations

from pathlib import Path

import click

from fjeld.cli.backup import cancel_on_interrupt
from fjeld.cli.checkpoints.folder import folder_argument, opened
from fjeld.cli.exits import Exit
from fjeld.cli.output import Output, human_bytes, plain
from fjeld.cli.params import json_option

__all__ = ["verify"]


@click.command()
@folder_argument
@click.option(
    "--scan/--no-scan", default=True, show_default=True, help="Also read all entries, and digest them."
)
@json_option
@click.pass_context
def verify(context: click.Context, folder: Path, scan: bool) -> None:
    """Check every byte of every checkpoint in FOLDER, as `fjeld verify` does. Exit code 5: one is damaged."""
    output = context.ensure_object(Output)
    with output.progress() as bars, cancel_on_interrupt() as cancel:
        task = bars.add_task("checkpoints", total=None, note="")

        def report(done: int, total: int, done_bytes: int, total_bytes: int) -> None:
            note = f"{human_bytes(done_bytes)} of {human_bytes(total_bytes)}"
            bars.update(task, completed=done, total=total, note=note)

        reports = opened(folder).verify(scan=scan, progress=report, cancel=cancel)
    if output.json:
        output.document([{"ok": each.ok, **plain(each)} for each in reports])
    else:
        for each in reports:
            click.echo(f"{'sound  ' if each.ok else 'DAMAGED'}  {each.path.name}")
            for problem in each.problems:
                click.echo(f"         {problem}")
    if not all(each.ok for each in reports):
        context.exit(Exit.CORRUPT)
