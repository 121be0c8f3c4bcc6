"""Removing a whole folder, so that a crash in the middle never leaves half of one under its name.

It first gets a name that says what it is, `.NAME.<12 hex digits>.fjeld-removing`; from then on nobody takes it for
what it was, and whoever finds it may finish the work. Any number of processes may do so at once.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress

from fjeld.kernel import files

__all__ = ["REMOVING_SUFFIX", "delete_tree", "finish_removals", "remove_folder"]

REMOVING_SUFFIX = ".fjeld-removing"


def remove_folder(path: str) -> None:
    """Gone, and known to be gone on disk, when this returns. FileNotFoundError where there is none."""
    parent, name = os.path.split(path)
    doomed = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:12]}{REMOVING_SUFFIX}")
    files.rename(path, doomed)
    files.sync_directory(parent)
    delete_tree(doomed)
    files.sync_directory(parent)


def finish_removals(parent: str) -> list[str]:
    """Delete what interrupted removals have left in a folder; the paths."""
    found = [
        os.path.join(parent, name)
        for name in sorted(os.listdir(parent))
        if name.startswith(".") and name.endswith(REMOVING_SUFFIX)
    ]
    for path in found:
        delete_tree(path)
    return found


def delete_tree(path: str) -> None:
    """A folder and all in it. What others delete meanwhile is fine. Links are not followed."""
    for folder, directories, names in os.walk(path, topdown=False):
        for name in names:
            with suppress(FileNotFoundError):
                files.unlink(os.path.join(folder, name))
        for name in directories:
            place = os.path.join(folder, name)
            with suppress(FileNotFoundError):
                if os.path.islink(place):
                    files.unlink(place)
                else:
                    files.remove_directory(place)
    with suppress(FileNotFoundError):
        files.remove_directory(path)
