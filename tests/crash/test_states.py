"""States that power cuts may leave: a sample of each workload's; `./run evidence crash` opens them all."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from fjeld.kernel import files
from tests.crash.disk import Disk, File, Folder, Loss, every_loss
from tests.crash.explore import Explorer
from tests.crash.life import SYNC
from tests.crash.workloads import WORKLOADS, record
from tests.support import abandon, content_at, content_of, fast_folder, opened, traced

SEED = int(os.environ.get("FJELD_TEST_SEED", "20261123"))
LONG = bool(os.environ.get("FJELD_LONG"))


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_a_power_cut_leaves(tmp_path: Path, name: str) -> None:
    print("seed", SEED)
    most = 150 if "large" in name else 250  # a moment of these leaves more folders
    with fast_folder(tmp_path) as folder:
        findings = Explorer(name, SEED, folder, most=8000 if LONG else most).run()
    assert findings.problems == []
    assert findings.opened >= most // 3
    assert len(findings.ways) >= 5


def test_large_values_are_collected(tmp_path: Path) -> None:
    """Blob files are written and go, while their values move on."""
    trace, history, _ = record("large values", tmp_path, SEED)
    operations = Counter(event[0] for event in trace if event[1].endswith(".blb"))
    assert operations["create"] >= 10
    assert operations["unlink"] >= 5
    assert any(len(value) > 64 for value in history.content["a"].values())


# ---- what it has found ----


@pytest.mark.parametrize("flushed", ["a", "b"])
def test_a_flush_of_one_partition_does_not_tear_a_batch(tmp_path: Path, flushed: str) -> None:
    """Of a batch over two partitions one half was in a table, the other in a journal that was not synced."""
    with traced() as trace, opened(tmp_path / "keyspace") as keyspace:
        a, b = keyspace.partition("a"), keyspace.partition("b")
        keyspace.persist(SYNC)
        with keyspace.batch() as batch:
            batch.insert(a, b"k", b"1")
            batch.insert(b, b"k", b"1")
        keyspace.partition(flushed).flush()
        files.make_directory(tmp_path / "flushed")
    disk = Disk(tmp_path)
    for event in trace:
        if event[1].endswith("flushed"):
            break
        disk.apply(event)
    disk.apply(("sync_dir", str(tmp_path)))
    (tmp_path / "after").mkdir()
    disk.cut(tmp_path / "after", None)
    assert content_at(tmp_path / "after" / "keyspace") == {"a": {b"k": b"1"}, "b": {b"k": b"1"}}


def test_a_flush_does_not_sync_what_no_batch_shares(tmp_path: Path) -> None:
    """One partition alone: its journals retire without ever having been synced."""
    with opened(
        tmp_path / "keyspace", memtable_bytes=1 << 20, journal_bytes=1 << 20, journals_max_bytes=1 << 22
    ) as keyspace:
        a = keyspace.partition("a")
        a.insert(b"k", b"1")
        with traced() as trace:
            a.flush()
        assert not [event for event in trace if event[0].startswith("sync") and event[1].endswith(".jnl")]


def test_what_recovery_has_shown_stays(tmp_path: Path) -> None:
    """What a dead process left unsynced is on disk before the next one builds on it."""
    with traced() as trace:
        keyspace = opened(tmp_path / "keyspace")
        keyspace.partition("a").insert(b"k", b"1")
        abandon(keyspace)
        with opened(tmp_path / "keyspace") as keyspace:
            assert content_of(keyspace)["a"] == {b"k": b"1"}
            files.make_directory(tmp_path / "shown")
    disk = Disk(tmp_path)
    for event in trace:
        if event[1].endswith("shown"):
            break
        disk.apply(event)
    disk.apply(("sync_dir", str(tmp_path)))
    (tmp_path / "after").mkdir()
    disk.cut(tmp_path / "after", None)
    assert content_at(tmp_path / "after" / "keyspace") == {"a": {b"k": b"1"}}


# ---- the model of the disk ----


def test_the_disk_loses_what_was_not_synced() -> None:
    disk = Disk(Path("/r"))
    for event in (
        ("create", "/r/f"), ("write", "/r/f", 0, b"old"), ("sync", "/r/f"), ("sync_dir", "/r"),
        ("write", "/r/f", 1, b"NEW"), ("rename", "/r/f", "/r/g"), ("create", "/r/h"),
    ):  # fmt: skip
        disk.apply(event)
    assert disk.tree(Loss()) == {"f": b"old"}
    assert disk.tree(Loss(keep=True)) == {"g": b"oNEW", "h": b""}
    assert disk.tree(Loss(keep_names=True)) == {"g": b"old", "h": b""}
    files, folders = disk.pending()
    assert (len(files), len(folders)) == (1, 1)
    import random

    found = [disk.tree(loss) for _, loss in every_loss(disk, random.Random(1), 200)]
    assert {"f": b"old", "h": b""} in found, "the later name is there, the earlier change of names is not"
    assert {"g": b"oNE"} in found, "a torn write"
    assert all(tree.keys() in ({"f"}, {"g"}, {"f", "h"}, {"g", "h"}) for tree in found), (
        "a renaming is one thing"
    )


def test_a_page_may_be_of_any_age() -> None:
    import random

    file = File()
    file.write(0, bytes(8192))
    file.sync()
    for step in (b"1", b"2", b"3"):
        file.write(0, step)
        file.write(4096, step)
    found = {
        (data[:1], data[4096:4097])
        for data in (file.scattered(random.Random(seed), 4096) for seed in range(900))
    }
    assert found == {(a, b) for a in (b"\0", b"1", b"2", b"3") for b in (b"\0", b"1", b"2", b"3")}


def test_a_folder_takes_what_is_in_it_along() -> None:
    disk = Disk(Path("/r"))
    for event in (
        ("mkdir", "/r/s"), ("create", "/r/s/f"), ("sync_dir", "/r/s"), ("rename", "/r/s", "/r/t"), ("sync_dir", "/r"),
    ):  # fmt: skip
        disk.apply(event)
    assert disk.tree(Loss()) == {"t": None, "t/f": b""}
    assert isinstance(disk.root.safe["t"], Folder)
