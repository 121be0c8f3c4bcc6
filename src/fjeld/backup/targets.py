"""Checks of the places that something new is to appear in."""

from __future__ import annotations

import os
import stat

__all__ = ["check_parent", "new_path", "require_outside"]


def new_path(target: str | os.PathLike[str], what: str) -> str:
    """The absolute path of `target`, which must not exist, in a folder that must. `what`: "an export"."""
    path = os.path.abspath(os.fsdecode(target))
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already: {what} never replaces anything")
    check_parent(path, what)
    return path


def check_parent(path: str, what: str) -> None:
    """The folder that `path` is to appear in must be there."""
    parent = os.path.dirname(path)
    try:
        mode = os.stat(parent).st_mode
    except (OSError, ValueError):
        raise FileNotFoundError(f"the folder {parent} does not exist: make it first") from None
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError(f"{parent} is not a folder: {what} has to go into one")


def require_outside(path: str, folder: str, what: str) -> None:
    """`path` may not be the folder, nor lie inside it. ValueError. `what`: whose folder, "the keyspace"."""
    place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path), "")
    if place.startswith(os.path.join(os.path.realpath(folder), "")):
        raise ValueError(f"{path} lies inside {what} {folder}: choose a place outside of it")
