"""Each kind of backup when there is nothing else any more: it opens, is whole, and is what it should be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import fjeld
from tests.backup.kinds import KINDS, OPTIONS, REMOVED, source
from tests.support import Content, content_at, content_of, settle


def purge(folder: Path, keep: Path) -> None:
    """Everything in the folder but one thing, whatever it lies in."""
    keep.rename(folder / "kept")
    for name in os.listdir(folder):
        if name != "kept":
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    keep.parent.mkdir(exist_ok=True)
    (folder / "kept").rename(keep)


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, quick_folder: Path) -> tuple[Path, Content]:
    with source(quick_folder / "source") as keyspace:
        path, expected = KINDS[request.param](keyspace, quick_folder)
        if not keyspace._engine.closed:
            keyspace.partition("a").clear()
            keyspace.partition("b")[b"later"] = b"1"
            keyspace.compact()
            settle(keyspace)
    purge(quick_folder, path)
    return path, expected


def test_purge_and_open(made: tuple[Path, Content]) -> None:
    path, expected = made
    report = fjeld.verify(path)
    assert (report.problems, report.leftovers) == ((), ())
    assert report.entries == sum(map(len, expected.values()))
    with fjeld.open_readonly(path) as reader:
        assert content_of(reader) == expected
    with fjeld.open(path, create=False) as keyspace:
        assert content_of(keyspace) == expected
        assert keyspace.digest() == report.digest
        assert {name: keyspace.partition(name).options for name in expected} == {
            name: OPTIONS[name] for name in expected
        }
        keyspace.compact()
        assert content_of(keyspace) == expected
        assert not any(set(REMOVED) & entries.keys() for entries in expected.values())
        keyspace.partition("b")[b"goes on"] = b"1"
    assert content_at(path)["b"][b"goes on"] == b"1"
