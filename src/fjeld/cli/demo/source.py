"""The input that every machine has: the files of the running Python installation.

Two kinds of entries come of a file. In partition `files`: path -> contents. In partition `identifiers`, for
each name-like word of a Python file: word 0x00 path : line -> nothing; a prefix scan over `word 0x00` lists
its places.
"""

from __future__ import annotations

import keyword
import os
import random
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Limits", "SourceFile", "default_roots", "find_files", "index_keys", "places"]

_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset(word.encode() for word in [*keyword.kwlist, *keyword.softkwlist])
_INDEXED = (".py", ".pyi")

# A key may be 65,535 bytes and holds a path of up to 4,096; words longer than this are no names anyway.
_WORD_MAX_BYTES = 255

_SHUFFLE_SEED = 20240501  # the same order on every run: fill and windows stay comparable


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read."""

    files: int
    bytes: int
    file_bytes: int = 2 << 20
    """Larger files are left out: one shared library would be a batch of its own kind."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the input and the key that it gets."""

    path: Path
    size_bytes: int

    @property
    def key(self) -> bytes:
        return os.fsencode(self.path)

    def read(self) -> bytes:
        return self.path.read_bytes()


def default_roots() -> list[Path]:
    """The standard library and the installed packages, each folder once."""
    folders = [
        Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
    ]
    unique = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    return [a for a in unique if not any(a != b and a.is_relative_to(b) for b in unique)]


def _walk(roots: Iterable[Path], limits: Limits) -> Iterator[SourceFile]:
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                    continue
                size_bytes = path.stat().st_size
                if size_bytes <= limits.file_bytes:
                    yield SourceFile(path, size_bytes)


def find_files(roots: Iterable[Path], limits: Limits) -> list[SourceFile]:
    """The files below the roots in a shuffled, repeatable order, up to the limits."""
    found = list(_walk(roots, limits))
    random.Random(_SHUFFLE_SEED).shuffle(found)
    chosen: list[SourceFile] = []
    total_bytes = 0
    for source in found:
        if len(chosen) >= limits.files:
            break
        if total_bytes + source.size_bytes <= limits.bytes:
            chosen.append(source)
            total_bytes += source.size_bytes
    return chosen


def places(contents: bytes) -> Iterator[tuple[bytes, int]]:
    """(word, line) for every name-like word that is no keyword; each once a line. Lines count from 1."""
    find = _WORD.findall
    for number, line in enumerate(contents.split(b"\n"), 1):
        for word in set(find(line)) - _KEYWORDS:
            if len(word) <= _WORD_MAX_BYTES:
                yield word, number


def index_keys(key: bytes, contents: bytes) -> list[bytes]:
    """The keys in `identifiers` for the file stored under this key; none where it is no Python."""
    if not key.endswith(tuple(suffix.encode() for suffix in _INDEXED)):
        return []
    return [b"%b\0%b:%d" % (word, key, number) for word, number in places(contents)]
