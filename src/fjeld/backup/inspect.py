"""`fjeld.inspect`: what a path is, without opening it.

Read are the marker, CURRENT, the manifest, checkpoint.json and the names in the folder; no table and no journal. So
the seqno is the one that is known to be on disk: journals may hold more, and `open_readonly` shows it.

A file, not a folder, is told by its first bytes (`file_kinds`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fjeld.backup.checkpoint_file import CheckpointDocument, find_document, was_opened
from fjeld.backup.file_kinds import kind_of_file
from fjeld.kernel import files
from fjeld.manifest import names
from fjeld.manifest.current import read_current
from fjeld.manifest.log import ManifestInfo
from fjeld.manifest.marker import FORMAT, check_marker
from fjeld.manifest.state import FileRecord, PartitionState
from fjeld.manifest.version import Version
from fjeld.options import PartitionOptions
from fjeld.recovery.folder import list_folder, look, read_version

__all__ = ["InspectedExport", "InspectedPartition", "Inspection", "inspect"]

# Two looks at the manifest agree at once, unless an edit falls between them.
ATTEMPTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedPartition:
    """A partition, as the manifest has it: what is in journals only is not counted."""

    id: int
    name: str
    options: PartitionOptions
    tables: int
    size_bytes: int
    """Of its tables and blob files."""
    entries: int
    """In its tables: overwritten and removed ones that were not compacted yet count too."""
    tombstones: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is at a path."""

    path: Path
    """Absolute."""
    kind: str
    """"keyspace", or "checkpoint": one that was never opened for writing."""
    format: int
    id: str
    parent: tuple[str, int] | None
    """Of a checkpoint, or what came of one: the id of its source, and the seqno at which it was taken."""
    seqno: int
    """Up to this seqno everything is known to be on disk; journals may hold more."""
    created_at: datetime | None
    """When the checkpoint was taken, UTC; None for a keyspace that began empty."""
    metadata: Mapping[str, Any] | None
    """What the caller of backup_to gave."""
    in_use: bool | None
    """Whether it is open for writing somewhere; None: that cannot be told."""
    closed_cleanly: bool
    """Whether the manifest ends with its seal: nothing has it open, and nothing died having it open."""
    partitions: tuple[InspectedPartition, ...]
    """Sorted by name."""
    files: tuple[FileRecord, ...]
    """Tables, blob files and finished journals: relative path, size in bytes, XXH3-128."""
    journals: tuple[FileRecord, ...]
    """What opening replays: all journals from the floor on, with their sizes now; checksums of finished ones."""
    manifest: str
    """The name of the manifest that counts."""
    manifest_bytes: int

    @property
    def size_bytes(self) -> int:
        """Of all tables, blob files and journals."""
        tables = sum(partition.size_bytes for partition in self.partitions)
        return tables + sum(journal.size_bytes or 0 for journal in self.journals)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedExport:
    """What `inspect` gives for the file of an export: what its header says."""

    path: str
    """Absolute."""
    keyspace_id: str
    """Of the source."""
    seqno: int
    """It holds what was written up to this seqno."""
    created_at: datetime
    """The moment of its snapshot, UTC."""
    complete: bool
    """Whether all partitions are in it."""
    partitions: tuple[str, ...]
    """Sorted."""
    metadata: Mapping[str, Any] | None
    """What the source was given, where it is a checkpoint."""
    size_bytes: int


def inspect(path: str | os.PathLike[str]) -> Inspection | InspectedExport:
    """What is at a path: identity, lineage, seqno, partitions, files, metadata; read without opening it.

    Any keyspace, live or closed, or checkpoint, or the file of an export; nothing is written. NotAKeyspaceError: it is
    something else.
    CorruptionError: it cannot be read. UnsupportedFormatError: a newer Fjeld wrote it.
    """
    folder = os.path.abspath(os.fsdecode(path))
    if os.path.isfile(folder):
        return kind_of_file(folder).inspect(folder)
    check_marker(folder)
    document = find_document(folder)
    version, manifest, journals = _read(folder)
    return _inspection(folder, version, manifest, journals, document)


def _read(folder: str) -> tuple[Version, ManifestInfo, tuple[FileRecord, ...]]:
    """Version and journals of one moment, or, of a keyspace that changes all the time, of two that are close."""
    for attempt in range(ATTEMPTS):
        number = read_current(folder)
        try:
            version, manifest = read_version(folder, number)
        except Exception:
            if attempt + 1 < ATTEMPTS and look(folder)[0] != number:
                continue
            raise
        journals = _journals(folder, version)
        if look(folder) == (number, manifest.size_bytes):
            break
    return version, manifest, journals


def _journals(folder: str, version: Version) -> tuple[FileRecord, ...]:
    finished = {journal.number: journal for journal in version.journals}
    numbers = {
        number
        for name in list_folder(folder, lenient=True).journals
        if (number := names.number_of_journal(name)) is not None and number >= version.journal_floor
    }
    found: list[FileRecord] = []
    for number in sorted(numbers | finished.keys()):
        meta = finished.get(number)
        size_bytes = None if meta is None else meta.size_bytes
        if size_bytes is None:
            try:
                size_bytes = os.stat(os.path.join(folder, names.journal_path(number))).st_size
            except FileNotFoundError:
                continue
        found.append(
            FileRecord(names.journal_path(number), size_bytes, None if meta is None else meta.xxh128)
        )
    return tuple(found)


def _inspection(
    folder: str,
    version: Version,
    manifest: ManifestInfo,
    journals: tuple[FileRecord, ...],
    document: CheckpointDocument | None,
) -> Inspection:
    states = sorted(version.partitions.values(), key=lambda state: state.name)
    return Inspection(
        path=Path(folder),
        kind="checkpoint" if document is not None and not was_opened(folder) else "keyspace",
        format=FORMAT,
        id=version.id,
        parent=None if version.parent is None else (version.parent.id, version.parent.seqno),
        seqno=version.seqno,
        created_at=None if document is None else document.created_at,
        metadata=None if document is None else document.metadata,
        in_use=files.is_locked(os.path.join(folder, names.LOCK_NAME)),
        closed_cleanly=manifest.sealed,
        partitions=tuple(map(_partition, states)),
        files=tuple(version.files()),
        journals=journals,
        manifest=names.manifest_name(manifest.number),
        manifest_bytes=manifest.size_bytes,
    )


def _partition(state: PartitionState) -> InspectedPartition:
    tables = list(state.tables())
    return InspectedPartition(
        id=state.id,
        name=state.name,
        options=state.options,
        tables=len(tables),
        size_bytes=sum(table.size_bytes for table in tables) + sum(blob.size_bytes for blob in state.blobs),
        entries=sum(table.entries for table in tables),
        tombstones=sum(table.tombstones + table.weak_tombstones for table in tables),
    )
