"""checkpoint.json, read back (FORMATS.md): what a checkpoint says of itself. `info.encode_document` writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fjeld.backup.info import CHECKPOINT_NAME, FORMAT
from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.kernel import files
from fjeld.kernel.checksum import xxh128_hex
from fjeld.manifest import names
from fjeld.manifest.fields import MAX_BYTES, MAX_SEQNO, Fields, as_list
from fjeld.manifest.state import FileRecord, Parent

__all__ = ["CheckpointDocument", "is_inside", "read_document", "was_opened"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDocument:
    """What checkpoint.json says. `members` has all of it, also what this class does not name."""

    id: str
    parent: Parent
    created_at: datetime
    seqno: int
    partitions: tuple[str, ...]
    metadata: Mapping[str, Any] | None
    files: tuple[FileRecord, ...]
    """Each path is one inside of the folder."""
    members: Mapping[str, Any]


def was_opened(folder: str) -> bool:
    """Has the checkpoint been opened for writing since it was taken? Its files are others then."""
    return os.path.lexists(os.path.join(folder, names.LOCK_NAME))


def is_inside(path: str) -> bool:
    """Is this the relative path of a file in the folder, by its looks?"""
    parts = path.split("/")
    return "\0" not in path and "\\" not in path and not any(part in ("", ".", "..") for part in parts)


def read_document(folder: str) -> CheckpointDocument | None:
    """The document of the checkpoint in a folder; None where there is none. CorruptionError where it is
    damaged, or names files outside of the folder.
    """
    path = os.path.join(folder, CHECKPOINT_NAME)
    try:
        data = files.read_file(path)
    except FileNotFoundError:
        return None
    try:
        return _decode(data)
    except CorruptionError as error:
        raise CorruptionError(error.what, path=path, offset=error.offset) from None
    except UnsupportedFormatError as error:
        raise UnsupportedFormatError(f"{path}: {error}") from None


def _decode(data: bytes) -> CheckpointDocument:
    try:
        members = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise CorruptionError("this is not JSON; restore it from a backup", offset=0) from None
    if not isinstance(members, dict):
        raise CorruptionError("this is not a JSON object; restore it from a backup", offset=0)
    fields = Fields(members, "the checkpoint's document")
    checksum = fields.checksum("xxh128")
    rest = {name: value for name, value in members.items() if name != "xxh128"}
    if xxh128_hex(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()) != checksum:
        raise CorruptionError("its checksum does not match; restore it from a backup", offset=0)
    if fields.integer("format", 1, MAX_BYTES) > FORMAT:
        raise UnsupportedFormatError("the checkpoint is of a newer format; upgrade to read it")
    metadata = fields.take("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise CorruptionError("its metadata is not an object")
    try:
        created_at = datetime.fromisoformat(fields.text("created_at"))
    except ValueError:
        raise CorruptionError("its time is none") from None
    return CheckpointDocument(
        id=fields.identity("id"),
        parent=Parent.from_json(fields.take("parent")),
        created_at=created_at,
        seqno=fields.integer("seqno", 0, MAX_SEQNO),
        partitions=tuple(str(name) for name in as_list(fields.take("partitions"), "the partitions")),
        metadata=metadata,
        files=tuple(_record(value) for value in as_list(fields.take("files"), "the files")),
        members=rest,
    )


def _record(value: object) -> FileRecord:
    fields = Fields(value, "a file")
    record = FileRecord(
        fields.text("path"), fields.integer("size_bytes", 0, MAX_BYTES), fields.checksum("xxh128")
    )
    fields.done()
    if not is_inside(record.path):
        raise CorruptionError(f"it names a file outside of the folder ({record.path!r}): do not trust it")
    return record
