"""How verbs open a keyspace: one that exists, and a partition that exists, unless told to create them.

Verbs that only read use `open_readonly`, so that they work on a keyspace that another process has open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

import fjeld

__all__ = ["open_keyspace", "open_partition", "read_keyspace", "read_partition"]


@contextmanager
def open_keyspace(path: Path, *, create: bool = False) -> Iterator[fjeld.Keyspace]:
    """The keyspace at the path, closed at the end."""
    with fjeld.open(path, create=create) as keyspace:
        yield keyspace


@contextmanager
def open_partition(path: Path, name: str, *, create: bool = False) -> Iterator[fjeld.Partition]:
    """A partition of the keyspace at the path; the keyspace is closed at the end."""
    with open_keyspace(path, create=create) as keyspace:
        if not create:
            _require(name, keyspace.partitions(), path)
        yield keyspace.partition(name)


@contextmanager
def read_keyspace(path: Path) -> Iterator[fjeld.ReadOnlyKeyspace]:
    """The keyspace at the path, to read from; nothing is written there."""
    with fjeld.open_readonly(path) as keyspace:
        yield keyspace


@contextmanager
def read_partition(path: Path, name: str) -> Iterator[fjeld.ReadOnlyPartition]:
    """A partition of the keyspace at the path, to read from."""
    with read_keyspace(path) as keyspace:
        _require(name, keyspace.partitions(), path)
        yield keyspace.partition(name)


def _require(name: str, names: list[str], path: Path) -> None:
    if name not in names:
        known = ", ".join(names) if names else "none"
        raise click.BadParameter(f"there is no partition {name!r} in {path} (there is: {known})")
