"""Every file operation on a blob file fails once: nothing is lost, nothing is left, and it goes on."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from tests.support import content_at, content_of, fast_folder, opened, settle
from tests.test_kv_separation import SEPARATED, blobs_of, figures, load

OPERATIONS = ["create", "write", "sync", "seal", "close", "sync_dir"]


def work(partition: fjeld.Partition, what: str) -> None:
    if what == "ingest":
        partition.ingest((b"%06d" % number, b"%d" % number * 300) for number in range(500, 560))
    elif what == "flush":
        partition.flush()
    else:
        partition.compact()


def left_over(keyspace: fjeld.Keyspace, path: Path) -> set[str]:
    settle(keyspace)
    version = keyspace._engine.store.version
    return {file.name for file in blobs_of(path)} - {Path(blob.path).name for blob in version.blobs()}


@pytest.mark.parametrize("what", ["flush", "compact", "ingest"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_fails_at_each_call_until_it_succeeds(tmp_path: Path, operation: str, what: str) -> None:
    with fast_folder(tmp_path) as folder, opened(folder / "keyspace", memtable_bytes=1 << 20) as keyspace:
        path = folder / "keyspace"
        partition = keyspace.partition("a", options=SEPARATED)
        keyspace._engine.maintainer.pause_compaction()
        load(partition, 60, seed=1)
        partition.flush()
        load(partition, 40, seed=2)
        failures = 0
        for after in itertools.count():
            before = content_of(keyspace)
            files.inject(operation, after, errno.ENOSPC, path_contains="/blobs", count=1)
            try:
                work(partition, what)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                failures += 1
            else:
                break
            finally:
                files.clear_faults()
            assert content_of(keyspace) == before
            assert not left_over(keyspace, path)
            keyspace._engine.store.version.check()
        assert failures > 0
        assert not left_over(keyspace, path)
        if what == "compact":
            assert figures(partition)["garbage_bytes"] == 0
        expected = content_of(keyspace)
        keyspace.close()
        assert content_at(path) == expected


@pytest.mark.parametrize("what", ["get", "scan", "get_many"])
def test_a_read_that_fails_is_raised_and_can_be_tried_again(path: Path, what: str) -> None:
    with opened(path) as keyspace:
        expected = load(keyspace.partition("a", options=SEPARATED), 60)
    with opened(path) as keyspace:
        partition = keyspace.partition("a")

        def read() -> object:
            if what == "get":
                return partition[b"000001"]
            return dict(partition.items()) if what == "scan" else partition.get_many([b"000001", b"000002"])

        for operation in ("open", "read"):
            keyspace._engine.store.descriptors.close_all()
            files.inject(operation, 0, errno.EIO, path_contains=".blb", count=1)
            with pytest.raises(OSError, match="Input/output"):
                read()
            files.clear_faults()
        assert read()
        assert dict(partition.items()) == expected
