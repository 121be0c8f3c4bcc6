"""Export and import: what goes in comes out, through whatever lies between."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld.options import Fifo, Leveled, SizeTiered
from fjeld.sync_points import set_sync_point
from tests.small import SMALL_PARTITION
from tests.support import (
    Gate,
    Task,
    content_of,
    fast_folder,
    fill,
    leftovers,
    opened,
    running,
    settle,
    traced,
)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory: hundreds of syncs."""
    with fast_folder(tmp_path_factory.mktemp("folder")) as folder:
        yield folder


@pytest.fixture
def keyspace(path: Path):
    with opened(path) as keyspace:
        a = keyspace.partition("a", options=SMALL_PARTITION)
        fill(a, 2000)
        keyspace.flush()
        for number in range(0, 2000, 3):
            a.remove(b"%08d" % number)
        b = keyspace.partition(
            "b", options=fjeld.PartitionOptions(compression=("none", "zstd"), filter_bits=3)
        )
        fill(b, 100, value_bytes=2000)
        b[b""] = b""
        keyspace.partition("empty/ö", options=fjeld.PartitionOptions(compaction=SizeTiered(min_runs=3)))
        yield keyspace


class Pipe(io.RawIOBase):
    """Takes a few bytes at a time, has no position and no name."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data[:1000])
        return min(len(data), 1000)


class Trickle:
    """Gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 777))


def exported(keyspace: fjeld.Keyspace, **options: Any) -> bytes:
    out = io.BytesIO()
    keyspace.export_to(out, **options)
    return out.getvalue()


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_there_and_back(keyspace: fjeld.Keyspace, tmp_path: Path, compression: str) -> None:
    content, digest = content_of(keyspace), keyspace.digest()
    metadata = {"reason": "upgrade", "ö": [1, None, 0.5]}
    info = keyspace.export_to(tmp_path / "x", compression=compression, metadata=metadata)
    assert info.digest == digest
    assert info.entries == sum(map(len, content.values()))
    assert info.partitions == ("a", "b", "empty/ö")
    assert (info.keyspace_id, info.seqno, info.metadata) == (keyspace.id, keyspace.seqno, metadata)
    assert info.path == tmp_path / "x"
    assert info.size_bytes == (tmp_path / "x").stat().st_size
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o444
    assert info.created_at.tzinfo is UTC
    new = fjeld.import_from(tmp_path / "x", tmp_path / "new")
    assert (new.digest, new.entries, new.seqno, new.metadata) == (digest, info.entries, info.seqno, metadata)
    assert (new.keyspace_id, new.created_at, new.size_bytes) == (
        keyspace.id,
        info.created_at,
        info.size_bytes,
    )
    assert new.id != keyspace.id
    with fjeld.open(new.path, create=False) as copy:
        assert copy.digest() == digest
        assert content_of(copy) == content
        assert (copy.id, copy.parent, copy.seqno) == (new.id, (keyspace.id, info.seqno), info.seqno)
        for name in copy.partitions():
            assert copy.partition(name).options == keyspace.partition(name).options
        copy.partition("a")[b"new"] = b"1"
        assert copy.seqno == info.seqno + 1
        copy.compact()
    assert leftovers(tmp_path) == []


