"""The folder that the verbs work on, and how a checkpoint looks in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fjeld import CheckpointFolder, CheckpointInfo, DamagedCheckpoint, NotAKeyspaceError

__all__ = ["describe", "facts", "folder_argument", "opened", "tell_damaged"]

folder_argument = click.argument("folder", type=click.Path(path_type=Path))


def opened(folder: Path) -> CheckpointFolder:
    """The folder, which must exist: only `take` makes one."""
    if not folder.is_dir():
        raise NotAKeyspaceError(f"{folder} is not a folder; `fjeld checkpoints take` makes one")
    return CheckpointFolder(folder)


def facts(info: CheckpointInfo) -> dict[str, Any]:
    """A checkpoint for machines, without its files."""
    return {
        "path": info.path,
        "id": info.id,
        "keyspace_id": info.keyspace_id,
        "created_at": info.created_at,
        "seqno": info.seqno,
        "partitions": info.partitions,
        "files": len(info.files),
        "bytes": sum(record.size_bytes or 0 for record in info.files),
        "metadata": info.metadata,
    }


def describe(info: CheckpointInfo) -> str:
    """Its name, moment and seqno."""
    return f"{info.path.name}  {info.created_at.isoformat(timespec='seconds')}  seqno {info.seqno}"


def tell_damaged(damaged: tuple[DamagedCheckpoint, ...] | list[DamagedCheckpoint]) -> None:
    """On standard error: they are nobody's to overlook."""
    for each in damaged:
        click.echo(f"fjeld: {each.path.name} is no sound checkpoint: {each.error}", err=True)
