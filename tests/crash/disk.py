"""A disk that forgets: the trace of a run, replayed up to any point, and what a power cut there may leave.

What survives a power cut for certain: of a file, what it held at its last sync; of a folder, the names it held
at its last sync. Of what happened since, each thing is kept, lost or torn by itself:

    bytes    each page (or sector) is as it was after any of the writes to it since the sync: the system writes
             pages back when it likes, also those of a mapped file, whose writes the trace knows too. The file's
             end is where any of the writes has put it, or, for one that grew, anywhere between.
    names    each creation, link, renaming and unlinking may be lost alone, whatever came before or after it. A
             renaming within a folder is one thing.

That is harsher than any file system in use: ext4, xfs and btrfs keep the order of names.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import Event

PAGE_BYTES = 4096
SECTOR_BYTES = 512

Chance = random.Random | None
Step = tuple[int, bytes | None]
"""(offset, the bytes written there); (size, None): the file is made so long."""


@dataclass(eq=False)
class File:
    """An inode: its bytes now, those that a power cut cannot take, and what has led from these to those."""

    now: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    steps: list[Step] = field(default_factory=list)
    mode: int = 0o644

    def write(self, offset: int, data: bytes) -> None:
        self.steps.append((offset, bytes(data)))
        _apply(self.now, self.steps[-1])

    def resize(self, size: int) -> None:
        self.steps.append((size, None))
        _apply(self.now, self.steps[-1])

    def sync(self) -> None:
        self.safe = bytes(self.now)
        self.steps.clear()

    def after(self, steps: Iterable[Step]) -> bytes:
        """The safe bytes with some of the steps."""
        data = bytearray(self.safe)
        for step in steps:
            _apply(data, step)
        return bytes(data)

    def first(self, count: int) -> bytes:
        return self.after(self.steps[:count])

    def torn(self, chance: random.Random) -> bytes:
        """The last step alone is torn: a write stops at any byte."""
        *before, (offset, data) = self.steps
        if data is None:
            return self.after(before)
        return self.after([*before, (offset, data[: chance.randrange(len(data) + 1)])])

    def scattered(self, chance: random.Random, unit_bytes: int) -> bytes:
        """Each page or sector of any age; the end at any age too."""
        ages = [chance.randrange(len(self.steps) + 1) for _ in range(2)]
        size = len(self.first(ages[0]))
        if size > len(self.safe) and chance.random() < 0.3:
            size = chance.randrange(len(self.safe), size)
        versions: dict[int, bytes] = {}
        pieces = []
        for start in range(0, size, unit_bytes):
            age = chance.choice((0, len(self.steps), chance.randrange(len(self.steps) + 1)))
            version = versions.setdefault(age, self.first(age) if age not in versions else b"")
            pieces.append(version[start : start + unit_bytes].ljust(min(unit_bytes, size - start), b"\0"))
        return b"".join(pieces)


def _apply(data: bytearray, step: Step) -> None:
    offset, written = step
    if written is None:
        del data[offset:]
        data += bytes(offset - len(data))
    else:
        data += bytes(max(0, offset - len(data)))
        data[offset : offset + len(written)] = written


@dataclass(eq=False)
class Folder:
    """The names in a folder now, those that a power cut cannot take, and the changes in between."""

    names: dict[str, Node] = field(default_factory=dict)
    safe: dict[str, Node] = field(default_factory=dict)
    changes: list[dict[str, Node | None]] = field(default_factory=list)

    def change(self, change: dict[str, Node | None]) -> None:
        self.changes.append(change)
        _change(self.names, change)

    def sync(self) -> None:
        self.safe = dict(self.names)
        self.changes.clear()

    def after(self, changes: Iterable[dict[str, Node | None]]) -> dict[str, Node]:
        """The safe names with some of the changes."""
        names = dict(self.safe)
        for change in changes:
            _change(names, change)
        return names


Node = File | Folder
Tree = dict[str, bytes | None]
"""Paths beneath the root, folders (None) before what is in them; bytes of files."""


def _change(names: dict[str, Node], change: dict[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Disk:
    """What a trace has made of the folder `root`."""

    def __init__(self, root: Path) -> None:
        self._prefix = f"{root}/"
        self.root = Folder()

    def load(self, folder: Path) -> None:
        """Begin with what is in a folder: all of it is safe."""
        self.root = _load(folder)

    def apply(self, event: Event) -> None:
        operation, path, *rest = event
        step = getattr(self, f"_{operation}", None)
        if step is not None and (path + "/").startswith(self._prefix):
            step(path, *rest)

    def _at(self, path: str) -> Node | None:
        node: Node | None = self.root
        for part in (path + "/")[len(self._prefix) : -1].split("/"):
            if part:
                node = node.names.get(part) if isinstance(node, Folder) else None
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        head, name = path.rsplit("/", 1)
        folder = self._at(head)
        assert isinstance(folder, Folder), path
        return folder, name

    def _file(self, path: str) -> File:
        file = self._at(path)
        assert isinstance(file, File), path
        return file

    def _put(self, path: str, node: Node | None) -> None:
        folder, name = self._parent(path)
        folder.change({name: node})

    def _create(self, path: str) -> None:
        self._put(path, File())

    def _mkdir(self, path: str) -> None:
        self._put(path, Folder())

    def _unlink(self, path: str) -> None:
        self._put(path, None)

    _rmdir = _unlink

    def _link(self, source: str, target: str) -> None:
        self._put(target, self._at(source))

    def _rename(self, source: str, target: str) -> None:
        node = self._at(source)
        assert node is not None, source
        (folder, name), (other, new) = self._parent(source), self._parent(target)
        if folder is other:
            folder.change({name: None, new: node})
        else:
            other.change({new: node})
            folder.change({name: None})

    def _exchange(self, one: str, other: str) -> None:
        """Two names change places, as one thing where they are in one folder."""
        first, second = self._at(one), self._at(other)
        (folder, name), (elsewhere, new) = self._parent(one), self._parent(other)
        if folder is elsewhere:
            folder.change({name: second, new: first})
        else:
            folder.change({name: second})
            elsewhere.change({new: first})

    def _write(self, path: str, offset: int, data: bytes) -> None:
        self._file(path).write(offset, data)

    def _truncate(self, path: str, size: int) -> None:
        self._file(path).resize(size)

    def _allocate(self, path: str, size: int) -> None:
        if size > len(self._file(path).now):
            self._file(path).resize(size)

    def _copy(self, source: str, target: str) -> None:
        self._file(target).write(0, bytes(self._file(source).now))

    _reflink = _copy

    def _seal(self, path: str) -> None:
        self._file(path).mode = 0o444

    def _sync(self, path: str) -> None:
        file = self._at(path)
        if isinstance(file, File):  # it may have lost its name by now
            file.sync()

    _sync_all = _sync

    def _sync_dir(self, path: str) -> None:
        folder = self._at(path)
        if isinstance(folder, Folder):
            folder.sync()

    def pending(self) -> tuple[list[File], list[Folder]]:
        """The files and folders of which a power cut may take something."""
        files: dict[int, File] = {}
        folders: dict[int, Folder] = {}

        def look(folder: Folder) -> None:
            if folder.changes:
                folders[id(folder)] = folder
            nodes = [*folder.names.values(), *folder.safe.values()]
            nodes += [node for change in folder.changes for node in change.values() if node is not None]
            for node in nodes:
                if isinstance(node, Folder):
                    look(node)
                elif node.steps:
                    files[id(node)] = node

        look(self.root)
        return list(files.values()), list(folders.values())

    def tree(self, loss: Loss) -> Tree:
        """What is left."""
        found: Tree = {}

        def put(folder: Folder, prefix: str) -> None:
            for name, node in loss.names(folder).items():
                if isinstance(node, Folder):
                    found[prefix + name] = None
                    put(node, f"{prefix}{name}/")
                else:
                    found[prefix + name] = loss.bytes_of(node)

        put(self.root, "")
        return found

    def cut(self, target: Path, chance: Chance) -> None:
        """Put what a power cut leaves into an empty folder. None: all that is not safe is lost."""
        loss = Loss() if chance is None else Loss.by_chance(self, chance)
        for name, data in self.tree(loss).items():
            if data is None:
                (target / name).mkdir()
            else:
                (target / name).write_bytes(data)


class Loss:
    """What a power cut takes: of each file and each folder that has something to lose."""

    def __init__(
        self,
        *,
        keep: bool = False,
        files: dict[File, bytes] | None = None,
        names: dict[Folder, dict[str, Node]] | None = None,
        keep_names: bool | None = None,
    ) -> None:
        """keep: what neither `files` nor `names` mention is kept; else it is lost. keep_names: of names."""
        self._keep = keep
        self._keep_names = keep if keep_names is None else keep_names
        self._files = files or {}
        self._names = names or {}

    def bytes_of(self, file: File) -> bytes:
        if not file.steps:
            return file.safe
        chosen = self._files.get(file)
        if chosen is not None:
            return chosen
        return bytes(file.now) if self._keep else file.safe

    def names(self, folder: Folder) -> dict[str, Node]:
        chosen = self._names.get(folder)
        if chosen is not None:
            return chosen
        return folder.names if self._keep_names else folder.safe

    @classmethod
    def by_chance(cls, disk: Disk, chance: random.Random) -> Loss:
        """Of everything that may be lost, something."""
        files, folders = disk.pending()
        ways: list[Callable[[File], bytes]] = [
            lambda file: bytes(file.now),
            lambda file: file.safe,
            lambda file: file.first(chance.randrange(len(file.steps) + 1)),
            lambda file: file.torn(chance),
            lambda file: file.scattered(chance, PAGE_BYTES),
            lambda file: file.scattered(chance, SECTOR_BYTES),
        ]
        kept = chance.choice((0.1, 0.5, 0.9))
        return cls(
            files={file: chance.choice(ways)(file) for file in files},
            names={
                folder: folder.after([change for change in folder.changes if chance.random() < kept])
                for folder in folders
            },
            keep=True,
        )


def every_loss(disk: Disk, chance: random.Random, by_chance: int) -> Iterable[tuple[str, Loss]]:
    """By name: all kept, all lost; only one thing kept, only one lost; and so many chosen by chance."""
    yield "all kept", Loss(keep=True)
    yield "all lost", Loss()
    yield "names kept, bytes lost", Loss(keep=False, keep_names=True)
    yield "bytes kept, names lost", Loss(keep=True, keep_names=False)
    files, folders = disk.pending()
    for file in files:
        yield "one file's bytes lost", Loss(keep=True, files={file: file.safe})
        yield "one file's bytes kept", Loss(keep_names=True, files={file: bytes(file.now)})
        yield "one file torn", Loss(keep=True, files={file: file.torn(chance)})
    for folder in folders:
        for at, change in enumerate(folder.changes):
            others = folder.changes[:at] + folder.changes[at + 1 :]
            yield "one name lost", Loss(keep=True, names={folder: folder.after(others)})
            yield "one name kept", Loss(keep=True, keep_names=False, names={folder: folder.after([change])})
    for _ in range(by_chance):
        yield "by chance", Loss.by_chance(disk, chance)


def _load(folder: Path) -> Folder:
    names: dict[str, Node] = {}
    for path in folder.iterdir():
        if path.is_dir():
            names[path.name] = _load(path)
        else:
            data = path.read_bytes()
            names[path.name] = File(bytearray(data), data)
    return Folder(names, dict(names))
