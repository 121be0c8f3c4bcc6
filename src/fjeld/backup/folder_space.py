"""True space of checkpoints: what is theirs alone, and what hard links share with others.

A file on disk is an inode; it goes when its last name goes. Names are counted: an inode that has more names than
the folder holds of it belongs to somebody outside as well (the keyspace that the checkpoint was taken of). Blocks
that clones (reflinks) share cannot be seen this way, and count as own bytes.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CheckpointSpace", "FolderSpace", "measure"]

# What st_blocks counts in, whatever the file system's own blocks are.
BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSpace:
    """One checkpoint."""

    path: Path
    size_bytes: int
    """Of all its files on disk, whoever shares them."""
    own_bytes: int
    """Of the files that nobody else has: what removing this checkpoint alone gives back."""

    @property
    def shared_bytes(self) -> int:
        return self.size_bytes - self.own_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSpace:
    """A folder of checkpoints."""

    checkpoints: tuple[CheckpointSpace, ...]
    size_bytes: int
    """Of all files, each counted once however many checkpoints have it."""
    own_bytes: int
    """Of the files that nobody outside of the folder has: what removing all of it would give back."""

    @property
    def shared_bytes(self) -> int:
        """What is shared with keyspaces outside."""
        return self.size_bytes - self.own_bytes


@dataclass(frozen=True, slots=True)
class _Inode:
    """What one name in a folder stands for."""

    key: tuple[int, int]
    names: int
    size_bytes: int


def measure(checkpoints: Sequence[str]) -> FolderSpace:
    """The space of these folders. One that vanishes meanwhile counts for nothing."""
    found = {path: list(_inodes(path)) for path in checkpoints}
    here: Counter[tuple[int, int]] = Counter(inode.key for inodes in found.values() for inode in inodes)
    unique = {inode.key: inode for inodes in found.values() for inode in inodes}
    return FolderSpace(
        checkpoints=tuple(_space(path, inodes) for path, inodes in found.items()),
        size_bytes=sum(inode.size_bytes for inode in unique.values()),
        own_bytes=sum(inode.size_bytes for key, inode in unique.items() if here[key] >= inode.names),
    )


def _space(path: str, inodes: list[_Inode]) -> CheckpointSpace:
    counts = Counter(inode.key for inode in inodes)
    unique = {inode.key: inode for inode in inodes}
    return CheckpointSpace(
        path=Path(path),
        size_bytes=sum(inode.size_bytes for inode in unique.values()),
        own_bytes=sum(inode.size_bytes for key, inode in unique.items() if counts[key] >= inode.names),
    )


def _inodes(path: str) -> Iterator[_Inode]:
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                about = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            if stat.S_ISREG(about.st_mode):
                yield _Inode((about.st_dev, about.st_ino), about.st_nlink, about.st_blocks * BLOCK_BYTES)
