"""Any byte of any file: flipped, zeroed, cut off, something appended, or an older or another file in its place.

Whatever is then done (by chance one of reading by all ways, compacting, backing up by links or by copies) gives the
right answer or says what is wrong. A sample in CI, chosen by the seed; every byte of every file with FJELD_LONG=1,
which takes half an hour: FJELD_TEST_SHARD=0/4 to 3/4 are its quarters.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fjeld
from tests.small import SMALL_PARTITION, SMALL_SEPARATED
from tests.support import Content, content_of, crash_copy, fill, opened, settle

SEED = int(os.environ.get("FJELD_TEST_SEED", "20261123"))
LONG = bool(os.environ.get("FJELD_LONG"))
SHARD, SHARDS = map(int, os.environ.get("FJELD_TEST_SHARD", "0/1").split("/"))
SAMPLE = 30
"""Damages of each file."""

SAYS = (fjeld.CorruptionError, fjeld.UnsupportedFormatError, fjeld.NotAKeyspaceError)
OPTIONS = {"memtable_bytes": 1 << 20, "journal_bytes": 8 << 10}


@dataclass(frozen=True)
class State:
    """A folder, what is in it, and what was there before each write: a newest journal or a manifest whose end is
    gone is like that of a process that died, and its last writes or edits like those never acknowledged.
    """

    path: Path
    content: Content
    older: tuple[Content, ...] = ()
    before: Path | None = None
    """The same folder, earlier."""

    def files(self) -> dict[str, bytes]:
        found = {}
        for file in sorted(self.path.rglob("*")):
            if file.is_file() and file.name != "LOCK":
                found[str(file.relative_to(self.path))] = file.read_bytes()
        return found


def live(folder: Path) -> tuple[State, State, State]:
    """One life: how the process left it that was killed, how it was closed, and a checkpoint."""
    older: list[Content] = [{}]

    with opened(folder / "keyspace", **OPTIONS) as keyspace:
        partition, other = keyspace.partition("a", options=SMALL_PARTITION), keyspace.partition("b")
        large = keyspace.partition("large", options=SMALL_SEPARATED)
        for seed in range(2):
            older.append(content_of(keyspace))
            fill(partition, 40, seed=seed)
            older.append(content_of(keyspace))
            fill(other, 10, seed=seed)
            older.append(content_of(keyspace))
            fill(large, 8, seed=seed, value_bytes=90, start=4 * seed)
            keyspace.flush()
        settle(keyspace)
        before = crash_copy(folder / "keyspace", folder / "before")
        for number in range(140):
            older.append(content_of(keyspace))
            partition.insert(b"%08d" % (number % 70), b"newer %d" % number * 4)
            if number % 35 == 0:
                older.append(content_of(keyspace))
                large.insert(b"%08d" % number, b"%d" % number * 40)
            if number == 120:
                settle(keyspace)
                keyspace.persist()
        content = content_of(keyspace)
        settle(keyspace)
        killed = crash_copy(folder / "keyspace", folder / "killed")
        keyspace.backup_to(folder / "checkpoint")
    return (
        State(killed, content, tuple(older), before),
        State(folder / "keyspace", content, tuple(older), before),
        State(folder / "checkpoint", content, before=before),
    )


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    killed, closed, checkpoint = live(tmp_path_factory.mktemp("states"))
    return {"killed": killed, "closed": closed, "checkpoint": checkpoint}


# ---- damages ----

Damage = tuple[str, bytes]


def kind_of(name: str) -> str:
    return Path(name).suffix or Path(name).name.split("-")[0]


def every_damage(state: State, name: str, chance: random.Random) -> Iterator[Damage]:
    """By name, lazily: at each byte, at the end, and by other files of the same kind."""
    data = state.files()[name]
    for at in range(len(data)):
        bit = 1 << chance.randrange(8)
        yield f"bit {bit} flipped at {at}", data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
        count = chance.choice((1, 4, 8, 512))
        yield (
            f"{count} bytes zeroed at {at}",
            data[:at] + bytes(min(count, len(data) - at)) + data[at + count :],
        )
        yield f"cut at {at}", data[:at]
    for more in (b"\0", b"\n", bytes(4096), b"\x01", chance.randbytes(100), data[-40:], data):
        yield f"extended by {more[:8]!r}", data + more
    others = state.files().items() if state.before is None else [*state.files().items(), *older_files(state)]
    for other, instead in others:
        if kind_of(other) == kind_of(name) and instead != data:
            yield f"replaced by {other}, older or another", instead


def older_files(state: State) -> list[tuple[str, bytes]]:
    assert state.before is not None
    return list(State(state.before, {}).files().items())


def chosen(state: State, name: str, chance: random.Random) -> Iterable[Damage]:
    data = state.files()[name]
    every = (damage for damage in every_damage(state, name, chance) if damage[1] != data)
    if LONG:
        return itertools.islice(every, SHARD, None, SHARDS)
    damages = list(every)
    last = damages[-12:]  # what is not by offset
    return (
        [*chance.sample(damages[:-12], min(SAMPLE, len(damages) - 12)), *last]
        if len(damages) > 12
        else damages
    )


# ---- what is done then ----


def read(path: Path) -> Content:
    with opened(path, **OPTIONS) as keyspace:
        keyspace._engine.maintainer.pause_compaction()
        content = content_of(keyspace)
        for name, entries in content.items():
            partition = keyspace.partition(name)
            assert dict(reversed(list(partition.range(reverse=True)))) == entries
            assert partition.get_many(list(entries)) == list(entries.values())
        return content


def compact(path: Path) -> Content:
    with opened(path, **OPTIONS) as keyspace:
        keyspace.compact()
        return content_of(keyspace)


def backup(link: str) -> Callable[[Path], Content]:
    def take(path: Path) -> Content:
        target = path.parent / "taken"
        with opened(path, **OPTIONS) as keyspace:
            keyspace._engine.maintainer.pause_compaction()
            try:
                keyspace.backup_to(target, link=link)
            except SAYS:
                assert not target.exists()
                raise
        try:
            return read(target)
        finally:
            shutil.rmtree(target)

    return take


WAYS: dict[str, Callable[[Path], Content]] = {
    "read": read,
    "compact": compact,
    "backup": backup("auto"),
    "backup by copies": backup("never"),
}


def check(state: State, name: str, damage: Damage, way: str, folder: Path) -> bool:
    """Whether something was said."""
    path = folder / "damaged"
    shutil.copytree(state.path, path, copy_function=os.link)
    (path / name).unlink()
    (path / name).write_bytes(damage[1])
    try:
        found = WAYS[way](path)
    except SAYS as error:
        assert str(folder) in str(error) or name in str(error), f"which file? {error}"
        return True
    finally:
        shutil.rmtree(path)
    right = found == state.content
    if kind_of(name) == ".jnl":
        right = right or found in state.older
    elif kind_of(name) == "MANIFEST":  # partitions are flushed one after the other
        right = right or all(
            entries in [older.get(partition, {}) for older in (*state.older, state.content)]
            for partition, entries in found.items()
        )
    assert right, f"{name} {damage[0]}, {way}: a wrong answer"
    return False


@pytest.mark.parametrize("which", ["killed", "closed", "checkpoint"])
def test_every_byte(states: dict[str, State], which: str, quick_folder: Path) -> None:
    print("seed", SEED, "shard", f"{SHARD}/{SHARDS}")
    chance = random.Random(f"{which} {SEED}")
    state = State(quick_folder / "state", *(states[which].content, states[which].older, states[which].before))
    shutil.copytree(states[which].path, state.path)
    images = state.files()
    said = done = 0
    for name in images:
        for damage in chosen(state, name, chance):
            said += check(state, name, damage, chance.choice(list(WAYS)), quick_folder)
            done += 1
    assert {kind_of(name) for name in images} >= {"FJELD", "CURRENT", "MANIFEST", ".sst", ".blb"}
    assert (".json" in map(kind_of, images)) == (which == "checkpoint")
    assert state.files() == images, "law 1: what is linked was not changed"
    print(done, "damages,", said, "said so")
    assert said > done // 3
