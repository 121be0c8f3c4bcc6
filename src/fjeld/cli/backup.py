"""`fjeld backup`: a checkpoint of a keyspace."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click

from fjeld import CheckpointInfo
from fjeld.cli.opening import open_keyspace
from fjeld.cli.output import Output, human_bytes, human_seconds
from fjeld.cli.params import json_option, path_argument

__all__ = ["backup"]


@contextmanager
def cancel_on_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a backup is given up cleanly and leaves nothing behind."""
    cancel = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda _signal, _frame: cancel.set())
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, previous)


def parse_metadata(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Any:
    """The caller's own metadata: a JSON object."""
    if text is None:
        return None
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise click.BadParameter('a JSON object is wanted, such as \'{"reason": "upgrade"}\'')
    return metadata


def describe(info: CheckpointInfo) -> str:
    """What was done, in two lines."""
    moved = [
        f"{human_bytes(count)} {how}"
        for how, count in (
            ("linked", info.linked_bytes),
            ("reflinked", info.reflinked_bytes),
            ("copied", info.copied_bytes),
        )
        if count or how == "linked"
    ]
    took, stall = human_seconds(info.elapsed_seconds), human_seconds(info.stall_seconds)
    return (
        f"{info.path}: seqno {info.seqno}, {len(info.files)} files, {', '.join(moved)}\n"
        f"took {took}; writers waited {stall} at most"
    )


@click.command()
@path_argument
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--flush", is_flag=True, help="Write memory to tables first, so that the copy opens without a replay."
)
@click.option(
    "--link",
    type=click.Choice(["auto", "never"]),
    default="auto",
    show_default=True,
    help="auto: hard links where possible; never: a copy that shares nothing.",
)
@click.option(
    "--metadata", metavar="JSON", callback=parse_metadata, help="An object to keep in the checkpoint."
)
@json_option
@click.pass_obj
def backup(
    output: Output,
    path: Path,
    target: Path,
    flush: bool,
    link: Literal["auto", "never"],
    metadata: dict[str, Any] | None,
) -> None:
    """Back the keyspace PATH up to TARGET, which must not exist.

    The result is a keyspace itself: opening it is restoring it.
    """
    with open_keyspace(path) as keyspace, output.progress() as bars, cancel_on_interrupt() as cancel:
        task = bars.add_task("files", total=None, note="")

        def report(done_files: int, total_files: int, done_bytes: int, total_bytes: int) -> None:
            note = f"{human_bytes(done_bytes)} of {human_bytes(total_bytes)}"
            bars.update(task, completed=done_files, total=total_files, note=note)

        info = keyspace.backup_to(
            target, flush=flush, link=link, metadata=metadata, progress=report, cancel=cancel
        )
    if output.json:
        output.document(info)
    else:
        click.echo(describe(info))