def test_an_import_is_tables_of_the_deepest_level(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    keyspace.export_to(tmp_path / "x")
    fjeld.import_from(tmp_path / "x", tmp_path / "new")
    with opened(tmp_path / "new") as copy:
        copy._engine.maintainer.pause_compaction()
        state = copy._engine.store.version.partition("a")
        assert state is not None
        assert [len(level) for level in state.levels[:-1]] == [0] * 6
        assert len(state.levels[-1]) > 5, "cut at the size that the options say"
        assert not (tmp_path / "new" / "checkpoint.json").read_text().startswith("{}")


@pytest.mark.parametrize("compaction", [Fifo(max_bytes=1 << 30), SizeTiered(), Leveled()])
def test_every_strategy(tmp_path: Path, path: Path, compaction: Any) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a", options=fjeld.PartitionOptions(compaction=compaction)), 500)
        data, digest = exported(keyspace), keyspace.digest()
    fjeld.import_from(io.BytesIO(data), tmp_path / "new")
    with opened(tmp_path / "new") as copy:
        copy.compact()
        settle(copy)
        assert copy.digest() == digest
        assert copy.partition("a").options.compaction == compaction


def test_tables_of_first_in_first_out_are_cut(tmp_path: Path, path: Path, monkeypatch) -> None:
    monkeypatch.setattr("fjeld.export.importer.FIFO_TABLE_BYTES", 4096)
    options = fjeld.PartitionOptions(compaction=Fifo(max_bytes=1 << 30))
    with opened(path) as keyspace:
        fill(keyspace.partition("a", options=options), 1000)
        data, content = exported(keyspace), content_of(keyspace)
    fjeld.import_from(io.BytesIO(data), tmp_path / "new")
    with opened(tmp_path / "new") as copy:
        state = copy._engine.store.version.partition("a")
        assert len(state.levels[0]) > 3
        assert content_of(copy) == content


def test_through_a_pipe(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    pipe = Pipe()
    info = keyspace.export_to(pipe)
    assert info.path is None
    assert info.size_bytes == len(pipe.data)
    assert fjeld.import_from(Trickle(bytes(pipe.data)), tmp_path / "new").digest == keyspace.digest()
    read, write = os.pipe()

    def send() -> None:
        with os.fdopen(write, "wb") as file:
            keyspace.export_to(file)

    task = Task(send)
    with os.fdopen(read, "rb") as file:
        fjeld.import_from(file, tmp_path / "piped")
    task.result()
    assert fjeld.open(tmp_path / "piped").digest() == keyspace.digest()


def test_a_file_object_that_says_nothing_or_nonsense(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    class Silent:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes) -> None:
            self.data += data

    class Liar:
        def write(self, data: bytes) -> int:
            return len(data) + 1

    silent = Silent()
    keyspace.export_to(silent)
    fjeld.import_from(io.BytesIO(silent.data), tmp_path / "new")
    with pytest.raises(OSError, match="took"):
        keyspace.export_to(Liar())


def test_only_some_partitions(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    info = keyspace.export_to(tmp_path / "x", partitions=["b", "a", "b"])
    assert info.partitions == ("a", "b")
    fjeld.import_from(tmp_path / "x", tmp_path / "new")
    with fjeld.open(tmp_path / "new") as copy:
        assert copy.partitions() == ["a", "b"]
        assert copy.digest() == info.digest
    with pytest.raises(KeyError, match="nope"):
        keyspace.export_to(tmp_path / "y", partitions=["nope"])
    with pytest.raises(TypeError, match="list of names"):
        keyspace.export_to(tmp_path / "y", partitions="a")


def test_as_of_a_snapshot(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    with keyspace.snapshot() as snapshot:
        digest = keyspace.digest()
        keyspace.partition("a").clear()
        keyspace.partition("b")[b"x"] = b"later"
        info = keyspace.export_to(tmp_path / "x", snapshot=snapshot)
        assert (info.digest, info.seqno) == (digest, snapshot.seqno)
        assert snapshot.partitions(), "the snapshot stays open"
    with opened(tmp_path / "other") as other, other.snapshot() as foreign:
        with pytest.raises(ValueError, match="another keyspace"):
            keyspace.export_to(tmp_path / "y", snapshot=foreign)
    with pytest.raises(TypeError, match="snapshot must be"):
        keyspace.export_to(tmp_path / "y", snapshot="now")


def test_writes_go_on_meanwhile(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    digest = keyspace.digest()
    gate = Gate("export:chunk")
    task = Task(lambda: keyspace.export_to(tmp_path / "x"))
    gate.wait()
    partition = keyspace.partition("a")
    fill(partition, 1000, seed=5)
    partition.compact()
    assert not (tmp_path / "x").exists(), "not before it is whole"
    gate.open()
    assert task.result().digest == digest

    def write(stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            partition.insert(b"%08d" % (number % 3000), b"%d" % number)
            number += 1

    with running(write):
        info = keyspace.export_to(tmp_path / "y")
    assert fjeld.import_from(tmp_path / "y", tmp_path / "new").digest == info.digest


def test_progress_and_cancel(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []
    info = keyspace.export_to(tmp_path / "x", progress=lambda *numbers: seen.append(numbers))
    assert seen[-1] == (3, 3, info.raw_bytes, 0)
    assert seen == sorted(seen)
    seen.clear()
    fjeld.import_from(tmp_path / "x", tmp_path / "new", progress=lambda *numbers: seen.append(numbers))
    assert seen[-1][:2] == (3, 3)
    assert seen[-1][3] == info.size_bytes
    assert seen == sorted(seen)
    cancel = threading.Event()
    for point, work in (
        ("export:chunk", lambda: keyspace.export_to(tmp_path / "y", cancel=cancel)),
        ("import:chunk", lambda: fjeld.import_from(tmp_path / "x", tmp_path / "y", cancel=cancel)),
    ):
        set_sync_point(point, cancel.set)
        with pytest.raises(fjeld.CancelledError, match=point.partition(":")[0]):
            work()
        set_sync_point(point, None)
        assert not (tmp_path / "y").exists()
        with pytest.raises(fjeld.CancelledError):
            work()
        cancel.clear()
    assert leftovers(tmp_path) == []


def test_bad_targets(keyspace: fjeld.Keyspace, tmp_path: Path, path: Path) -> None:
    (tmp_path / "there").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="never replaces"):
        keyspace.export_to(tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"precious"
    with pytest.raises(FileNotFoundError, match="make it first"):
        keyspace.export_to(tmp_path / "no" / "x")
    with pytest.raises(NotADirectoryError):
        keyspace.export_to(tmp_path / "there" / "x")
    with pytest.raises(ValueError, match="lies inside"):
        keyspace.export_to(path / "tables" / "x")
    with pytest.raises(TypeError, match="binary file"):
        keyspace.export_to(3)
    with pytest.raises(fjeld.InvalidOptionError, match="compression"):
        keyspace.export_to(tmp_path / "x", compression="rar")
    with pytest.raises(ValueError, match="metadata"):
        keyspace.export_to(tmp_path / "x", metadata={"a": object()})
    assert sorted(os.listdir(tmp_path)) == ["keyspace", "there"]


def test_bad_sources(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fjeld.import_from(tmp_path / "none", tmp_path / "new")
    with pytest.raises(IsADirectoryError):
        fjeld.import_from(tmp_path, tmp_path / "new")
    with pytest.raises(TypeError, match="binary mode"):
        fjeld.import_from(io.StringIO("text"), tmp_path / "new")
    with pytest.raises(TypeError, match="path or a binary file"):
        fjeld.import_from(None, tmp_path / "new")
    data = exported(keyspace)
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(FileExistsError):
        fjeld.import_from(io.BytesIO(data), tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        fjeld.import_from(io.BytesIO(data), tmp_path / "file" / "new")

    class Later:
        def read(self, size: int) -> None:
            return None

    class Much:
        def read(self, size: int) -> bytes:
            return bytes(size + 1)

    with pytest.raises(BlockingIOError):
        fjeld.import_from(Later(), tmp_path / "new")
    with pytest.raises(ValueError, match="more bytes"):
        fjeld.import_from(Much(), tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["file", "keyspace"]


def test_a_closed_keyspace_and_a_dropped_partition(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    set_sync_point("export:chunk", lambda: "b" in keyspace.partitions() and keyspace.drop_partition("b"))
    with pytest.raises(fjeld.ClosedError):
        keyspace.export_to(tmp_path / "x")
    set_sync_point("export:chunk", None)
    keyspace.close()
    with pytest.raises(fjeld.ClosedError):
        keyspace.export_to(tmp_path / "x")
    assert sorted(os.listdir(tmp_path)) == ["keyspace"]


CHILD = """
import os, sys
import fjeld
from fjeld.sync_points import set_sync_point
set_sync_point("export:chunk", lambda: os._exit(9))
with fjeld.open(sys.argv[1]) as keyspace:
    keyspace.export_to(sys.argv[2])
"""


def test_what_a_dead_export_left_goes_with_the_next(tmp_path: Path) -> None:
    with fjeld.open(tmp_path / "data") as keyspace:
        keyspace.partition("a")[b"k"] = b"v"
    child = [sys.executable, "-c", CHILD, str(tmp_path / "data"), str(tmp_path / "x")]
    assert subprocess.run(child, check=False).returncode == 9
    assert len(leftovers(tmp_path)) == 1
    with fjeld.open(tmp_path / "data") as keyspace:
        gate = Gate("export:chunk")
        task = Task(lambda: keyspace.export_to(tmp_path / "x"))
        gate.wait()
        assert len(leftovers(tmp_path)) == 1, "its own"
        keyspace.export_to(tmp_path / "x")
        assert len(leftovers(tmp_path)) == 1, "of one that lives"
        gate.open()
        with pytest.raises(FileExistsError):
            task.result()
    assert leftovers(tmp_path) == []


def test_the_name_appears_when_all_is_on_disk(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    with traced() as trace:
        keyspace.export_to(tmp_path / "x")
    kinds = [event[0] for event in trace if "x" in str(event[1]) or event[1] == str(tmp_path)]
    kinds = [kind for kind in kinds if kind not in ("write", "open", "read", "close")]
    assert kinds[-4:] == ["seal", "sync", "rename", "sync_dir"]


def test_an_import_describes_itself(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    keyspace.export_to(tmp_path / "x", metadata={"why": "test"})
    info = fjeld.import_from(tmp_path / "x", tmp_path / "new")
    document = json.loads((tmp_path / "new" / "checkpoint.json").read_text())
    assert (document["id"], document["metadata"]) == (info.id, {"why": "test"})
    assert document["parent"] == {"id": keyspace.id, "seqno": info.seqno}


@pytest.mark.parametrize("compaction", [Leveled(), SizeTiered(), Fifo()])
def test_large_values_of_an_import_lie_apart_from_their_keys(
    path: Path, tmp_path: Path, compaction: Any
) -> None:
    separation = fjeld.KvSeparation(threshold_bytes=1000, file_size_bytes=100_000)
    options = fjeld.PartitionOptions(kv_separation=separation, compaction=compaction)
    target = tmp_path / "imported"
    with opened(path) as keyspace:
        a = keyspace.partition("a", options=options)
        fill(a, 300, value_bytes=3000)
        fill(a, 300, value_bytes=30, start=300)
        info = keyspace.export_to(tmp_path / "e.fjx")
        wanted = content_of(keyspace)
    imported = fjeld.import_from(tmp_path / "e.fjx", target)
    assert imported.digest == info.digest
    assert fjeld.verify(target).ok
    assert len(list((target / "blobs").iterdir())) >= 5
    assert sum(table.stat().st_size for table in (target / "tables").iterdir()) < 300 * 200
    with fjeld.open(target) as keyspace:
        assert content_of(keyspace) == wanted
        assert keyspace.partition("a").stats()["blobs"]["garbage_bytes"] == 0


def test_an_import_that_fails_leaves_no_blob_file(path: Path, tmp_path: Path) -> None:
    options = fjeld.PartitionOptions(kv_separation=fjeld.KvSeparation(threshold_bytes=1000))
    with opened(path) as keyspace:
        fill(keyspace.partition("a", options=options), 300, value_bytes=3000)
        keyspace.export_to(tmp_path / "e.fjx")
    whole = (tmp_path / "e.fjx").read_bytes()
    with pytest.raises(fjeld.CorruptionError, match="cut short"):
        fjeld.import_from(io.BytesIO(whole[:-10]), tmp_path / "imported")
    assert leftovers(tmp_path) == []
