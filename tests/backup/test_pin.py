"""A pin feeds other tools: its files and its metadata together are a checkpoint."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import fjeld
from tests.small import SMALL_PARTITION
from tests.support import fill, opened, settle


def make(path: Path) -> fjeld.Keyspace:
    keyspace = opened(path, memtable_bytes=1 << 20)
    partition = keyspace.partition("a", options=SMALL_PARTITION)
    fill(partition, 200)
    partition.flush()
    fill(partition, 100, seed=2, start=150)
    settle(keyspace)
    return keyspace


def example() -> str:
    """The code in docs/READERS.md that feeds tar."""
    text = (Path(__file__).parents[2] / "docs" / "READERS.md").read_text("utf-8")
    (code,) = (block for block in text.split("```python\n")[1:] if "keyspace.pin()" in block)
    return code.split("```")[0]


def test_the_example_in_the_documentation(tmp_path: Path) -> None:
    with make(tmp_path / "k") as keyspace:
        digest = keyspace.digest()
        exec(example(), {"keyspace": keyspace, "target": str(tmp_path / "copy.tar")})
    (tmp_path / "copy").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "copy.tar", "-C", tmp_path / "copy"], check=True)
    assert fjeld.verify(tmp_path / "copy").digest == digest
    assert fjeld.inspect(tmp_path / "copy").metadata == {"made by": "tar"}


def test_tar(tmp_path: Path) -> None:
    """While what it holds is replaced."""
    (tmp_path / "copy").mkdir()
    with make(tmp_path / "k") as keyspace:
        digest, seqno = keyspace.digest(), keyspace.seqno
        with keyspace.pin() as pin, tempfile.TemporaryDirectory() as small:
            fill(keyspace.partition("a"), 400, seed=3)
            keyspace.compact()  # what the pin holds is replaced meanwhile
            identity = pin.write_metadata(small, metadata={"by": "tar"})
            names = "\n".join(pin.names).encode()
            subprocess.run(
                [
                    "tar",
                    "-cf",
                    tmp_path / "copy.tar",
                    "-C",
                    small,
                    ".",
                    "-C",
                    keyspace.path,
                    "--files-from=-",
                ],
                input=names,
                check=True,
            )
        source = keyspace.id
    subprocess.run(["tar", "-xf", tmp_path / "copy.tar", "-C", tmp_path / "copy"], check=True)
    report = fjeld.verify(tmp_path / "copy")
    assert report.ok, report.problems
    assert (report.kind, report.digest, report.seqno, report.id) == ("checkpoint", digest, seqno, identity)
    found = fjeld.inspect(tmp_path / "copy")
    assert (found.parent, found.metadata) == ((source, seqno), {"by": "tar"})
    with fjeld.open(tmp_path / "copy") as copy:
        assert copy.digest() == digest
        copy.partition("a")[b"goes on"] = b"1"


@pytest.mark.skipif(shutil.which("rsync") is None, reason="there is no rsync here")
def test_rsync(tmp_path: Path) -> None:
    with make(tmp_path / "k") as keyspace, keyspace.pin() as pin:
        digest = keyspace.digest()
        pin.write_metadata(tmp_path / "copy")
        subprocess.run(
            ["rsync", "-a", "--files-from=-", f"{keyspace.path}/", tmp_path / "copy"],
            input="\n".join(pin.names).encode(),
            check=True,
        )
    assert fjeld.verify(tmp_path / "copy").digest == digest


def test_an_empty_keyspace(tmp_path: Path) -> None:
    with opened(tmp_path / "k") as keyspace, keyspace.pin() as pin:
        assert pin.names == []
        pin.write_metadata(tmp_path / "copy")
    assert fjeld.verify(tmp_path / "copy").ok


def test_each_copy_is_one_of_its_own(tmp_path: Path) -> None:
    with make(tmp_path / "k") as keyspace, keyspace.pin() as pin:
        first, second = (pin.write_metadata(tmp_path / name) for name in ("first", "second"))
        assert len({first, second, keyspace.id}) == 3
        for folder in (tmp_path / "first", tmp_path / "k"):
            with pytest.raises(FileExistsError, match="holds a keyspace"):
                pin.write_metadata(folder)
        with pytest.raises(ValueError, match="JSON"):
            pin.write_metadata(tmp_path / "third", metadata={"x": object()})
        assert not (tmp_path / "third").exists()


def test_names_and_paths(tmp_path: Path) -> None:
    with make(tmp_path / "k") as keyspace, keyspace.pin() as pin:
        assert [file.path for file in pin.files] == [keyspace.path / name for name in pin.names]
        assert all(file.path.stat().st_size == file.size_bytes for file in pin.files)
