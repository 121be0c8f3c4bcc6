"""How verbs open a keyspace: one that exists, and a partition that exists, unless told to create them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

import fjeld

__all__ = ["open_keyspace", "open_partition"]


@contextmanager
def open_keyspace(path: Path, *, create: bool = False) -> Iterator[fjeld.Keyspace]:
    """The keyspace at the path, closed at the end."""
    with fjeld.open(path, create=create) as keyspace:
        yield keyspace


@contextmanager
def open_partition(path: Path, name: str, *, create: bool = False) -> Iterator[fjeld.Partition]:
    """A partition of the keyspace at the path; the keyspace is closed at the end."""
    with open_keyspace(path, create=create) as keyspace:
        if not create and name not in (names := keyspace.partitions()):
            known = ", ".join(names) if names else "none"
            raise click.BadParameter(f"there is no partition {name!r} in {path} (there is: {known})")
        yield keyspace.partition(name)
