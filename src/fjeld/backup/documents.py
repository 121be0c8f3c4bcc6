"""What makes a folder of files a keyspace: a manifest of one record and its seal, CURRENT, checkpoint.json, the marker.

In a staging folder nobody looks before it gets its name, so there each of them is made under its own name at once, as
a whole: no renames, no folder synced in between, all four brought to disk together. What a power cut leaves of them
before the folder is renamed is a part of a left-over. Whoever makes the folder syncs its names: see `write_documents`.
In a folder of the caller's (`put_documents`) the marker comes last, by rename, when all else is on disk: what a crash
leaves is no keyspace.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fjeld.backup.info import CHECKPOINT_NAME, encode_document
from fjeld.extraction import KeyRange
from fjeld.kernel import files
from fjeld.kernel.file_groups import create_files
from fjeld.manifest import marker, names
from fjeld.manifest.current import current_line
from fjeld.manifest.log import sealed_manifest
from fjeld.manifest.state import FileRecord, Parent
from fjeld.manifest.version import Version

__all__ = ["copy_of", "put_documents", "write_documents"]


def copy_of(version: Version, seqno: int) -> Version:
    """The version that a copy of all files of `version` is: as it was at `seqno`, with an identity of its own."""
    return replace(
        version,
        id=str(uuid.uuid4()),
        parent=Parent(version.id, seqno),
        seqno=seqno,
        next_file=version.next_file + 1,
    )


def write_documents(
    folder: str,
    version: Version,
    records: Iterable[FileRecord],
    created_at: datetime,
    metadata: Mapping[str, Any] | None,
    *,
    chosen: tuple[str, ...] | None = None,
    key_range: KeyRange | None = None,
    compacted: bool = False,
) -> None:
    """Into a staging folder. Their bytes are on disk when this returns; their names, once the folder is synced.

    The manifest has the last number that the version has given.
    """
    document = encode_document(
        version, records, created_at, metadata, chosen=chosen, key_range=key_range, compacted=compacted
    )
    _create(folder, {**_manifest(version), CHECKPOINT_NAME: document, names.MARKER_NAME: marker.CONTENT})


def put_documents(
    folder: str,
    version: Version,
    records: Iterable[FileRecord],
    created_at: datetime,
    metadata: Mapping[str, Any] | None,
) -> None:
    """Into a folder that others may see. All on disk when this returns. It is a keyspace from the last moment on."""
    document = encode_document(version, records, created_at, metadata)
    _create(folder, {**_manifest(version), CHECKPOINT_NAME: document})
    files.sync_directory(folder)
    marker.write_marker(folder)


def _manifest(version: Version) -> dict[str, bytes]:
    number = version.next_file - 1
    return {
        names.manifest_name(number): sealed_manifest(number, version),
        names.CURRENT_NAME: current_line(number),
    }


def _create(folder: str, documents: Mapping[str, bytes]) -> None:
    create_files([os.path.join(folder, name) for name in documents], list(documents.values()))
