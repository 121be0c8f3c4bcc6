"""What an export or an import has done: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["ExportInfo", "ImportInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInfo:
    """An export that was written."""

    path: Path | None
    """The file, absolute; None: it went into a file object."""
    keyspace_id: str
    """The identity of the keyspace."""
    created_at: datetime
    """When it began, UTC."""
    seqno: int
    """It holds exactly what was written up to this seqno."""
    partitions: tuple[str, ...]
    """The names of its partitions, sorted."""
    entries: int
    size_bytes: int
    """Of the file."""
    raw_bytes: int
    """Of the entries before compression."""
    digest: str
    """Of the content: what `Keyspace.digest` says of it, where all partitions were exported."""
    elapsed_seconds: float
    metadata: Mapping[str, Any] | None
    """The caller's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportInfo:
    """An export that became a keyspace."""

    path: Path
    """The new keyspace, absolute."""
    id: str
    """Its own identity."""
    keyspace_id: str
    """The identity of the keyspace that was exported."""
    created_at: datetime
    """When the export began, UTC."""
    seqno: int
    """That of the export; the new keyspace goes on from it."""
    partitions: tuple[str, ...]
    entries: int
    size_bytes: int
    """Of the export."""
    digest: str
    """Of the content; `Keyspace.digest` says the same."""
    elapsed_seconds: float
    metadata: Mapping[str, Any] | None
    """What the export was given."""
