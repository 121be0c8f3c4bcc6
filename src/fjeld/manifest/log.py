"""The log of version edits: one file, appended to by one writer, read once at opening.

A manifest starts with a whole version and goes on with edits. It is never opened for writing again: each
opening, and each roll-over, starts a new one. A writer that closes in good order ends it with a seal, and
then every byte is accounted for; without the seal the process died, and an edit that was being written may be
torn.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fjeld.errors import ClosedError, CorruptionError, PoisonedError, UnsupportedFormatError
from fjeld.kernel import files
from fjeld.manifest import framing
from fjeld.manifest.edit import Edit
from fjeld.manifest.fields import newer_format
from fjeld.manifest.framing import Record
from fjeld.manifest.names import manifest_name, number_of_manifest
from fjeld.manifest.version import Version

__all__ = ["ManifestInfo", "ManifestReader", "ManifestWriter", "read_manifest", "sealed_manifest"]

# Below this a roll-over saves nothing: reading a megabyte takes milliseconds.
ROLL_MINIMUM_BYTES = 1 << 20
# The log may be this many times its snapshot: rolling over then adds a quarter to what is written, and
# opening reads four times the least it could.
ROLL_RATIO = 4


class ManifestWriter:
    """Owns the active manifest of a keyspace.

    Not thread-safe: the caller holds the manifest lock. After a failed append it is not known what the file
    ends with: the writer is `broken` and takes no more; a new manifest must be started, by reopening.
    """

    def __init__(self, directory: str | os.PathLike[str], number: int, version: Version) -> None:
        """Create the manifest with `version` as its first record. On disk, name included, when this returns.

        It counts only once CURRENT names it. If this fails, an unnamed file is left for recovery to delete.
        """
        self.number = number
        self.path = os.path.join(directory, manifest_name(number))
        self.broken = False
        self._keyspace = version.id
        self._pid = os.getpid()
        snapshot = _snapshot(number, version)
        self._snapshot_bytes = len(snapshot)
        self._file: files.AppendFile | None = files.AppendFile(self.path)
        try:
            self._file.append(framing.HEADER + snapshot)
            self._file.sync()
            files.sync_directory(directory)
        except BaseException:
            self.broken = True
            self._file.close()
            raise

    @property
    def size_bytes(self) -> int:
        """What the file holds."""
        return 0 if self._file is None else self._file.size

    def append(self, edit: Edit) -> None:
        """Add an edit; it is on disk when this returns.

        `OSError`: it is not known to be, and the writer is broken.
        """
        self._append(self._payload("edit", edit.to_json()))

    def should_roll(self) -> bool:
        """Whether the edits outweigh the version so much that a new manifest would be cheaper to read."""
        return self.size_bytes > max(ROLL_MINIMUM_BYTES, ROLL_RATIO * self._snapshot_bytes)

    def close(self) -> None:
        """Seal the file, unless the writer is broken, and let go of it. Closing twice is fine."""
        file = self._file
        if file is None:
            return
        try:
            # A child of fork holds the parent's descriptor, and must not write to the parent's file.
            if not self.broken and os.getpid() == self._pid:
                file.seal()
                self._append(self._payload("sealed", True))
        finally:
            self._file = None
            file.close()

    def _append(self, payload: dict[str, object]) -> None:
        if self.broken:
            raise PoisonedError(f"{self.path}: an earlier write failed; reopen the keyspace to recover")
        if self._file is None or os.getpid() != self._pid:
            raise ClosedError(f"{self.path}: the manifest is closed")
        record = framing.encode_record(payload, self._file.size)
        # Whatever interrupts the next two lines leaves the end of the file unknown.
        self.broken = True
        self._file.append(record)
        self._file.sync()
        self.broken = False

    def _payload(self, kind: str, value: object) -> dict[str, object]:
        return {"keyspace": self._keyspace, "manifest": self.number, kind: value}


def sealed_manifest(number: int, version: Version) -> bytes:
    """All of a manifest that says `version` and was closed: what a folder has that nobody writes to yet."""
    beginning = framing.HEADER + _snapshot(number, version)
    seal = {"keyspace": version.id, "manifest": number, "sealed": True}
    return beginning + framing.encode_record(seal, len(beginning))


def _snapshot(number: int, version: Version) -> bytes:
    """The first record."""
    mark = framing.mark(version.id, number)
    return framing.frame(b'%b"snapshot":%b}' % (mark, version.text().encode()), framing.HEADER_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestInfo:
    """What was met in reading a manifest."""

    path: str
    number: int
    edits: int
    size_bytes: int
    torn_bytes: int
    """What follows the last record: an edit that was never acknowledged."""
    sealed: bool
    """Whether it was closed in good order."""


def read_manifest(path: str | os.PathLike[str]) -> tuple[Version, ManifestInfo]:
    """The version that a manifest leads to.

    Damage is a `CorruptionError`; a torn edit at the end is left out. It may be read while its writer
    appends: that shows the version as of some edit.
    """
    reader = ManifestReader(path)
    return reader.version, reader.info()


class ManifestReader:
    """Reads a manifest, and then what its writer has appended since. `offset`: where the record begins that it
    is at. For one thread.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read all there is. FileNotFoundError; CorruptionError for damage."""
        self.path = os.fspath(path)
        number = number_of_manifest(Path(self.path).name)
        if number is None:
            raise CorruptionError("this is not the name of a manifest", path=self.path)
        self.number = number
        self.offset = 0
        self.edits = 0
        self.sealed = False
        self._keyspace: object = None
        self.size_bytes = 0
        self.data = files.read_file(self.path)
        with self._named():
            framing.check_header(self.data)
            self.offset = framing.HEADER_BYTES
            self.version = self._read_snapshot()
            self._read_edits()
            for problem in self.version.problems():
                raise CorruptionError(problem)
        self._let_go()

    def more(self) -> list[Edit]:
        """The edits that were appended since; they are in `version` now. As __init__."""
        self.data = files.read_file(self.path)
        with self._named():
            found = self._read_edits()
        self._let_go()
        return found

    def _let_go(self) -> None:
        """Of the bytes: a reader may live long."""
        self.size_bytes, self.data = len(self.data), b""

    def info(self) -> ManifestInfo:
        """What was met so far."""
        return ManifestInfo(
            path=self.path,
            number=self.number,
            edits=self.edits,
            size_bytes=self.size_bytes,
            torn_bytes=self.size_bytes - self.offset,
            sealed=self.sealed,
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors say which file, and where in it."""
        try:
            yield
        except CorruptionError as error:
            offset = self.offset if error.offset is None else error.offset
            raise CorruptionError(error.what, path=self.path, offset=offset) from error
        except UnsupportedFormatError as error:
            raise UnsupportedFormatError(f"{self.path}: {error}") from error

    def _read_edits(self) -> list[Edit]:
        found: list[Edit] = []
        while (next_one := self._next()) is not None:
            record, value = next_one
            edit = self._replay(value)
            if edit is not None:
                found.append(edit)
            self.offset = record.end
        return found

    def _read_snapshot(self) -> Version:
        record = framing.record_at(self.data, self.offset)
        if record is None:
            raise CorruptionError("the first record is damaged")
        value = record.decode()
        if value.get("manifest") != self.number:
            raise CorruptionError(f"this is manifest {value.get('manifest')} under another's name")
        if "snapshot" not in value:
            raise CorruptionError("the first record is no snapshot")
        self._keyspace = value.get("keyspace")
        version = Version.from_json(_content(value, "snapshot"))
        if version.id != self._keyspace:
            raise CorruptionError("the first record is of another keyspace")
        self.offset = record.end
        return version

    def _next(self) -> tuple[Record, dict[str, object]] | None:
        """The record at `offset` and what it says; None at the end of what was acknowledged."""
        if self.offset == len(self.data):
            return None
        if self.sealed:
            raise CorruptionError("bytes follow the seal")
        record = framing.record_at(self.data, self.offset)
        value = None if record is None else self._own(record)
        if record is not None and value is not None:
            return record, value
        self._require_torn()
        return None

    def _require_torn(self) -> None:
        """What is at `offset` must be garbage, or a part of one record.

        A process that dies leaves no more than that: each record is synced before the next is written.
        """
        mark = framing.mark(self._keyspace, self.number)
        payload = self.offset + framing.RECORD_HEADER_BYTES
        if self.data.find(mark, payload + 1) >= 0:
            raise CorruptionError("the record is damaged, and others follow it")
        if self.data.startswith(mark, payload) and framing.has_whole_payload(self.data, self.offset):
            raise CorruptionError("the record is damaged")

    def _replay(self, value: dict[str, object]) -> Edit | None:
        """Apply one record; the edit that it is, None for the seal."""
        if "sealed" in value:
            if _content(value, "sealed") is not True:
                raise CorruptionError("the seal is not one")
            self.sealed = True
            return None
        edit = Edit.from_json(_content(value, "edit"))
        self.edits += 1
        try:
            self.version = self.version.apply(edit)
        except ValueError as error:
            raise CorruptionError(f"the edit does not fit: {error}") from error
        return edit

    def _own(self, record: Record) -> dict[str, object] | None:
        """What the record says, or None: it is of another manifest."""
        value = record.decode()
        own = value.get("keyspace") == self._keyspace and value.get("manifest") == self.number
        return value if own else None


def _content(value: dict[str, object], kind: str) -> object:
    """The one member of a payload beside those that every payload has."""
    unknown = sorted(value.keys() - {"keyspace", "manifest", kind})
    if unknown:
        raise newer_format(f"the record has {', '.join(unknown)}")
    if kind not in value:
        raise CorruptionError(f"the record has no {kind}")
    return value[kind]
