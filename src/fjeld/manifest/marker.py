"""FJELD: the marker that says that a folder is a keyspace, and in which format it is.

fjeld keyspace format 1
"""

from __future__ import annotations

import contextlib
import os
import re

from fjeld.errors import CorruptionError, NotAKeyspaceError, UnsupportedFormatError
from fjeld.kernel import files
from fjeld.manifest.names import MARKER_NAME, MARKER_STAGING_NAME

__all__ = ["CONTENT", "FORMAT", "check_marker", "write_marker"]

FORMAT = 1
CONTENT = f"fjeld keyspace\nformat {FORMAT}\n".encode("ascii")
PATTERN = re.compile(rb"fjeld keyspace\nformat ([1-9][0-9]{0,8})\n")


def write_marker(directory: str | os.PathLike[str]) -> None:
    """Make the folder a keyspace: the last step of its creation. Whole and on disk when this returns.

    Requires: the lock file of the folder.
    """
    staging = os.path.join(directory, MARKER_STAGING_NAME)
    with contextlib.suppress(FileNotFoundError):
        files.unlink(staging)  # of a creation that did not come to its end
    files.create_file(staging, CONTENT, seal=True)
    files.rename(staging, os.path.join(directory, MARKER_NAME))
    files.sync_directory(directory)


def check_marker(directory: str | os.PathLike[str]) -> None:
    """The folder must be a keyspace, in a format that this version knows."""
    path = os.path.join(directory, MARKER_NAME)
    try:
        data = files.read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        raise NotAKeyspaceError(
            f"{os.fspath(directory)} holds no keyspace (there is no {MARKER_NAME} in it); "
            "give the folder of one, or have one made (create=True, `fjeld put --create`)"
        ) from None
    match = PATTERN.fullmatch(data)
    if match is None:
        raise CorruptionError("the marker is damaged; restore it from a backup", path=path, offset=0)
    found = int(match[1])
    if found > FORMAT:
        raise UnsupportedFormatError(
            f"{path}: the keyspace has format {found}, this version reads up to {FORMAT}; upgrade to open it"
        )
