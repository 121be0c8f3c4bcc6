"""CURRENT: one line, the name of the manifest that counts.

It is only ever replaced by rename, so that whoever reads it sees the old manifest or the new one. A damaged
line can not be told from another name; it then names a manifest that is not there, and that is
`CorruptionError` too.
"""

from __future__ import annotations

import os

from fjeld.errors import CorruptionError
from fjeld.kernel import files
from fjeld.manifest.names import CURRENT_NAME, current_staging_name, manifest_name, number_of_manifest

__all__ = ["current_line", "publish_current", "read_current"]


def read_current(directory: str | os.PathLike[str]) -> int:
    """The number of the manifest that counts."""
    path = os.path.join(directory, CURRENT_NAME)
    try:
        data = files.read_file(path)
    except FileNotFoundError:
        raise CorruptionError(
            "CURRENT is missing; restore it, or the keyspace, from a backup", path=path
        ) from None
    line = data.decode("ascii", errors="replace")
    number = number_of_manifest(line.removesuffix("\n"))
    if number is None or data != current_line(number):
        raise CorruptionError(
            "this names no manifest; restore it, or the keyspace, from a backup", path=path, offset=0
        )
    return number


def current_line(number: int) -> bytes:
    """The content, where manifest `number` counts."""
    return f"{manifest_name(number)}\n".encode("ascii")


def publish_current(directory: str | os.PathLike[str], number: int) -> None:
    """Make manifest `number` the one that counts. It must be on disk; the switch is, when this returns.

    Requires: a number that was never published, and the manifest lock. If this fails it is not known which of
    the two manifests counts: nothing may be appended to either, and the keyspace is to be reopened.
    """
    staging = os.path.join(directory, current_staging_name(number))
    files.create_file(staging, current_line(number))
    files.rename(staging, os.path.join(directory, CURRENT_NAME))
    files.sync_directory(directory)
