"""One failing file operation, wherever one can fail, in export, import, restore, replace and expire: a clear error,
nothing left behind, nothing lost.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.backup.swap import aside_paths
from fjeld.kernel import files
from tests.small import SMALL_PARTITION
from tests.support import Content, content_at, content_of, fast_folder, fill, opened

MOST_OPERATIONS = 2000
ERRORS = (errno.EIO, errno.ENOSPC)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A keyspace, its checkpoint, its export."""
    with fast_folder(tmp_path_factory.mktemp("place")) as folder:
        with opened(folder / "keyspace") as keyspace:
            keyspace._engine.maintainer.pause_compaction()
            fill(keyspace.partition("a", options=SMALL_PARTITION), 150, value_bytes=60)
            keyspace.flush()
            fill(keyspace.partition("b"), 10, seed=1)
            keyspace.backup_to(folder / "checkpoint")
            keyspace.export_to(folder / "export")
            keyspace.partition("b").clear()
        yield folder


@pytest.fixture(scope="module")
def new(place: Path) -> Content:
    shutil.copytree(place / "checkpoint", place / "copy")
    try:
        return content_at(place / "copy")
    finally:
        shutil.rmtree(place / "copy")


def fail_each(work: Callable[[], object], after_failure: Callable[[], object], **fault: object) -> int:
    """`work` with its first operation failing, then its second, ... until it gets by; how many there were."""
    for after in range(MOST_OPERATIONS):
        files.clear_faults()
        files.inject(None, after, **fault)
        try:
            work()
        except OSError:
            assert files.faults_hit()
            files.clear_faults()
            after_failure()
        else:
            hit = files.faults_hit()
            files.clear_faults()
            if not hit:
                return after
    raise AssertionError("it never ends")


@pytest.mark.parametrize("number", ERRORS)
def test_export(place: Path, number: int) -> None:
    before = sorted(os.listdir(place))
    with opened(place / "keyspace") as keyspace:
        digest = keyspace.digest()
        keyspace._engine.maintainer.pause_compaction()

        def nothing_left() -> None:
            assert sorted(os.listdir(place)) == before
            assert keyspace.digest() == digest

        def work() -> None:
            keyspace.export_to(place / "new", compression="lz4")
            (place / "new").unlink()

        assert fail_each(work, nothing_left, errno=number) > 5


@pytest.mark.parametrize("number", ERRORS)
def test_import(place: Path, new: Content, number: int) -> None:
    before = sorted(os.listdir(place))

    def work() -> None:
        fjeld.import_from(place / "export", place / "new")
        remove(place / "new", new)

    assert fail_each(work, lambda: unchanged(place, before), errno=number) > 20


def remove(path: Path, content: Content) -> None:
    """What got by a failure is whole."""
    files.clear_faults()
    assert content_at(path) == content
    shutil.rmtree(path)


def unchanged(place: Path, before: list[str]) -> None:
    assert sorted(os.listdir(place)) == before


@pytest.mark.parametrize("link", ["auto", "never"])
@pytest.mark.parametrize("number", ERRORS)
def test_restore(place: Path, new: Content, number: int, link: str) -> None:
    before = sorted(os.listdir(place))

    count = 0
    for after in range(MOST_OPERATIONS):
        files.clear_faults()
        files.inject(None, after, number)
        try:
            fjeld.restore(place / "checkpoint", place / "new", link=link)
        except OSError:
            files.clear_faults()
            unchanged(place, before)
            continue
        hit = files.faults_hit()
        remove(place / "new", new)
        if not hit:
            count = after
            break
    assert count > 20


@pytest.mark.parametrize("exchange", [True, False])
def test_replace(place: Path, new: Content, tmp_path: Path, exchange: bool) -> None:
    """Whatever fails: the old one or the new one is there, whole, and the old one is somewhere."""
    with fast_folder(tmp_path) as folder:
        target = folder / "keyspace"
        shutil.copytree(place / "keyspace", folder / "old")
        old = content_at(folder / "old")
        finished = False
        for after in range(MOST_OPERATIONS):
            shutil.copytree(folder / "old", target)
            files.inject(None, after, errno.EIO)
            if not exchange:
                files.inject("exchange", 0, errno.EINVAL, count=1000)
            try:
                fjeld.restore(place / "checkpoint", target, replace=True)
                finished = files.faults_hit() == (0 if exchange else 1)
                files.clear_faults()
                assert content_at(target) == new
            except OSError:
                files.clear_faults()
                found = content_at(target)
                assert found in (old, new)
                info = fjeld.restore(place / "checkpoint", target, replace=True)
                assert content_at(target) == new
                assert info.replaced is not None
            assert old in [content_at(aside) for aside in aside_paths(str(target))]
            fjeld.discard_replaced(target)
            shutil.rmtree(target)
            assert os.listdir(folder) == ["old"]
            if finished:
                break
        assert finished
        assert after > 30


def test_expire(place: Path, tmp_path: Path) -> None:
    with fast_folder(tmp_path) as base:
        folder = fjeld.CheckpointFolder(base / "folder")
        with opened(base / "keyspace") as keyspace:
            keyspace.partition("a")[b"k"] = b"v"
            digest = keyspace.digest()

            for after in range(MOST_OPERATIONS):
                while len(folder.list()) < 3:
                    keyspace.partition("a")[b"k"] = b"v"
                    folder.take(keyspace)
                newest = folder.latest().id
                files.inject(None, after, errno.EIO)
                try:
                    folder.expire(fjeld.RetentionPolicy(last=1))
                except OSError:
                    assert files.faults_hit()
                hit = files.faults_hit()
                files.clear_faults()
                assert folder.damaged() == [], "whole or gone"
                assert folder.latest().id == newest
                folder.clean()
                assert len(os.listdir(folder.path)) == len(folder.list())
                if not hit:
                    break
            assert len(folder.list()) == 1
            assert after > 20
            assert content_of(keyspace)
            assert keyspace.digest() == digest


def test_take(place: Path, tmp_path: Path) -> None:
    with fast_folder(tmp_path) as base:
        folder = fjeld.CheckpointFolder(base / "folder")
        with opened(base / "keyspace") as keyspace:
            keyspace.partition("a")[b"k"] = b"v"
            for after in range(MOST_OPERATIONS):
                files.inject("rename", after, errno.EIO, path_contains=str(folder.path))
                before = len(folder.list())
                try:
                    folder.take(keyspace)
                except OSError:
                    files.clear_faults()
                    assert len(folder.list()) == before == len(os.listdir(folder.path))
                else:
                    hit = files.faults_hit()
                    files.clear_faults()
                    if not hit:
                        break
            assert after > 2
