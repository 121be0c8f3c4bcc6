"""checkpoint.json, read back (docs/FORMATS.md). Its checksum is found right before anything in it is believed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fjeld.backup.info import CHECKPOINT_NAME, FORMAT, CheckpointInfo
from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.extraction import KeyRange
from fjeld.kernel import files
from fjeld.kernel.checksum import xxh128_hex
from fjeld.manifest import names
from fjeld.manifest.fields import MAX_BYTES, MAX_SEQNO, Fields, as_list
from fjeld.manifest.state import FileRecord, Parent

__all__ = [
    "CheckpointDocument",
    "decode_document",
    "find_document",
    "read_checkpoint",
    "read_document",
    "was_opened",
]

# A folder of the keyspace, a number of twelve digits, a kind: no path leads out of the checkpoint.
FILE_PATH = re.compile(r"[a-z]+/[0-9]{12}\.[a-z]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDocument:
    """What checkpoint.json says."""

    id: str
    parent: Parent
    created_at: datetime
    seqno: int
    partitions: tuple[str, ...]
    metadata: Mapping[str, Any] | None
    files: tuple[FileRecord, ...]
    chosen: tuple[str, ...] | None = None
    key_range: KeyRange | None = None
    compacted: bool = False


def read_checkpoint(folder: str | os.PathLike[str]) -> CheckpointInfo:
    """The checkpoint in a folder. What only the call that took it knew is 0 (bytes linked and copied, times).

    FileNotFoundError: there is no checkpoint.json. CorruptionError: it is damaged.
    """
    path = os.path.abspath(os.fsdecode(folder))
    document = read_document(path)
    return CheckpointInfo(
        path=Path(path),
        id=document.id,
        keyspace_id=document.parent.id,
        created_at=document.created_at,
        seqno=document.seqno,
        partitions=document.partitions,
        chosen=document.chosen,
        key_range=document.key_range,
        compacted=document.compacted,
        files=document.files,
        linked_bytes=0,
        reflinked_bytes=0,
        copied_bytes=0,
        stall_seconds=0.0,
        elapsed_seconds=0.0,
        metadata=document.metadata,
    )


def was_opened(folder: str) -> bool:
    """Has the checkpoint been opened for writing since it was taken? Its files are others then."""
    return os.path.lexists(os.path.join(folder, names.LOCK_NAME))


def find_document(folder: str) -> CheckpointDocument | None:
    """As `read_document`; None where there is none."""
    try:
        return read_document(folder)
    except FileNotFoundError:
        return None


def read_document(folder: str) -> CheckpointDocument:
    """What the checkpoint.json in a folder says. Errors name it."""
    path = os.path.join(folder, CHECKPOINT_NAME)
    data = files.read_file(path)
    try:
        return decode_document(data)
    except CorruptionError as error:
        raise CorruptionError(error.what, path=path, offset=error.offset) from error
    except UnsupportedFormatError as error:
        raise UnsupportedFormatError(f"{path}: {error}") from error


def decode_document(data: bytes) -> CheckpointDocument:
    """What `encode_document` wrote. Members that this version does not know are passed over: they add to what a
    checkpoint is, and what it is made of is in its manifest.
    """
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise CorruptionError("the description of the checkpoint is no JSON", offset=0) from None
    if not isinstance(document, dict):
        raise CorruptionError("the description of the checkpoint is no object", offset=0)
    if isinstance(document.get("format"), int) and document["format"] > FORMAT:
        raise UnsupportedFormatError(
            f"the checkpoint has format {document['format']}, this version reads up to {FORMAT}"
        )
    stated = document.pop("xxh128", None)
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    if stated != xxh128_hex(canonical.encode()):
        raise CorruptionError("the description of the checkpoint is damaged", offset=0)
    fields = Fields(document, "the checkpoint")
    metadata = fields.take("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise CorruptionError("the checkpoint has metadata that cannot be")
    partitions = tuple(fields.list("partitions"))
    return CheckpointDocument(
        id=fields.identity("id"),
        parent=Parent.from_json(fields.take("parent")),
        created_at=_time(fields.text("created_at")),
        seqno=fields.integer("seqno", 0, MAX_SEQNO),
        partitions=tuple(str(name) for name in partitions),
        metadata=metadata,
        files=tuple(_record(value) for value in fields.list("files")),
        chosen=_chosen(document.get("chosen")),
        key_range=_key_range(document.get("key_range")),
        compacted=document.get("compacted") is True,
    )


def _chosen(value: object) -> tuple[str, ...] | None:
    return None if value is None else tuple(str(name) for name in as_list(value, "the chosen partitions"))


def _key_range(value: object) -> KeyRange | None:
    if value is None:
        return None
    first, second = as_list(value, "the range of keys", 2)
    try:
        return (_key(first), _key(second))
    except (TypeError, ValueError):
        raise CorruptionError("the checkpoint has a range of keys that cannot be") from None


def _key(value: object) -> bytes | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("a key is hex")
    return None if value is None else bytes.fromhex(value)


def _record(value: object) -> FileRecord:
    fields = Fields(value, "a file of the checkpoint")
    path = fields.text("path")
    if not FILE_PATH.fullmatch(path):
        raise CorruptionError(f"the checkpoint names a file {path!r}, which cannot be one of its files")
    record = FileRecord(path, fields.integer("size_bytes", 0, MAX_BYTES), fields.checksum("xxh128"))
    fields.done()
    return record


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CorruptionError("the checkpoint has a created_at that cannot be") from None
    if time.tzinfo is None:
        raise CorruptionError("the checkpoint has a created_at without a zone")
    return time
