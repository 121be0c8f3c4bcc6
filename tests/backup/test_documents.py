"""The documents of a copy: the same bytes as an open keyspace would have left, and nothing that counts too early."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fjeld.kernel import files
from fjeld.manifest.log import ManifestWriter, read_manifest, sealed_manifest
from tests.support import fill, manifest_of, opened, traced


def test_a_sealed_manifest_is_what_a_writer_leaves(tmp_path: Path) -> None:
    with opened(tmp_path / "keyspace") as keyspace:
        fill(keyspace.partition("a"), 300)
        keyspace.flush()
        version = keyspace._engine.store.version
    ManifestWriter(tmp_path, 7, version).close()
    assert (tmp_path / "MANIFEST-000007").read_bytes() == sealed_manifest(7, version)
    again, info = read_manifest(tmp_path / "MANIFEST-000007")
    assert again == version
    assert info.sealed


def test_of_a_pin_the_marker_is_last(tmp_path: Path) -> None:
    """The folder is the caller's: others may look into it."""
    with opened(tmp_path / "keyspace") as keyspace, keyspace.pin() as pin:
        with traced() as trace:
            pin.write_metadata(tmp_path / "small")
        small = str(tmp_path / "small")
        marked = trace.index(("rename", f"{small}/FJELD.tmp", f"{small}/FJELD"))
        assert ("sync_dir", small) in trace[:marked]
        assert [event for event in trace[marked:] if event[0] == "create"] == []
        for name in ("CURRENT", "checkpoint.json", manifest_of(tmp_path / "small").name):
            assert ("sync_all", f"{small}/{name}") in trace[:marked]


@pytest.mark.parametrize("operation", ["create", "write", "sync_all", "sync_dir"])
def test_documents_that_cannot_be_written_are_no_keyspace(tmp_path: Path, operation: str) -> None:
    with opened(tmp_path / "keyspace") as keyspace, keyspace.pin() as pin:
        for after in range(100):
            folder = tmp_path / f"{after}"
            files.inject(operation, after, errno.EIO, path_contains=str(folder))
            try:
                pin.write_metadata(folder)
            except OSError:
                assert not (folder / "FJELD").exists() or operation == "sync_dir"
            else:
                break
            finally:
                files.clear_faults()
        else:
            pytest.fail("it never succeeds")
        assert after >= 1
    names = {name for name in os.listdir(tmp_path / f"{after}") if not name.startswith("MANIFEST")}
    assert names == {"CURRENT", "FJELD", "checkpoint.json", "tables", "blobs", "journals"}
