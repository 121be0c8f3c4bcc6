"""What makes a folder of files a keyspace: a manifest of one record, CURRENT, checkpoint.json, and the marker last."""

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
from fjeld.manifest.current import publish_current
from fjeld.manifest.log import ManifestWriter
from fjeld.manifest.marker import write_marker
from fjeld.manifest.state import FileRecord, Parent
from fjeld.manifest.version import Version

__all__ = ["copy_of", "write_documents"]


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
    """On disk when this returns. The manifest has the last number that the version has given."""
    number = version.next_file - 1
    ManifestWriter(folder, number, version).close()
    publish_current(folder, number)
    document = encode_document(
        version, records, created_at, metadata, chosen=chosen, key_range=key_range, compacted=compacted
    )
    files.create_file(os.path.join(folder, CHECKPOINT_NAME), document, seal=True)
    write_marker(folder)
