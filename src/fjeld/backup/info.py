"""What a checkpoint is: the value that describes it, and its document, checkpoint.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fjeld.extraction import KeyRange
from fjeld.kernel.checksum import xxh128_hex
from fjeld.manifest.state import FileRecord
from fjeld.manifest.version import Version

__all__ = ["CHECKPOINT_NAME", "FORMAT", "CheckpointInfo", "encode_document", "time_of"]

CHECKPOINT_NAME = "checkpoint.json"
FORMAT = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(now_ns: int) -> datetime:
    """What a clock of nanoseconds since the epoch says, UTC, to the microsecond."""
    return EPOCH + timedelta(microseconds=now_ns // 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """A checkpoint that was taken."""

    path: Path
    """The folder, absolute. It is a keyspace: opening it is restoring it."""
    id: str
    """The checkpoint's own identity, a UUID."""
    keyspace_id: str
    """The identity of the keyspace it was taken from."""
    created_at: datetime
    """The moment of the cut, UTC."""
    seqno: int
    """It holds exactly what was written up to this seqno."""
    partitions: tuple[str, ...]
    """The names of its partitions, sorted."""
    chosen: tuple[str, ...] | None = None
    """Where only these partitions were wanted: their names, sorted. The source may have had others."""
    key_range: KeyRange | None = None
    """Where only keys from the first up to, not including, the second were wanted (None: an open end)."""
    compacted: bool = False
    """Whether it was written as one merged run a partition."""
    files: tuple[FileRecord, ...]
    """Its tables and journals: relative path, size in bytes, XXH3-128."""
    linked_bytes: int
    """Size of the files that are hard links to the source's: no byte of them was copied."""
    reflinked_bytes: int
    """Size of the files that share blocks with the source's until one is written."""
    copied_bytes: int
    """Bytes that were copied."""
    written_bytes: int = 0
    """Size of the tables that were written for it: what was in memory, or was merged or cut to a range."""
    stall_seconds: float
    """How long the commit lock was held: what a writer may have waited at most."""
    elapsed_seconds: float
    """From the call to the durable target."""
    metadata: Mapping[str, Any] | None
    """The caller's own."""
    snapshot: Any = field(default=None, compare=False)
    """With with_snapshot=True: a Snapshot of the source at exactly `seqno`."""

    @property
    def complete(self) -> bool:
        """Whether it holds everything that the source held at `seqno`."""
        return self.chosen is None and self.key_range is None


def encode_document(
    version: Version,
    records: Iterable[FileRecord],
    created_at: datetime,
    metadata: Mapping[str, Any] | None,
    *,
    chosen: tuple[str, ...] | None = None,
    key_range: KeyRange | None = None,
    compacted: bool = False,
) -> bytes:
    """checkpoint.json for a checkpoint that consists of `version` and its files; a file a line.

    The last three are members only where they are not what they are by default.

    Its last member is the checksum of the others, as canonical JSON: members in order, no spaces.
    """
    assert version.parent is not None
    document: dict[str, Any] = {
        "format": FORMAT,
        "id": version.id,
        "parent": version.parent.to_json(),
        "created_at": created_at.isoformat(),
        "seqno": version.seqno,
        "partitions": sorted(state.name for state in version.partitions.values()),
        "metadata": metadata,
        "files": [],
    }
    if chosen is not None:
        document["chosen"] = list(chosen)
    if key_range is not None:
        document["key_range"] = [None if end is None else end.hex() for end in key_range]
    if compacted:
        document["compacted"] = True
    # The files by hand: a checkpoint may have many thousands, and paths and checksums need no escapes.
    entries = [
        f'{{"path":"{file.path}","size_bytes":{file.size_bytes},"xxh128":"{file.xxh128}"}}'
        for file in records
    ]
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    head, tail = canonical.split('"files":[]', 1)
    checksum = xxh128_hex(f'{head}"files":[{",".join(entries)}]{tail}'.encode())
    lines = ",\n".join(entries)
    return f'{head}"files":[\n{lines}\n]{tail[:-1]},"xxh128":"{checksum}"}}\n'.encode()
