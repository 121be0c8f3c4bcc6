"""What the frames of an export that hold no entries say: JSON, UTF-8.

header          {"keyspace": uuid, "seqno": n, "created_at": time, "complete": are these all partitions?,
                 "metadata": {...} or null, "partitions": [{"name": ..., "options": {...}}, ...] by name}
end of a partition   {"name": ..., "entries": n, "xxh128": digest of its content}
end             {"entries": n, "chunks": n, "digest": digest of the keyspace}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fjeld.errors import CorruptionError
from fjeld.manifest.fields import MAX_BYTES, MAX_SEQNO, Fields
from fjeld.manifest.state import options_from_json
from fjeld.options import PartitionOptions

__all__ = ["End", "Header", "PartitionEnd", "PartitionHead"]


@dataclass(frozen=True, slots=True)
class PartitionHead:
    """A partition that follows."""

    name: str
    options: PartitionOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is exported."""

    keyspace_id: str
    seqno: int
    created_at: datetime
    complete: bool
    """Not only some of the partitions."""
    metadata: Mapping[str, Any] | None
    partitions: tuple[PartitionHead, ...]
    """In order of name; their chunks follow in the same order."""

    def encode(self) -> bytes:
        return _encode(
            {
                "keyspace": self.keyspace_id,
                "seqno": self.seqno,
                "created_at": self.created_at.isoformat(),
                "complete": self.complete,
                "metadata": self.metadata,
                "partitions": [
                    {"name": head.name, "options": head.options.to_json()} for head in self.partitions
                ],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Header:
        fields = Fields(_decode(data), "the header")
        metadata, complete = fields.take("metadata"), fields.take("complete")
        if not (metadata is None or isinstance(metadata, dict)) or not isinstance(complete, bool):
            raise CorruptionError("the header has members that cannot be")
        header = cls(
            keyspace_id=fields.identity("keyspace"),
            seqno=fields.integer("seqno", 0, MAX_SEQNO),
            created_at=_time(fields.text("created_at")),
            complete=complete,
            metadata=metadata,
            partitions=tuple(_partition(value) for value in fields.list("partitions")),
        )
        fields.done()
        names = [head.name for head in header.partitions]
        if names != sorted(set(names)):
            raise CorruptionError("the partitions are not in order of name")
        return header


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionEnd:
    """What a partition must have been."""

    name: str
    entries: int
    xxh128: str

    def encode(self) -> bytes:
        return _encode({"name": self.name, "entries": self.entries, "xxh128": self.xxh128})

    @classmethod
    def decode(cls, data: bytes) -> PartitionEnd:
        fields = Fields(_decode(data), "the end of a partition")
        end = cls(
            name=fields.partition_name("name"),
            entries=fields.integer("entries", 0, MAX_BYTES),
            xxh128=fields.checksum("xxh128"),
        )
        fields.done()
        return end


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What the export must have been."""

    entries: int
    chunks: int
    digest: str

    def encode(self) -> bytes:
        return _encode({"entries": self.entries, "chunks": self.chunks, "digest": self.digest})

    @classmethod
    def decode(cls, data: bytes) -> End:
        fields = Fields(_decode(data), "the end")
        end = cls(
            entries=fields.integer("entries", 0, MAX_BYTES),
            chunks=fields.integer("chunks", 0, MAX_BYTES),
            digest=fields.checksum("digest"),
        )
        fields.done()
        return end


def _partition(value: object) -> PartitionHead:
    fields = Fields(value, "a partition")
    head = PartitionHead(fields.partition_name("name"), options_from_json(fields.take("options")))
    fields.done()
    return head


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CorruptionError("the header has a created_at that cannot be") from None
    if time.tzinfo is None:
        raise CorruptionError("the header has a created_at without a zone")
    return time


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _decode(data: bytes) -> object:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        raise CorruptionError("the document of a frame is no JSON") from None
