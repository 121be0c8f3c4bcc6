"""What an export says of itself: its header, for `fjeld.inspect`."""

from __future__ import annotations

import os

from fjeld.backup.inspect import InspectedExport
from fjeld.errors import CorruptionError
from fjeld.export.documents import Header
from fjeld.export.frames import HEADER, FrameReader

__all__ = ["inspect_export"]


def inspect_export(path: str) -> InspectedExport:
    """The header of the export in a file; nothing behind it is read. CorruptionError: it is damaged."""
    with open(path, "rb") as file:
        frame = FrameReader(file, path).read()
    if frame.kind != HEADER:
        raise CorruptionError("the export does not begin with its header", path=path, offset=frame.offset)
    header = Header.decode(frame.payload)
    return InspectedExport(
        path=path,
        keyspace_id=header.keyspace_id,
        seqno=header.seqno,
        created_at=header.created_at,
        complete=header.complete,
        partitions=tuple(head.name for head in header.partitions),
        metadata=header.metadata,
        size_bytes=os.stat(path).st_size,
    )
