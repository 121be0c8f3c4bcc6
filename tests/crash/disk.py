"""A disk that forgets: the trace of a run, replayed up to any point, and what a power cut there may leave.

Written bytes survive from the next sync of their file on, names from the next sync of their folder on. Of
what is younger a power cut leaves all, nothing, or, page by page and name by name, whatever chance says.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import Event

PAGE_BYTES = 4096

Chance = random.Random | None


@dataclass
class File:
    """An inode: its bytes now, and those that a power cut cannot take."""

    now: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    mode: int = 0o644

    def write(self, offset: int, data: bytes) -> None:
        if len(self.now) < offset:
            self.now += bytes(offset - len(self.now))
        self.now[offset : offset + len(data)] = data

    def resize(self, size: int) -> None:
        del self.now[size:]
        self.now += bytes(size - len(self.now))

    def after_cut(self, chance: Chance) -> bytes:
        """None: everything that is not safe is lost. (Then the size is too: the file ends with its last safe
        byte.)
        """
        if chance is None:
            return self.safe
        size = len(self.now) if chance.random() < 0.5 else len(self.safe)
        data = bytearray(self.safe[:size].ljust(size, b"\0"))
        for start in range(0, size, PAGE_BYTES):
            if chance.random() < 0.5:
                data[start : start + PAGE_BYTES] = self.now[start : start + PAGE_BYTES].ljust(
                    len(data[start : start + PAGE_BYTES]), b"\0"
                )
        return bytes(data)


class Disk:
    """What a trace has made of an empty folder `root`."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._names: dict[str, File | None] = {}  # None: a folder
        self._safe_names: dict[str, dict[str, File | None]] = {}

    def apply(self, event: Event) -> None:
        operation, path, *rest = event
        step = getattr(self, f"_{operation}", None)
        if step is not None and path.startswith(self._root):
            step(path, *rest)

    def _file(self, path: str) -> File:
        file = self._names[path]
        assert file is not None
        return file

    def _create(self, path: str) -> None:
        self._names[path] = File()

    def _mkdir(self, path: str) -> None:
        self._names[path] = None

    def _write(self, path: str, offset: int, data: bytes) -> None:
        self._file(path).write(offset, data)

    def _truncate(self, path: str, size: int) -> None:
        self._file(path).resize(size)

    def _allocate(self, path: str, size: int) -> None:
        self._file(path).resize(max(size, len(self._file(path).now)))

    def _seal(self, path: str) -> None:
        self._file(path).mode = 0o444

    def _sync(self, path: str) -> None:
        if self._names.get(path) is not None:  # a file may have lost its name by now
            self._file(path).safe = bytes(self._file(path).now)

    _sync_all = _sync

    def _link(self, source: str, target: str) -> None:
        self._names[target] = self._names[source]

    def _copy(self, source: str, target: str) -> None:
        self._file(target).now = bytearray(self._file(source).now)

    def _unlink(self, path: str) -> None:
        del self._names[path]

    def _rename(self, source: str, target: str) -> None:
        self._names[target] = self._names.pop(source)
        for path in [path for path in self._names if path.startswith(source + "/")]:
            self._names[target + path[len(source) :]] = self._names.pop(path)
        for folder in [folder for folder in self._safe_names if (folder + "/").startswith(source + "/")]:
            names = self._safe_names.pop(folder)
            self._safe_names[target + folder[len(source) :]] = names

    def _exchange(self, one: str, other: str) -> None:
        aside = one + " aside"
        self._rename(one, aside)
        self._rename(other, one)
        self._rename(aside, other)

    def _names_in(self, folder: str) -> dict[str, File | None]:
        return {
            Path(path).name: file for path, file in self._names.items() if str(Path(path).parent) == folder
        }

    def _sync_dir(self, path: str) -> None:
        self._safe_names[path] = self._names_in(path)

    def cut(self, target: Path, chance: Chance) -> None:
        """Put what a power cut leaves into an empty folder."""
        self._put(self._root, target, chance)

    def _put(self, folder: str, target: Path, chance: Chance) -> None:
        now, safe = self._names_in(folder), self._safe_names.get(folder, {})
        # What happened to the names of one folder is lost from some moment on: all of it is kept here, or
        # none.
        chosen = now if chance is not None and chance.random() < 0.5 else safe
        for name, file in chosen.items():
            if file is None:
                (target / name).mkdir()
                self._put(f"{folder}/{name}", target / name, chance)
            else:
                (target / name).write_bytes(file.after_cut(chance))
                (target / name).chmod(file.mode)
