"""Several files in one call: all of them or none, synced together."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from fjeld.kernel import files
from fjeld.kernel.file_groups import create_files, sync_directories

CONTENTS = {"a": b"1" * 10_000, "empty": b"", "c": b"3"}
FAULTS = [
    ("create", errno.EMFILE),
    ("write", errno.ENOSPC),
    ("pwrite_short", errno.ENOSPC),
    ("seal", errno.EPERM),
    ("sync_all", errno.EIO),
    ("close", errno.EDQUOT),
]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(names: list[str] | None = None) -> None:
    create_files(list(CONTENTS) if names is None else names, list(CONTENTS.values()))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_they_have_their_bytes_and_are_sealed() -> None:
    before = descriptors()
    make()
    assert {name: Path(name).read_bytes() for name in os.listdir()} == CONTENTS
    assert {stat.S_IMODE(os.stat(name).st_mode) for name in CONTENTS} == {0o444}
    assert descriptors() == before
    create_files([], [])


def test_all_is_written_before_the_first_sync() -> None:
    files.start_trace()
    make()
    trace = [event[0] for event in files.stop_trace()]
    assert trace == (
        ["create", "write", "seal", "create", "seal", "create", "write", "seal"]
        + ["sync_all"] * 3
        + ["close"] * 3
    )


@pytest.mark.parametrize(("operation", "number"), FAULTS)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_all_or_none(operation: str, number: int, after: int) -> None:
    before = descriptors()
    files.inject(operation, after, number)
    failed = [name for name in CONTENTS if CONTENTS[name] or "write" not in operation][after : after + 1]
    if not failed:
        make()
        return
    with pytest.raises(OSError) as raised:
        make()
    assert (raised.value.errno, raised.value.filename) == (number, failed[0])
    files.clear_faults()
    assert os.listdir() == []
    assert descriptors() == before


def test_what_was_there_before_stays() -> None:
    Path("c").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="c"):
        make()
    assert os.listdir() == ["c"]
    assert Path("c").read_bytes() == b"precious"


def test_what_fits_is_needed() -> None:
    with pytest.raises(ValueError, match="2 paths, 3 contents"):
        make(["a", "b"])
    with pytest.raises(ValueError, match="null byte"):
        make(["a", "b\0", "c"])
    with pytest.raises(TypeError):
        create_files(["a"], ["text"])  # type: ignore[list-item]
    assert os.listdir() == []


def test_directories_are_synced_in_their_order() -> None:
    for name in "ab":
        os.mkdir(name)
    files.start_trace()
    sync_directories(["b", "a", "."])
    assert files.stop_trace() == [("sync_dir", "b"), ("sync_dir", "a"), ("sync_dir", ".")]
    files.inject("sync_dir", 1, errno.EIO)
    files.start_trace()
    with pytest.raises(OSError, match="Input/output error: 'a'"):
        sync_directories(["b", "a", "."])
    assert files.stop_trace() == [("sync_dir", "b")]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        sync_directories(["a", "nowhere"])
