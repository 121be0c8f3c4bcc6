"""`fjeld restore`: a keyspace from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

import fjeld
from fjeld.cli.backup import cancel_on_interrupt
from fjeld.cli.output import Output, human_bytes, human_seconds
from fjeld.cli.params import json_option

__all__ = ["restore"]


def describe(info: fjeld.RestoreInfo) -> str:
    """What was done."""
    moved = [
        f"{human_bytes(count)} {how}"
        for how, count in (
            ("linked", info.linked_bytes),
            ("reflinked", info.reflinked_bytes),
            ("copied", info.copied_bytes),
            ("there already", info.resumed_bytes),
        )
        if count or how == "linked"
    ]
    lines = [
        f"{info.path}: seqno {info.seqno} of {info.created_at.isoformat()}, {len(info.files)} files checked, "
        f"{', '.join(moved)}; took {human_seconds(info.elapsed_seconds)}"
    ]
    if info.replaced is not None:
        lines.append(f"the old one is {info.replaced}; `fjeld discard {info.path}` removes it")
    return "\n".join(lines)


@click.command(
    epilog="""\b
Examples:
  fjeld restore backups/monday data
  fjeld restore backups/monday data --replace && fjeld discard data
  fjeld restore /media/usb/monday data --link never"""
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--replace", is_flag=True, help="TARGET may be a keyspace; it is kept aside once the new one is safe."
)
@click.option(
    "--link",
    type=click.Choice(["auto", "never"]),
    default="auto",
    show_default=True,
    help="auto: hard links where possible; never: a copy that shares nothing.",
)
@json_option
@click.pass_obj
def restore(
    output: Output, source: Path, target: Path, replace: bool, link: Literal["auto", "never"]
) -> None:
    """Make the keyspace TARGET of SOURCE, a checkpoint or a closed keyspace.

    Every file is read and compared with its checksum. A restore whose process died is gone on with when it is run
    again.
    """
    with output.progress() as bars, cancel_on_interrupt() as cancel:
        task = bars.add_task("files", total=None, note="")

        def report(done_files: int, total_files: int, done_bytes: int, total_bytes: int) -> None:
            note = f"{human_bytes(done_bytes)} of {human_bytes(total_bytes)}"
            bars.update(task, completed=done_files, total=total_files, note=note)

        info = fjeld.restore(source, target, replace=replace, link=link, progress=report, cancel=cancel)
    if output.json:
        output.document(info)
    else:
        click.echo(describe(info))
