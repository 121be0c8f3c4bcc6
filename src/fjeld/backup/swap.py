"""Putting a new folder in the place of an old one, which is kept aside. The name never stands for neither.

    1  `.NAME.restore.fjeld-staging` is renamed to the *swap* name, `.NAME.<id of the new keyspace>.fjeld-swap`
    2  swap and target change places in one system call                      the new one is there
    3  the swap, which is the old one now, is renamed to `NAME.replaced-<UTC time>`

Each step is synced before the next. What a crash leaves can always be told, because the swap name says which keyspace
was to come: if that is what is in it, step 2 has not happened, and it is a copy nobody has seen yet; if anything else
is in it, also something that cannot be read, it is the old one, and step 3 is left to do (`finish_swaps`). In doubt
nothing is deleted.

Where the file system cannot exchange two names (not known of one with hard links and Linux), the old one is renamed
aside first, and a crash before the next rename leaves no target: `unfinished_swap` finds what was to come, so that
opening says so rather than begin an empty keyspace, and running the restore again finishes it.

Considered and left: a marker file beside the target (one more thing to sync and to be wrong); renaming the old one
aside always (a crash would leave a service that starts by itself with an empty keyspace).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

from fjeld.backup.closed_keyspace import lock_folder, read_identity
from fjeld.kernel import files
from fjeld.shield import shielded
from fjeld.sync_points import sync_point

__all__ = ["SWAP_SUFFIX", "aside_paths", "exchange", "finish_swaps", "swap_path", "unfinished_swap"]

SWAP_SUFFIX = ".fjeld-swap"
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
STAMP = "[0-9]{8}T[0-9]{6}(?:\\.[0-9]{6})?Z(?:-[0-9]+)?"


def swap_path(target: str, new_id: str) -> str:
    """The swap name for a keyspace of this id that is to take the place of `target`."""
    parent, name = os.path.split(target)
    return os.path.join(parent, f".{name}.{new_id}{SWAP_SUFFIX}")


@shielded
def exchange(swap: str, target: str, stamp: str) -> str:
    """Steps 2 and 3; the path of the old one. Requires: `swap` and its name are on disk, `target` is locked.

    stamp: the time, for the name. Where it raises, the old one is under its own name or under that of the swap.
    """
    parent = os.path.dirname(target)
    if files.rename_exchange(swap, target):
        files.sync_directory(parent)
        sync_point("restore:exchanged")
        return _put_aside(swap, target, stamp)
    aside = _rename_aside(target, target, stamp)
    try:
        files.sync_directory(parent)
        sync_point("restore:aside")
        files.rename_noreplace(swap, target)
    except BaseException:
        with suppress(OSError):
            files.rename_noreplace(aside, target)
            files.sync_directory(parent)
        raise
    files.sync_directory(parent)
    return aside


def _put_aside(old: str, target: str, stamp: str) -> str:
    """Rename the old one to NAME.replaced-STAMP; on disk when this returns."""
    aside = _rename_aside(old, target, stamp)
    files.sync_directory(os.path.dirname(target))
    return aside


def _rename_aside(old: str, target: str, stamp: str) -> str:
    """To NAME.replaced-STAMP, or to the next name that is free."""
    number = 1
    while True:
        aside = f"{target}.replaced-{stamp}" + (f"-{number}" if number > 1 else "")
        try:
            files.rename_noreplace(old, aside)
        except FileExistsError:
            number += 1
        else:
            return aside


def finish_swaps(target: str, stamp: str) -> tuple[list[str], list[str]]:
    """Deal with what restores to `target` have left that crashed: (kept aside now, copies nobody has seen yet).

    LockedError where one of them is still under way.
    """
    aside, unseen = [], []
    for path, new_id in _swaps(target):
        try:
            lock_fd = lock_folder(path, f"another restore to {target} is under way: wait for it")
        except FileNotFoundError:
            continue
        try:
            if read_identity(path) == new_id:
                unseen.append(path)
            else:
                aside.append(_put_aside(path, target, stamp))
        finally:
            if lock_fd is not None:
                files.unlock_file(lock_fd)
    return aside, unseen


def unfinished_swap(target: str) -> str | None:
    """The whole copy that was to become `target` when a restore crashed; None: there is none."""
    return next((path for path, new_id in _swaps(target) if read_identity(path) == new_id), None)


def aside_paths(target: str) -> list[str]:
    """What restores to `target` have kept aside, oldest first."""
    parent, name = os.path.split(target)
    pattern = re.compile(re.escape(name) + r"\.replaced-" + STAMP, re.DOTALL | re.ASCII)
    return sorted(os.path.join(parent, found) for found in _listed(parent) if pattern.fullmatch(found))


def _swaps(target: str) -> Iterator[tuple[str, str]]:
    parent, name = os.path.split(target)
    pattern = re.compile(
        r"\." + re.escape(name) + rf"\.({UUID})" + re.escape(SWAP_SUFFIX), re.DOTALL | re.ASCII
    )
    for found in _listed(parent):
        match = pattern.fullmatch(found)
        if match is not None:
            yield os.path.join(parent, found), match[1]


def _listed(parent: str) -> list[str]:
    try:
        return sorted(os.listdir(parent))
    except (FileNotFoundError, NotADirectoryError):
        return []
