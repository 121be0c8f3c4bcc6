"""Every state in which a power cut may leave a run's files, opened and compared with what was promised.

The trace of a workload is replayed on a `Disk`; after each operation on files the disk is cut in all ways of
`every_loss`. What is left falls apart into folders (the keyspace, each checkpoint); a folder that was met
before is not opened again, and what it held is compared with the promises of the new moment. Files that come
again are hard links to one image: recovery must not change an old file, and at the end none has changed.

Some states are cut again, while they are being recovered.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fjeld
from fjeld.kernel import files
from tests.crash.disk import Disk, Tree, every_loss
from tests.crash.life import FOLDER, state_of
from tests.crash.workloads import record
from tests.small import small_options
from tests.support import Event, content_of, traced

# What a trace shows that changes nothing on disk.
SILENT = {"open", "read", "close", "map", "populate", "lock", "seal"}
UNFINISHED = (".fjeld-staging", ".fjeld-removing")
EXPORT = "export"
FOLDERS = "folder"
"""The name of a folder of checkpoints: what is in it counts as if it were beside it."""

# What a moment that is far from others gives in new folders, about, those of recoveries that are cut again included:
# from 18 (durable writes) to 45 (writes).
FOLDERS_A_MOMENT = 24


@dataclass
class Promises:
    """What the marks passed so far say."""

    begun: int = 0
    kept: int = 0
    taken: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    aside: int = -1
    """The state after so many operations is somewhere."""

    def note(self, event: Event) -> bool:
        """Whether the event is a mark."""
        if event[0] != "mkdir" or "/mark " not in event[1]:
            return False
        word, rest = event[1].rsplit("/mark ", 1)[1].split(" ", 1)
        what = rest.rsplit(" ", 1)[0]
        name = what.replace(FOLDER, "/")
        if word == "taken":
            self.taken.add(name)
        elif word == "going":
            self.taken.discard(name)
        elif word == "gone":
            self.gone.add(name)
        elif word == "aside":
            self.aside = int(what)
        elif word == "begun":
            self.begun = int(what)
        else:
            self.kept = max(self.kept, int(what))
        return True


class Images:
    """Puts trees into folders; a file that comes a second time is written once more, and linked from then on."""

    MOST = 20_000

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._seen: set[int] = set()
        self._stored: dict[int, tuple[str, bytes]] = {}

    def put(self, tree: Tree, target: str) -> None:
        os.mkdir(target)
        for name, data in tree.items():
            path = f"{target}/{name}"
            if data is None:
                os.mkdir(path)
            elif (image := self._image(data)) is not None:
                os.link(image, path)
            else:
                _write(path, data)

    def _image(self, data: bytes) -> str | None:
        key = hash(data)
        if key in self._stored:
            return self._stored[key][0]
        if key not in self._seen:
            self._seen.add(key)
            return None
        if len(self._stored) >= self.MOST:
            self.check()
        path = f"{self._folder}/{len(self._stored)}"
        _write(path, data)
        self._stored[key] = (path, data)
        return path

    def check(self) -> None:
        """No image was changed by whoever opened a folder it was in. Begins anew."""
        for path, data in self._stored.values():
            assert Path(path).read_bytes() == data, "an old file was changed by recovery"
            os.unlink(path)
        self._stored.clear()


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data.rstrip(b"\0"))
        file.truncate(len(data))


@dataclass
class Findings:
    """What an exploration has met."""

    states: int = 0
    """Cuts that left different trees, or the same with different promises."""
    opened: int = 0
    """Different folders that were opened and read."""
    recovered_again: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Explorer:
    """Explores one workload with one seed, in a folder of its own. `most`: folders to open, about. by_chance: losses
    chosen by chance at each moment. again: the share of states that are cut again. keep: where states with a
    problem are put.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        folder: Path,
        *,
        most: int | None = None,
        by_chance: int = 6,
        again: float = 0.02,
        keep: Path | None = None,
    ) -> None:
        self.name, self.seed, self.folder = name, seed, folder
        self.findings = Findings()
        self._most, self._by_chance, self._again, self._keep = most, by_chance, again, keep
        self._chance = random.Random(f"cuts of {name} {seed}")
        self._images = Images(folder / "images")
        self._recovering = False
        self._met: dict[int, int] = {}
        """By the hash of a folder: the state found in it."""

    def run(self) -> Findings:
        root = self.folder / "run"
        root.mkdir()
        trace, history, self._checkpoints = record(self.name, root, self.seed)
        shutil.rmtree(root)
        self._history = history
        self._explore(Disk(root), trace, Promises())
        self._images.check()
        return self.findings

    # ---- the moments ----

    def _moments(self, trace: list[Event]) -> set[int]:
        """At which positions to cut: all, or so many, spread over the whole trace, that `most` folders are opened,
        about.
        """
        places = [at for at, event in enumerate(trace) if event[0] not in SILENT and "/mark " not in event[1]]
        wanted = len(places) if self._most is None else max(1, self._most // FOLDERS_A_MOMENT)
        step = max(1.0, len(places) / wanted)
        starts = itertools.takewhile(lambda start: start < len(places), itertools.count(0, step))
        return {places[min(int(start + self._chance.random() * step), len(places) - 1)] for start in starts}

    def _explore(self, disk: Disk, trace: list[Event], promises: Promises) -> None:
        moments = self._moments(trace)
        for at, event in enumerate(trace):
            if promises.note(event):
                continue
            disk.apply(event)
            if at in moments:
                self._cut(disk, promises, f"after operation {at} of {len(trace)}, {event[:2]}")

    def _cut(self, disk: Disk, promises: Promises, where: str) -> None:
        seen: set[int] = set()
        for way, loss in every_loss(disk, self._chance, self._by_chance):
            tree = disk.tree(loss)
            key = hash(tuple(tree.items()))
            if key not in seen:
                seen.add(key)
                self.findings.states += 1
                self.findings.ways[way] += 1
                self._check(tree, promises, f"{where}, {way}")

    # ---- one state ----

    def _check(self, tree: Tree, promises: Promises, where: str) -> None:
        folders = dict(_apart(tree))
        for name in {"keyspace", *promises.taken, *folders}:
            if name.endswith(UNFINISHED):
                continue
            problem = self._problem_of(name, folders.get(name), promises)
            if problem:
                self._report(f"{where}: {name}: {problem}", folders.get(name))
        if promises.aside >= 0 and not any(
            promises.aside in self._history.states.get(self._met.get(_key(tree), 0), [])
            for tree in folders.values()
        ):
            self._report(f"{where}: what was replaced is nowhere", None)

    def _problem_of(self, name: str, tree: Tree | None, promises: Promises) -> str | None:
        if tree is not None and name in promises.gone:
            return "it is there again"
        if tree is None:
            lost = name in promises.taken or (name == "keyspace" and promises.kept > 0)
            return "it is gone" if lost else None
        try:
            found = self._open(tree, name, promises)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return self._broken(name, found, promises)

    def _broken(self, name: str, state: int, promises: Promises) -> str | None:
        """What is wrong with a state that was found."""
        lengths = self._history.states.get(state, [])
        if name not in self._checkpoints and name != "keyspace":  # not named yet, in exchange, or kept aside
            return None if lengths else "it holds what never was"
        if name != "keyspace":
            return (
                None
                if self._checkpoints[name] == state
                else f"another content: that after {lengths} operations"
            )
        if not lengths:
            return "it holds what never was"
        if not any(promises.kept <= length <= promises.begun for length in lengths):
            return f"after {lengths} operations; promised are {promises.kept}, begun {promises.begun}"
        return None

    def _open(self, tree: Tree, name: str, promises: Promises) -> int:
        key = _key(tree)
        found = self._met.get(key)
        if found is None:
            self.findings.opened += 1
            path = self._path(name)
            self._images.put(tree, path)
            try:
                found = self._met[key] = _state_in(path)
            finally:
                shutil.rmtree(path)
            if name == "keyspace" and not self._recovering and self._chance.random() < self._again:
                self._recovering = True
                try:
                    self._cut_again(tree, found, promises)
                finally:
                    self._recovering = False
        return found

    def _path(self, name: str) -> str:
        folder = self.folder / "state"
        folder.mkdir(exist_ok=True)
        return f"{folder}/{name.replace('/', FOLDER)}"

    # ---- the power goes again while the state is being recovered ----

    def _cut_again(self, tree: Tree, found: int, promises: Promises) -> None:
        """Once it has been open, what it showed is promised."""
        self.findings.recovered_again += 1
        root = self.folder / "again"
        root.mkdir()
        self._images.put(tree, f"{root}/keyspace")
        disk = Disk(root)
        disk.load(root)
        with traced() as trace:
            keyspace = fjeld.open(root / "keyspace", options=small_options())
            files.make_directory(root / "mark opened 0")
            keyspace.close()
        shutil.rmtree(root)
        opened = False
        for at, event in enumerate(trace):
            if event[0] == "mkdir" and event[1].endswith("mark opened 0"):
                opened = True
                continue
            disk.apply(event)
            if event[0] not in SILENT and self._chance.random() < 0.1:
                for way, loss in every_loss(disk, self._chance, 2):
                    left = dict(_apart(disk.tree(loss))).get("keyspace")
                    self._check_again(
                        left, found if opened else None, promises, f"recovery cut after {at}, {way}"
                    )

    def _check_again(self, tree: Tree | None, shown: int | None, promises: Promises, where: str) -> None:
        problem = self._problem_of("keyspace", tree, promises)
        if problem is None and tree is not None and shown is not None:
            if self._met[_key(tree)] != shown:
                problem = "what recovery had shown is gone"
        if problem:
            self._report(f"{where}: {problem}", tree)

    def _report(self, problem: str, tree: Tree | None) -> None:
        self.findings.problems.append(f"{self.name}, seed {self.seed}, {problem}")
        if self._keep is not None and tree is not None:
            target = self._keep / f"{self.name} {self.seed} {len(self.findings.problems)}"
            shutil.rmtree(target, ignore_errors=True)
            Images(self._keep / "unused").put(tree, str(target))
            shutil.rmtree(self._keep / "unused")


def _key(tree: Tree) -> int:
    return hash(tuple(tree.items()))


def _state_in(path: str) -> int:
    if os.listdir(path) == [EXPORT]:
        fjeld.import_from(f"{path}/{EXPORT}", f"{path}/imported")
        path = f"{path}/imported"
    with fjeld.open(path, options=small_options()) as keyspace:
        return state_of(content_of(keyspace))


def _apart(tree: Tree) -> Iterator[tuple[str, Tree]]:
    """The folders at the top, those in a folder of checkpoints, and exports."""
    folders: dict[str, Tree] = {}
    for path, data in tree.items():
        head, _, rest = path.partition("/")
        if head == FOLDERS:
            if not rest:
                continue
            inner, _, rest = rest.partition("/")
            head = f"{head}/{inner}"
        if data is None and not rest:
            folders[head] = {}
        elif rest:
            folders[head][rest] = data
        elif head.startswith(EXPORT):
            folders[head] = {EXPORT: data}
    return iter(folders.items())
