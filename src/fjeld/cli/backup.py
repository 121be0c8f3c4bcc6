"""`fjeld backup`: a checkpoint of a keyspace."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click

import fjeld
from fjeld import CheckpointInfo, LockedError
from fjeld.cli.opening import open_keyspace
from fjeld.cli.output import Output, human_bytes, human_seconds
from fjeld.cli.params import hex_option, json_option, path_argument, to_bytes

__all__ = ["backup"]

KeyRange = tuple[bytes | None, bytes | None]

EXAMPLES = """\b
Examples:
  fjeld backup data backups/monday
  fjeld backup data backups/monday --verify --metadata '{"reason": "upgrade"}'
  fjeld backup data /mnt/other/users --partition users --copy
  fjeld backup data archive --compact --from 2025 --to 2026
  fjeld backup /mnt/read-only/data rescued --offline
"""


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
            ("written", info.written_bytes),
        )
        if count or how == "linked"
    ]
    took, stall = human_seconds(info.elapsed_seconds), human_seconds(info.stall_seconds)
    return (
        f"{info.path}: seqno {info.seqno}, {len(info.files)} files, {', '.join(moved)}\n"
        f"took {took}; writers waited {stall} at most"
    )


def key_range_of(start: str | None, stop: str | None, *, as_hex: bool) -> KeyRange | None:
    """What --from and --to say; None: neither is given."""
    if start is None and stop is None:
        return None
    return (
        None if start is None else to_bytes(start, as_hex=as_hex),
        None if stop is None else to_bytes(stop, as_hex=as_hex),
    )


def take(path: Path, target: Path, *, offline: bool, flush: bool, **options: Any) -> CheckpointInfo:
    """Of the keyspace, which is opened for it; or under its lock, where that is wanted, or where its folder
    cannot be written to.
    """
    try:
        if not offline:
            try:
                with open_keyspace(path) as keyspace:
                    return keyspace.backup_to(target, flush=flush, **options)
            except OSError as error:
                if flush or error.errno not in (errno.EROFS, errno.EACCES) or os.access(path, os.W_OK):
                    raise
        return fjeld.backup_offline(path, target, **options)
    except LockedError:
        raise LockedError(
            f"{path} is open in another process: take the backup there (Keyspace.backup_to), "
            "or close it there first"
        ) from None
    except KeyError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="--partition") from None


@click.command(epilog=EXAMPLES)
@path_argument
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--partition", "partitions", metavar="NAME", multiple=True, help="Only this one; may be repeated."
)
@click.option("--from", "start", metavar="KEY", help="Only keys from this one on.")
@click.option("--to", "stop", metavar="KEY", help="Only keys before this one.")
@hex_option
@click.option("--compact", is_flag=True, help="Write one merged run a partition, without garbage.")
@click.option(
    "--flush", is_flag=True, help="Write memory to tables first, so that the copy opens without a replay."
)
@click.option("--verify", is_flag=True, help="Read every file back and compare it with its checksum.")
@click.option(
    "--link",
    type=click.Choice(["auto", "never"]),
    default="auto",
    show_default=True,
    help="auto: hard links where possible; never: a copy that shares nothing.",
)
@click.option("--copy", is_flag=True, help="The same as --link never.")
@click.option(
    "--offline", is_flag=True, help="Do not open PATH, change nothing in it: take it as it lies, locked."
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
    partitions: tuple[str, ...],
    start: str | None,
    stop: str | None,
    as_hex: bool,
    compact: bool,
    flush: bool,
    verify: bool,
    link: Literal["auto", "never"],
    copy: bool,
    offline: bool,
    metadata: dict[str, Any] | None,
) -> None:
    """Back the keyspace PATH up to TARGET, which must not exist.

    The result is a keyspace itself: opening it is restoring it.
    """
    if offline and flush:
        raise click.UsageError("--offline changes nothing in PATH: leave --flush out")
    with output.progress() as bars, cancel_on_interrupt() as cancel:
        task = bars.add_task("files", total=None, note="")

        def report(done_files: int, total_files: int, done_bytes: int, total_bytes: int) -> None:
            note = f"{human_bytes(done_bytes)} of {human_bytes(total_bytes)}"
            bars.update(task, completed=done_files, total=total_files, note=note)

        info = take(
            path,
            target,
            offline=offline,
            flush=flush,
            partitions=partitions or None,
            key_range=key_range_of(start, stop, as_hex=as_hex),
            compact=compact,
            verify=verify,
            link="never" if copy else link,
            metadata=metadata,
            progress=report,
            cancel=cancel,
        )
    if output.json:
        output.document(info)
    else:
        click.echo(describe(info))
