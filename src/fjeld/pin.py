"""A pin: the files of one moment, kept alive without a copy, for tools of one's own (`tar`, `rsync`, an upload).

The files are tables and journals. What makes a keyspace of them is small and new for every copy (it has an identity of
its own): manifest, CURRENT, marker and checkpoint.json, which `Pin.write_metadata` writes to a folder of the
caller's. Both together are a checkpoint:

    with keyspace.pin() as pin, tempfile.TemporaryDirectory() as small:
        pin.write_metadata(small)
        names = "\\n".join(pin.names).encode()
        subprocess.run(
            ["tar", "-cf", "copy.tar", "-C", small, ".", "-C", keyspace.path, "--files-from=-"],
            input=names, check=True,
        )

Alternatives: to put the small files into the keyspace's own folder (nothing is ever written there for a copy), or to
offer them as bytes (each tool would have to write them anyway).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fjeld.backup.documents import copy_of, put_documents
from fjeld.backup.info import time_of
from fjeld.backup.metadata import check_metadata
from fjeld.engine import Engine
from fjeld.kernel import files
from fjeld.manifest import names

__all__ = ["Pin", "PinnedFile"]


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One immutable file: where it is, and what its bytes are."""

    path: Path
    size_bytes: int
    xxh128: str

    @property
    def name(self) -> str:
        """Where it belongs in a copy: the path relative to the keyspace's folder."""
        return "/".join(self.path.parts[-2:])


class Pin:
    """The immutable files that hold everything up to `seqno`. A context manager; release it, else nothing is
    deleted.

    Nobody waits for a pin: flushes and compactions go on, and delete what they replace when the pin is
    released.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cut = engine.cut()
        try:
            self._version = version = engine.finish(self._cut)
        except BaseException:
            self._cut.release()
            raise
        self._created_at = time_of(engine.now_ns())
        self.seqno = self._cut.seqno
        """What was written up to this seqno is in the files."""
        self.files = [
            PinnedFile(Path(engine.path, file.path), file.size_bytes or 0, file.xxh128 or "")
            for file in version.files()
        ]
        """Absolute paths, sizes and checksums (XXH3-128)."""

    @property
    def names(self) -> list[str]:
        """The paths of the files relative to the keyspace's folder, where they belong in a copy too."""
        return [file.name for file in self.files]

    def write_metadata(
        self, folder: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None
    ) -> str:
        """Write what makes a keyspace of the files into a folder, which is made where it is not there; the identity of
        the copy, a new one with each call.

        With the pin's files under their names beside it, it is a checkpoint: open, verify or restore it. Folder and files
        are on disk when this returns. FileExistsError where the folder holds a keyspace. metadata: as for backup_to.
        """
        metadata = check_metadata(metadata)
        target = os.path.abspath(os.fsdecode(folder))
        for name in (names.MARKER_NAME, names.CURRENT_NAME):
            if os.path.lexists(os.path.join(target, name)):
                raise FileExistsError(f"{target} holds a keyspace: give a folder for the metadata alone")
        for path in (target, *(os.path.join(target, name) for name in names.FILE_DIRECTORIES)):
            with suppress(FileExistsError):
                files.make_directory(path)
        version = copy_of(self._version, self.seqno)
        put_documents(target, version, tuple(version.files()), self._created_at, metadata)
        files.sync_directory(os.path.dirname(target))
        return version.id

    def release(self) -> None:
        """Let the files go. Releasing twice is fine."""
        self._cut.release()

    def __enter__(self) -> Pin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
