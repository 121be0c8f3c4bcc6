"""A restore over an old keyspace with each of its file operations failing, also where two names cannot be exchanged:
nothing is lost. (Every other fault and copy: `scenarios.py`.)
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.backup.swap import aside_paths
from fjeld.kernel import files
from tests.small import SMALL_PARTITION
from tests.support import Content, content_at, fast_folder, fill, opened

MOST_OPERATIONS = 2000


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
