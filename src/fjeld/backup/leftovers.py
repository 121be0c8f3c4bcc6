"""Staging folders whose makers are dead: found by the lock that the system lets go of with the process."""

from __future__ import annotations

import os

from fjeld.backup.removal import delete_tree
from fjeld.backup.staging import STAGING_SUFFIX
from fjeld.kernel import files

__all__ = ["remove_abandoned_stagings"]


def remove_abandoned_stagings(parent: str) -> list[str]:
    """Remove the staging folders in a folder; their paths. Those in which somebody works stay."""
    removed = []
    for name in sorted(os.listdir(parent)):
        path = os.path.join(parent, name)
        if name.startswith(".") and name.endswith(STAGING_SUFFIX) and _remove_abandoned(path):
            removed.append(path)
    return removed


def _remove_abandoned(path: str) -> bool:
    try:
        lock_fd = files.lock_directory(path)
    except OSError:  # somebody builds in it, it is gone, or it cannot be told
        return False
    try:
        delete_tree(path)  # with the lock: a restore to the same target would go on with it
    finally:
        files.unlock_file(lock_fd)
    return True
