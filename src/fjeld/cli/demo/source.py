"""The input that every machine has: the files of the running Python installation.

Two kinds of entries come of a file. In partition `files`: path -> contents. In partition `identifiers`, for
each name-like word of a Python file: word 0x00 path -> the lines that have it; a prefix scan over `word 0x00`
lists its places. Where the installation is small it is written several times, each round under a prefix.
"""

from __future__ import annotations

import keyword
import os
import random
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

__all__ = ["batches", "default_roots", "find_files", "index_entries", "places"]

_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset(word.encode() for word in [*keyword.kwlist, *keyword.softkwlist])
_INDEXED = (".py", ".pyi")

# A key may be 65,535 bytes and holds a path of up to 4,096; words longer than this are no names anyway.
_WORD_MAX_BYTES = 255

_SHUFFLE_SEED = 20240501  # the same order on every run: fill and windows stay comparable

# Larger files are left out: one shared library would be a batch of its own kind.
_FILE_MAX_BYTES = 2 << 20


def default_roots() -> list[Path]:
    """The standard library and the installed packages, each folder once."""
    folders = [
        Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
    ]
    unique = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    return [a for a in unique if not any(a != b and a.is_relative_to(b) for b in unique)]


def _walk(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                    continue
                if path.stat().st_size <= _FILE_MAX_BYTES:
                    yield path


def find_files(roots: Iterable[Path], most: int) -> list[Path]:
    """The files below the roots in a shuffled, repeatable order, so many at most."""
    found = list(_walk(roots))
    random.Random(_SHUFFLE_SEED).shuffle(found)
    return found[:most]


def batches(paths: Sequence[Path]) -> Iterator[tuple[bytes, bytes]]:
    """Key and contents of batch 1, 2, ... without end: the files over and over."""
    for round_number in count(1):
        for path in paths:
            yield b"%d:%b" % (round_number, os.fsencode(path)), path.read_bytes()


def places(contents: bytes) -> dict[bytes, list[int]]:
    """For every name-like word that is no keyword: the lines that have it. Lines count from 1."""
    find = _WORD.findall
    found: dict[bytes, list[int]] = {}
    for number, line in enumerate(contents.split(b"\n"), 1):
        for word in set(find(line)) - _KEYWORDS:
            if len(word) <= _WORD_MAX_BYTES:
                found.setdefault(word, []).append(number)
    return found


def index_entries(key: bytes, contents: bytes) -> list[tuple[bytes, bytes]]:
    """The entries in `identifiers` for the file stored under this key; none where it is no Python."""
    if not key.endswith(tuple(suffix.encode() for suffix in _INDEXED)):
        return []
    return [
        (b"%b\0%b" % (word, key), " ".join(map(str, lines)).encode())
        for word, lines in places(contents).items()
    ]
