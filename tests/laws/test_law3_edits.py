"""Law 3: a version is a value; an edit is in the manifest, synced, before its version is visible."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fjeld.kernel import files
from fjeld.sync_points import set_sync_point
from tests.small import SMALL_PARTITION
from tests.support import Event, fill, opened, settle


class Order:
    """Looks on as each edit is made: what was done to the files before it became visible."""

    def __init__(self, keyspace) -> None:
        self._store = keyspace._engine.store
        self._before = self._store.version
        self.edits = 0
        self.problems: list[str] = []
        set_sync_point("manifest:synced", self._synced)
        files.start_trace()

    def _synced(self) -> None:
        trace = files.stop_trace()
        self.edits += 1
        self.problems += problems_before_install(trace)
        files.start_trace()


def problems_before_install(trace: list[Event]) -> list[str]:
    """What is not on disk of the manifest, and of the tables that were made, at the end of the trace."""
    dirty: set[str] = set()
    unnamed: set[str] = set()
    for name, path, *_ in trace:
        if name == "write":
            dirty.add(path)
        elif name in ("sync", "sync_all"):
            dirty.discard(path)
        elif name == "create":
            unnamed.add(path)
        elif name == "unlink":
            dirty.discard(path)
            unnamed.discard(path)
        elif name == "sync_dir":
            unnamed = {file for file in unnamed if Path(file).parent != Path(path)}
    found = [f"{path} is not synced" for path in dirty if "MANIFEST" in path or path.endswith(".sst")]
    return found + [f"the name of {path} is not synced" for path in unnamed if path.endswith(".sst")]


def test_what_is_not_synced_is_found() -> None:
    table, manifest = "/k/tables/1.sst", "/k/MANIFEST-1"
    good = [("create", table), ("write", table, 0, b"x"), ("sync_all", table), ("sync_dir", "/k/tables")]
    good += [("write", manifest, 0, b"x"), ("sync", manifest)]
    assert problems_before_install(good) == []
    for left_out in (2, 3, 5):
        assert problems_before_install(good[:left_out] + good[left_out + 1 :])


def test_an_edit_is_synced_before_it_is_visible(path: Path) -> None:
    # One thread: what another one is in the middle of would look unsynced.
    with opened(path, memtable_bytes=1 << 20, journal_bytes=1 << 20, journals_max_bytes=4 << 20) as keyspace:
        settle(keyspace)
        keyspace._engine.maintainer.pause_compaction()
        order = Order(keyspace)
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        for part in range(3):
            fill(partition, 200, seed=part)
            partition.flush()
        keyspace.compact()
        partition.clear()
        keyspace.drop_partition("a")
        set_sync_point("manifest:synced", None)
        assert order.edits >= 7
        assert order.problems == []


def test_readers_see_the_old_version_until_the_edit_is_synced(path: Path) -> None:
    with opened(path) as keyspace:
        store = keyspace._engine.store
        settle(keyspace)
        seen = []
        set_sync_point("manifest:synced", lambda: seen.append(store.version.partition("new")))
        keyspace.partition("new")
        assert seen == [None]
        assert store.version.partition("new") is not None


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_an_edit_that_failed_is_not_visible(path: Path, operation: str) -> None:
    with opened(path) as keyspace:
        settle(keyspace)
        store = keyspace._engine.store
        before = store.version
        files.inject(operation, 0, errno.EIO, path_contains="MANIFEST")
        with pytest.raises(OSError, match="Input/output error"):
            keyspace.partition("new")
        assert store.version.partitions == before.partitions
        assert keyspace.partitions() == []
        keyspace.partition("new").insert(b"k", b"v")  # a new manifest was begun
        assert keyspace.partitions() == ["new"]
    with opened(path) as keyspace:
        assert dict(keyspace.partition("new", create=False).items()) == {b"k": b"v"}


def test_a_version_never_changes(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        kept = []
        for part in range(3):
            fill(partition, 300, seed=part)
            keyspace.flush()
            version = keyspace._engine.store.version
            kept.append((version, version.text()))
        keyspace.compact()
        partition.clear()
        for version, as_it_was in kept:
            version.check()
            assert version.text() == as_it_was
