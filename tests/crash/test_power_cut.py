"""Power cuts: at many moments of a run, what is on disk is a prefix of the history that holds all that was
persisted.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld.kernel import files
from tests.crash import history
from tests.crash.disk import Disk
from tests.small import SMALL_PARTITION, small_options
from tests.support import Event, content_of, fast_folder, settle, traced

SEED = int(os.environ.get("FJELD_TEST_SEED", "20261122"))
CUTS = 24


def mark(root: Path, what: str) -> None:
    """An event in the trace that says what has been promised."""
    files.make_directory(root / f"mark {what} {len(os.listdir(root))}")


def run(root: Path, chance: random.Random, options: fjeld.PartitionOptions) -> list[Event]:
    """A life of a keyspace: its trace. Checkpoints are put beside it."""
    with traced() as trace:
        number = 0
        for _life in range(2):
            with fjeld.open(
                root / "keyspace", options=small_options(mapped_journal=chance.random() < 0.7)
            ) as keyspace:
                partitions = {name: keyspace.partition(name, options=options) for name in ("a", "b")}
                for _step in range(25):
                    for _ in range(chance.randrange(1, 40)):
                        number += 1
                        history.perform(keyspace, partitions, number)
                    act(keyspace, partitions, root, number, chance)
                settle(keyspace)
            mark(root, f"kept {number}")
    return trace


def act(keyspace, partitions, root: Path, number: int, chance: random.Random) -> None:
    choice = chance.randrange(6)
    if choice == 0:
        partitions[chance.choice("ab")].flush()
    elif choice == 1:
        keyspace.compact()
    elif choice == 2:
        keyspace.persist(fjeld.PersistMode.SYNC_DATA)
        mark(root, f"kept {number}")
    elif choice == 3:
        variant: dict[str, Any] = chance.choice(
            [{}, {}, {"compact": True}, {"key_range": (None, None)}, {"verify": True, "link": "never"}]
        )
        keyspace.backup_to(root / f"checkpoint {number}", **variant)
        mark(root, f"taken {number}")


def check_cut(folder: Path, promised: int, taken: set[int]) -> None:
    """Twice: what recovery has made of it is recovered again."""
    for _ in range(2):
        if (folder / "keyspace").exists() or promised:
            with fjeld.open(folder / "keyspace", options=small_options()) as keyspace:
                if "a" in keyspace.partitions() and "b" in keyspace.partitions():
                    assert history.check(keyspace) >= promised
                else:
                    assert promised == 0
    for name in os.listdir(folder):
        if name.startswith("checkpoint "):
            with fjeld.open(folder / name, options=small_options()) as checkpoint:
                assert history.check(checkpoint) == int(name.split()[1])
    for number in taken:
        assert (folder / f"checkpoint {number}").exists()


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
def test_power_cuts(tmp_path: Path, seed: int) -> None:
    print("seed", seed)
    with fast_folder(tmp_path) as folder:
        cut_at_many_moments(folder, random.Random(seed), seed, SMALL_PARTITION)


def test_power_cuts_with_large_values_apart(tmp_path: Path) -> None:
    print("seed", SEED)
    separation = fjeld.KvSeparation(threshold_bytes=20, file_size_bytes=2048, garbage_ratio=0.1)
    options = dataclasses.replace(SMALL_PARTITION, kv_separation=separation)
    with fast_folder(tmp_path) as folder:
        cut_at_many_moments(folder, random.Random(SEED), SEED, options)


def cut_at_many_moments(
    parent: Path, chance: random.Random, seed: int, options: fjeld.PartitionOptions
) -> None:
    root, folder = parent / "run", parent / "after"
    root.mkdir()
    trace = run(root, chance, options)
    cuts = [*sorted(chance.sample(range(len(trace)), CUTS)), len(trace)]
    disk, promised, taken, at = Disk(root), 0, set(), 0
    for cut in cuts:
        for event in trace[at:cut]:
            disk.apply(event)
            if event[0] == "mkdir" and "/mark " in event[1]:
                word, number, _ = event[1].rsplit("/mark ")[1].split()
                if word == "kept":
                    promised = int(number)
                else:
                    taken.add(int(number))
        at = cut
        for variant in (None, random.Random(seed + cut)):
            folder.mkdir()
            disk.cut(folder, variant)
            try:
                check_cut(folder, promised, taken)
            except BaseException:
                print("cut at", cut, "of", len(trace), "variant", variant, "promised", promised)
                raise
            shutil.rmtree(folder)


@pytest.mark.parametrize("how", ["drop", "clear"])
def test_what_is_destroyed_was_copied_before(tmp_path: Path, how: str) -> None:
    """Who copies a partition and then destroys it must not lose both: the destruction is never older than the copy."""
    with traced() as trace, fjeld.open(tmp_path / "keyspace", options=small_options()) as keyspace:
        keyspace.partition("old").insert(b"k", b"v")
        keyspace.partition("new").insert(b"k", keyspace.partition("old")[b"k"])
        if how == "drop":
            keyspace.drop_partition("old")
        else:
            keyspace.partition("old").clear()
        mark(tmp_path, "destroyed")
    disk = Disk(tmp_path)
    for event in trace:
        if "mark destroyed" in event[1]:
            break
        disk.apply(event)
    files.make_directory(tmp_path / "after")
    disk.apply(("sync_dir", str(tmp_path)))  # the parent is the user's
    disk.cut(tmp_path / "after", None)
    with fjeld.open(tmp_path / "after" / "keyspace") as keyspace:
        found = content_of(keyspace)
        assert found["new"] == {b"k": b"v"}
        assert found.get("old", {}) == {}
