"""Free space, and the places that something new may appear in."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import fjeld
from fjeld.backup.closed_keyspace import read_closed, read_identity
from fjeld.backup.metadata import check_metadata
from fjeld.backup.space import free_bytes, require_space
from fjeld.backup.targets import new_path, require_outside
from tests.support import abandon, fill, journals_of, opened


def test_free_space(tmp_path: Path) -> None:
    free = free_bytes(str(tmp_path))
    require_space(str(tmp_path), free // 2)
    with pytest.raises(OSError, match="free") as caught:
        require_space(str(tmp_path), free * 2 + (1 << 40))
    assert caught.value.errno == errno.ENOSPC


def test_new_paths(tmp_path: Path) -> None:
    assert new_path(tmp_path / "a" / ".." / "b", "x") == str(tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        new_path(tmp_path / "link", "x")


def test_inside(tmp_path: Path) -> None:
    (tmp_path / "data" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    folder = str(tmp_path / "data")
    for path in (tmp_path / "data", tmp_path / "data" / "in" / "x", tmp_path / "link" / "x"):
        with pytest.raises(ValueError, match="inside"):
            require_outside(str(path), folder, "the keyspace")
    require_outside(str(tmp_path / "data2"), folder, "the keyspace")
    require_outside(str(tmp_path), folder, "the keyspace")


def test_metadata() -> None:
    assert check_metadata(None) is None
    assert check_metadata({"a": (1, 2)}) == {"a": [1, 2]}
    with pytest.raises(TypeError):
        check_metadata([1])
    for wrong in ({"a": float("nan")}, {"a": {1}}):
        with pytest.raises(ValueError, match="JSON"):
            check_metadata(wrong)


def test_a_closed_keyspace_as_it_lies(path: Path, tmp_path: Path) -> None:
    keyspace = opened(path)
    fill(keyspace.partition("a"), 50)
    identity = keyspace.id
    abandon(keyspace)
    found = read_closed(str(path))
    assert read_identity(str(path)) == found.version.id == identity
    assert found.document is None
    assert {record.path for record in found.files} >= {
        f"journals/{journal.name}" for journal in journals_of(path)
    }
    numbers = [int(record.path[-16:-4]) for record in found.files]
    assert found.next_file > max(numbers)
    (path / "CURRENT").rename(path / "elsewhere")
    assert read_identity(str(path)) is None
    with pytest.raises(fjeld.CorruptionError):
        read_closed(str(path))
    with pytest.raises(fjeld.NotAKeyspaceError, match="does not exist"):
        read_closed(str(tmp_path / "none"))
