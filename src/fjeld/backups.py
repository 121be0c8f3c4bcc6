"""Backups that are not of one open keyspace: of one that nobody has open, and of several at one moment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fjeld.backup.checkpoint import take_checkpoint
from fjeld.backup.info import CheckpointInfo
from fjeld.backup.progress import Progress
from fjeld.backup.request import Buffer, check_request, check_target
from fjeld.backup.together import take_together
from fjeld.cut import Cut, cut_memory, cut_still
from fjeld.engine import Engine
from fjeld.keyspace import Keyspace
from fjeld.manifest.version import Version
from fjeld.opening import replayed
from fjeld.options import KeyspaceOptions

__all__ = ["backup_offline", "backup_together"]

StrPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class _Unopened:
    """A keyspace that nobody has open, as a checkpoint's source (`backup.making.Source`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.path = engine.path

    def check_open(self) -> None:
        """It is locked, and stays as it is."""

    def names(self) -> list[str]:
        return self._engine.names()

    def flush_all(self, names: tuple[str, ...] | None = None) -> None:
        raise AssertionError("nothing is written to a keyspace that is not open")

    def cut(self, make: Callable[..., Any] | None = None, *, memory: bool = False) -> Cut:
        return cut_memory(self._engine, make) if memory else cut_still(self._engine)

    def finish(self, cut: Cut) -> Version:
        return cut.finish(self._engine.rotation)

    def now_ns(self) -> int:
        return self._engine.now_ns()


def backup_offline(
    source: StrPath,
    target: StrPath,
    *,
    partitions: Iterable[str] | None = None,
    key_range: tuple[Buffer | None, Buffer | None] | None = None,
    compact: bool = False,
    link: str = "auto",
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    verify: bool = False,
) -> CheckpointInfo:
    """Take a checkpoint of a keyspace that nobody has open, under its lock. The options are those of
    `Keyspace.backup_to`.

    Nothing in the source is changed, and it may be read-only. Its journals are linked as they are, also one
    that a killed process left without a seal: its bytes are brought to disk first, and no recovery ever writes
    to an old file. (A source without a lock file, a checkpoint that was never opened, gets an empty one.)

    LockedError: it is open, here or in another process. NotAKeyspaceError: there is none. CorruptionError: what
    opening would refuse is refused.
    """
    folder = os.path.abspath(os.fsdecode(source))
    request = check_request(
        partitions=partitions,
        key_range=key_range,
        compact=compact,
        link=link,
        metadata=metadata,
        verify=verify,
    )
    path = check_target(folder, os.fsdecode(target))
    with replayed(folder, KeyspaceOptions()) as engine:
        return take_checkpoint(_Unopened(engine), path, request, progress=progress, cancel=cancel)


def backup_together(
    targets: Mapping[StrPath, Keyspace],
    *,
    flush: bool = False,
    link: str = "auto",
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    verify: bool = False,
) -> dict[Path, CheckpointInfo]:
    """Take a checkpoint of each keyspace to its target, all at one moment: what was written to one before
    something was written to another is not missing where the other is there.

    The options are those of `Keyspace.backup_to`; metadata goes into each checkpoint. Writers of all keyspaces
    wait together, for microseconds. The targets appear all, or none; whatever fails leaves none behind.
    """
    if not isinstance(targets, Mapping):
        raise TypeError(f"targets must map targets to keyspaces, not be {type(targets).__name__}")
    request = check_request(flush=flush, link=link, metadata=metadata, verify=verify)
    chosen: dict[str, Engine] = {}
    for target, keyspace in targets.items():
        path = os.path.abspath(os.fsdecode(target))
        if path in chosen:
            raise ValueError(f"the target {path} is given twice")
        chosen[path] = _engine_of(keyspace)
    return take_together(chosen, request, progress=progress, cancel=cancel)


def _engine_of(keyspace: object) -> Engine:
    """Of any kind of open keyspace: plain or transactional."""
    engine = getattr(keyspace, "_engine", None)
    if not isinstance(engine, Engine):
        raise TypeError(f"a keyspace that is open is wanted, not {type(keyspace).__name__}")
    return engine
