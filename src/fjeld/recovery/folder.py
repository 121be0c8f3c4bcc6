"""What is in the folder of a keyspace: the manifest that counts, and the names there are."""

from __future__ import annotations

import os

from fjeld.errors import CorruptionError
from fjeld.manifest import names
from fjeld.manifest.current import read_current
from fjeld.manifest.log import ManifestInfo, ManifestReader
from fjeld.manifest.recovery import Listing
from fjeld.manifest.version import Version

__all__ = ["list_folder", "look", "open_manifest", "read_version"]


def read_version(path: str, manifest: int) -> tuple[Version, ManifestInfo]:
    """The version that manifest number `manifest` leads to."""
    reader = open_manifest(path, manifest)
    return reader.version, reader.info()


def open_manifest(path: str, manifest: int) -> ManifestReader:
    """A reader of manifest number `manifest`, which CURRENT names."""
    manifest_path = os.path.join(path, names.manifest_name(manifest))
    try:
        return ManifestReader(manifest_path)
    except FileNotFoundError:
        raise CorruptionError(
            f"the manifest that {names.CURRENT_NAME} names is missing; restore it from a backup",
            path=manifest_path,
        ) from None


def look(path: str) -> tuple[int, int]:
    """The number of the manifest that counts, and its size: two looks that agree have seen one version.

    A manifest only grows, and its number is never given again.
    """
    manifest = read_current(path)
    try:
        return manifest, os.stat(os.path.join(path, names.manifest_name(manifest))).st_size
    except FileNotFoundError:
        return manifest, -1


def list_folder(path: str, *, lenient: bool = False) -> Listing:
    """The names in the folder; lenient: a missing folder in it counts as an empty one."""

    def names_in(directory: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(directory))
        except FileNotFoundError:
            if lenient:
                return frozenset()
            raise CorruptionError("the folder is missing", path=directory) from None

    return Listing(
        root=names_in(path),
        tables=names_in(os.path.join(path, names.TABLES_DIRECTORY)),
        blobs=_blobs_in(path),
        journals=names_in(os.path.join(path, names.JOURNALS_DIRECTORY)),
    )


def _blobs_in(path: str) -> frozenset[str]:
    """Keyspaces of older versions have no such folder; where it was lost, that is damage to the values in it only."""
    try:
        return frozenset(os.listdir(os.path.join(path, names.BLOBS_DIRECTORY)))
    except FileNotFoundError:
        return frozenset()
