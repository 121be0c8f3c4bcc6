"""The checkpoint: a consistent copy of a running keyspace, in seven steps that nobody waits for.

    1  refuse a target that exists; make the staging folder beside it
    2  under the commit lock: switch the journal, take version and seqno, pin them      writers: microseconds
    3  sync the sealed journal, cut its unused tail
    4  link every table and journal of the pinned version (or clone, or copy)
    5  write a one-record manifest, CURRENT, the marker and checkpoint.json
    6  sync the folders from below, rename staging to target, sync the parent
    7  let go of the pin

Files are written once (law 1), so a link is as good as a copy; the pin is a reference to files (law 2), so
flushes and compactions go on and install their results meanwhile.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fjeld.backup.info import CHECKPOINT_NAME, CheckpointInfo, encode_document
from fjeld.backup.linker import Linker
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.staging import Staging
from fjeld.errors import InvalidOptionError
from fjeld.kernel import files
from fjeld.manifest.current import publish_current
from fjeld.manifest.log import ManifestWriter
from fjeld.manifest.marker import write_marker
from fjeld.manifest.state import FileRecord, Parent
from fjeld.manifest.version import Version
from fjeld.sync_points import sync_point

__all__ = ["EPOCH", "Source", "check_metadata", "checkpoint_of", "take_checkpoint", "write_metadata"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CutLike(Protocol):
    """One pinned moment."""

    seqno: int
    stall_seconds: float
    snapshot: Any

    def release(self) -> None: ...


C = TypeVar("C", bound=CutLike)


class Source(Protocol[C]):
    """What a checkpoint needs of an open keyspace: versions and pins, nothing of memtables or levels."""

    @property
    def path(self) -> str: ...
    def check_open(self) -> None: ...
    def flush_all(self) -> None: ...
    def cut(self, make: Callable[..., Any] | None = None) -> C: ...
    def finish(self, cut: C) -> Version: ...
    def now_ns(self) -> int: ...


def take_checkpoint(
    source: Source[C],
    target: str | os.PathLike[str],
    *,
    flush: bool,
    link: str,
    metadata: Mapping[str, Any] | None,
    progress: Progress | None,
    cancel: threading.Event | None,
    snapshot: Callable[..., Any] | None,
) -> CheckpointInfo:
    """See Keyspace.backup_to.

    snapshot: makes the info's snapshot; the source calls it in the moment of the cut.
    """
    started = time.perf_counter()
    source.check_open()
    path = _check_target(source.path, os.fsdecode(target))
    metadata = check_metadata(metadata)
    if link not in ("auto", "never"):
        raise InvalidOptionError(f'link must be "auto" or "never", not {link!r}')
    opened: Any = None
    with Staging(path) as staging:
        sync_point("backup:staged")
        if flush:
            source.flush_all()
        cut = source.cut(snapshot)
        opened = cut.snapshot
        try:
            sync_point("backup:cut")
            created_at = EPOCH + timedelta(microseconds=source.now_ns() // 1000)
            pinned = source.finish(cut)
            sync_point("backup:finished")
            records = tuple(pinned.files())
            linker = _move(source.path, staging.path, records, link, progress, cancel)
            sync_point("backup:linked")
            source.check_open()
            version = checkpoint_of(pinned, cut.seqno)
            write_metadata(staging.path, version, records, created_at, metadata)
            sync_point("backup:written")
            source.check_open()
            staging.publish()
            sync_point("backup:published")
        except BaseException as error:
            if opened is not None:
                opened.close()
            if isinstance(error, OSError):
                source.check_open()  # closed meanwhile: files may have gone, and that is why
            raise
        finally:
            cut.release()
    assert version.parent is not None
    return CheckpointInfo(
        path=Path(path),
        id=version.id,
        keyspace_id=version.parent.id,
        created_at=created_at,
        seqno=cut.seqno,
        partitions=tuple(sorted(state.name for state in version.partitions.values())),
        files=records,
        linked_bytes=linker.linked_bytes,
        reflinked_bytes=linker.reflinked_bytes,
        copied_bytes=linker.copied_bytes,
        stall_seconds=cut.stall_seconds,
        elapsed_seconds=time.perf_counter() - started,
        metadata=metadata,
        snapshot=opened,
    )


def _check_target(source: str, target: str) -> str:
    """Step 1: the absolute path of the target, which does not exist, has a parent, and is outside of the
    source.
    """
    path = os.path.abspath(target)
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already: a checkpoint never replaces anything")
    parent = os.path.dirname(path)
    if os.path.exists(parent) and not os.path.isdir(parent):
        raise NotADirectoryError(f"{parent} is not a folder: a checkpoint has to go into one")
    if not os.path.isdir(parent):
        raise FileNotFoundError(f"the folder {parent} does not exist: make it first")
    inside = os.path.join(os.path.realpath(parent), "")
    if inside.startswith(os.path.join(os.path.realpath(source), "")):
        raise ValueError(f"{path} lies inside the keyspace {source}: choose a folder outside of it")
    return path


def check_metadata(metadata: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The caller's metadata as it will be read back."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a mapping that JSON can hold, not {type(metadata).__name__}")
    try:
        read_back: dict[str, Any] = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata must be what JSON can hold: {error}") from error
    return read_back


def _move(
    source: str,
    staging: str,
    records: Sequence[FileRecord],
    link: str,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> Linker:
    """Step 4."""
    meter = Meter(len(records), sum(record.size_bytes or 0 for record in records), progress, cancel)
    meter.check()
    linker = Linker(source, staging, meter, link=link == "auto")
    linker.move(records)
    return linker


def checkpoint_of(pinned: Version, seqno: int) -> Version:
    """The version that the checkpoint is: the pinned one with an identity of its own."""
    return replace(
        pinned,
        id=str(uuid.uuid4()),
        parent=Parent(pinned.id, seqno),
        seqno=seqno,
        next_file=pinned.next_file + 1,
    )


def write_metadata(
    staging: str,
    version: Version,
    records: Sequence[FileRecord],
    created_at: datetime,
    metadata: Mapping[str, Any] | None,
) -> None:
    """Step 5."""
    number = version.next_file - 1
    ManifestWriter(staging, number, version).close()
    publish_current(staging, number)
    document = encode_document(version, records, created_at, metadata)
    files.create_file(os.path.join(staging, CHECKPOINT_NAME), document, seal=True)
    write_marker(staging)
