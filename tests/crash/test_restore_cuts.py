"""Power cuts in the middle of a restore over an old keyspace, and of an import: whole, or what was there before."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import fjeld
from fjeld.backup.swap import aside_paths, unfinished_swap
from fjeld.kernel import files
from tests.crash.disk import Disk
from tests.small import SMALL_PARTITION
from tests.support import Content, Event, content_at, content_of, fast_folder, fill, opened, settle, traced

SEED = int(os.environ.get("FJELD_TEST_SEED", "20261123"))


def prepared(root: Path) -> tuple[Content, Content]:
    """A keyspace, its checkpoint and its export; what is in the checkpoint, and in the keyspace since."""
    with opened(root / "keyspace") as keyspace:
        fill(keyspace.partition("a", options=SMALL_PARTITION), 60)
        keyspace.flush()
        fill(keyspace.partition("a"), 20, seed=1)
        keyspace.backup_to(root / "checkpoint", link="never")
        keyspace.export_to(root / "export")
        new = content_of(keyspace)
        keyspace.partition("a")[b"since"] = b"1"
        settle(keyspace)
        old = content_of(keyspace)
    return new, old


def cuts(trace: list[Event], start: int, root: Path, check: Callable[[Path, bool], None]) -> int:
    """After each operation behind `start`: what a power cut may leave, three times."""
    chance = random.Random(SEED)
    print("FJELD_TEST_SEED", SEED)
    disk = Disk(root)
    done = 0
    for place, event in enumerate(trace):
        disk.apply(event)
        if place < start:
            continue
        for kind in (None, chance):
            left = root.parent / "left"
            left.mkdir()
            disk.cut(left, kind)
            check(left, place == len(trace) - 1)
            shutil.rmtree(left)
            done += 1
    return done


@pytest.mark.parametrize(("link", "exchange"), [("auto", True), ("never", True), ("never", False)])
def test_a_restore_over_an_old_one(tmp_path: Path, link: str, exchange: bool) -> None:
    """exchange: two names can change places; else there is a moment with neither, and both are beside it."""
    with fast_folder(tmp_path) as folder:
        root = folder / "root"
        root.mkdir()
        with traced() as trace:
            new, old = prepared(root)
            files.sync_directory(root)
            files.make_directory(root / "begin")
            files.sync_directory(root)
            if not exchange:
                files.inject("exchange", 0, errno.EINVAL, count=1)
            fjeld.restore(root / "checkpoint", root / "keyspace", replace=True, link=link)
        start = trace.index(("mkdir", str(root / "begin"))) + 1

        def check(left: Path, done: bool) -> None:
            if exchange or done or (left / "keyspace").exists():
                found = content_at(left / "keyspace")
                assert found == new if done else found in (old, new)
            else:
                kept = [content_at(path) for path in aside_paths(str(left / "keyspace"))]
                swap = unfinished_swap(str(left / "keyspace"))
                assert old in kept
                assert swap is not None
                assert content_at(swap) == new
            fjeld.restore(left / "checkpoint", left / "keyspace", replace=True)
            assert content_at(left / "keyspace") == new

        assert cuts(trace, start, root, check) > 60


def test_an_import(tmp_path: Path) -> None:
    with fast_folder(tmp_path) as folder:
        root = folder / "root"
        root.mkdir()
        with traced() as trace:
            new, _ = prepared(root)
            files.make_directory(root / "begin")
            files.sync_directory(root)
            fjeld.import_from(root / "export", root / "imported")
        start = trace.index(("mkdir", str(root / "begin"))) + 1

        def check(left: Path, done: bool) -> None:
            if done or (left / "imported").exists():
                assert content_at(left / "imported") == new
            else:
                fjeld.import_from(left / "export", left / "imported")

        assert cuts(trace, start, root, check) > 30
