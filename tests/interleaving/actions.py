"""What is interleaved with what: each action is one line of ACTIONS, and has one effect, at one moment.

Its points are found by running it once: every sync point that its thread passes.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import fjeld
from fjeld.sync_points import clear_sync_points, set_sync_point
from tests.small import SMALL_PARTITION, SMALL_SEPARATED
from tests.support import Content, Task, content_of, fill, opened, settle

OPTIONS = {"memtable_bytes": 1 << 20, "journal_bytes": 8 << 10, "workers": 1}

Effect = Callable[[Content], Content]


def make_base(path: Path) -> Path:
    """A process that died: two partitions with runs in several levels and entries in journals, and one with large
    values.
    """
    from tests.support import crash_copy

    with opened(path, **OPTIONS) as keyspace:
        for name in ("a", "b"):
            partition = keyspace.partition(name, options=SMALL_PARTITION)
            for seed in range(2):
                fill(partition, 40, seed=seed)
                partition.flush()
            fill(partition, 30, seed=2, start=20)
        large = keyspace.partition("large", options=SMALL_SEPARATED)
        fill(large, 12, value_bytes=120)
        large.flush()
        large.insert(b"in a journal", b"3" * 120)
        settle(keyspace)
        return crash_copy(path, path.parent / "base")


class World:
    """One keyspace, two actions: what was there before, and what was taken of it meanwhile."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.folder = folder
        self.path = shutil.copytree(base, folder / "keyspace")
        self.keyspace = opened(self.path, **OPTIONS)
        self.keyspace._engine.maintainer.pause_compaction()
        self.keyspace.partition("a").insert(b"unflushed", b"1")
        self.keyspace.partition("b").insert(b"unflushed", b"1")
        large = self.keyspace.partition("large")
        fill(
            large, 6, seed=1, value_bytes=120
        )  # half of a blob file is garbage as soon as this run is merged
        large.flush()
        settle(self.keyspace)
        self.before = content_of(self.keyspace)
        self.checkpoints: list[fjeld.CheckpointInfo] = []
        self.snapshots: list[tuple[fjeld.Snapshot, Content]] = []
        self.reads: list[Content] = []

    def backup(self, **options: object) -> None:
        target = self.folder / f"checkpoint {threading.get_ident()} {len(self.checkpoints)}"
        self.checkpoints.append(self.keyspace.backup_to(target, with_snapshot=True, **options))

    def together(self) -> None:
        target = self.folder / f"together {threading.get_ident()}"
        self.checkpoints += fjeld.backup_together({target: self.keyspace}).values()

    def snapshot(self) -> None:
        snapshot = self.keyspace.snapshot()
        self.snapshots.append((snapshot, content_of(snapshot)))

    def read(self) -> None:
        """As another process would."""
        with fjeld.open_readonly(self.path) as reader:
            self.reads.append(content_of(reader))


def nothing(content: Content) -> Content:
    return content


def put(name: str, pairs: dict[bytes, bytes]) -> Effect:
    return lambda content: content | {name: content.get(name, {}) | pairs}


def without(name: str) -> Effect:
    return lambda content: {other: entries for other, entries in content.items() if other != name}


def both(*effects: Effect) -> Effect:
    def apply(content: Content) -> Content:
        for effect in effects:
            content = effect(content)
        return content

    return apply


def write(world: World) -> None:
    a, b = world.keyspace.partition("a"), world.keyspace.partition("b", create=False)
    with world.keyspace.batch() as batch:
        batch.insert(a, b"batch", b"1")
        batch.insert(b, b"batch", b"1")


def finish_journals(world: World) -> None:
    rotation = world.keyspace._engine.rotation
    rotation.cut(lambda: None)
    rotation.hurry()
    rotation.finish_sealed()


def retire_journals(world: World) -> None:
    world.keyspace._engine.maintainer.flusher.retire()


def recreate(world: World) -> None:
    world.keyspace.partition("c", options=SMALL_PARTITION)


PAIRS = {b"%08d" % number: b"ingested" for number in range(30, 60)}


@dataclass(frozen=True)
class Action:
    """`do` has `effect`, at some moment between its beginning and its end."""

    do: Callable[[World], object]
    effect: Effect = nothing
    errors: tuple[type[BaseException], ...] = field(default=(fjeld.ClosedError,))
    """What it may raise where the other action closes or drops what it works on."""


ACTIONS: dict[str, Action] = {
    "write": Action(write, both(put("a", {b"batch": b"1"}), put("b", {b"batch": b"1"})), (fjeld.ClosedError, KeyError)),
    "write durably": Action(
        lambda world: [world.keyspace.partition("a").insert(b"durable", b"1"), world.keyspace.persist()][0],
        put("a", {b"durable": b"1"}),
    ),
    "flush": Action(lambda world: world.keyspace.flush()),
    "compact": Action(lambda world: world.keyspace.compact()),
    "collect blob files": Action(lambda world: world.keyspace.partition("large").compact()),
    "switch journals": Action(lambda world: world.keyspace._engine.rotation.cut(lambda: None)),
    "finish journals": Action(finish_journals),
    "retire journals": Action(retire_journals),
    "delete files": Action(lambda world: world.keyspace._engine.store.reaper.reap()),
    "new manifest": Action(lambda world: world.keyspace._engine.store.start_manifest()),
    "create": Action(recreate, put("c", {})),
    "drop": Action(lambda world: world.keyspace.drop_partition("b"), without("b"), (fjeld.ClosedError, KeyError)),
    "clear": Action(lambda world: world.keyspace.partition("a").clear(), lambda content: content | {"a": {}}),
    "ingest": Action(lambda world: world.keyspace.partition("a").ingest(sorted(PAIRS.items())), put("a", PAIRS)),
    "ingest into what is dropped": Action(
        lambda world: world.keyspace.partition("b", create=False).ingest(sorted(PAIRS.items())),
        put("b", PAIRS),
        (fjeld.ClosedError, KeyError),
    ),
    "snapshot": Action(World.snapshot),
    "read": Action(World.read),
    "backup": Action(World.backup),
    "backup by copies": Action(lambda world: world.backup(link="never")),
    "backup after a flush": Action(lambda world: world.backup(flush=True)),
    "backup, compacted": Action(lambda world: world.backup(compact=True)),
    "backup together": Action(World.together),
    "export": Action(lambda world: world.keyspace.export_to(world.folder / f"export {threading.get_ident()}")),
    "close": Action(lambda world: world.keyspace.close()),
}  # fmt: skip


SOURCE = Path(fjeld.__file__).parent
POINTS = sorted(
    {
        name
        for file in SOURCE.rglob("*.py")
        for name in re.findall(r'sync_point\("([a-z_:]+)"\)', file.read_text())
    }
)


@contextmanager
def at_points(act: Callable[[str], None]) -> Iterator[None]:
    """`act(name)` in this thread, and in no other, wherever it passes a point inside."""
    own = threading.get_ident()

    def passing(name: str) -> Callable[[], None]:
        return lambda: act(name) if threading.get_ident() == own else None

    for name in POINTS:
        set_sync_point(name, passing(name))
    try:
        yield
    finally:
        clear_sync_points()


def points_of(name: str, world: World) -> list[str]:
    """The points that the action passes alone, in order."""
    passed: list[str] = []

    def run() -> None:
        with at_points(passed.append):
            ACTIONS[name].do(world)

    Task(run).result()  # not in the main thread, which lets another one do what must not be interrupted
    return list(dict.fromkeys(passed))
