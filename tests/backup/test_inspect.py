"""fjeld.inspect: what a path is, without opening it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld.backup import inspect as module
from fjeld.backup.file_kinds import FILE_KINDS, FileKind
from fjeld.kernel import files
from fjeld.manifest.log import read_manifest
from tests.small import SMALL_PARTITION
from tests.support import abandon, fill, journals_of, manifest_of, opened, settle, tree_of


def make(path: Path) -> fjeld.Keyspace:
    keyspace = opened(path, memtable_bytes=1 << 20)
    fill(keyspace.partition("b", options=SMALL_PARTITION), 100)
    keyspace.partition("b").flush()
    keyspace.partition("a").ingest([(b"k%d" % number, b"v") for number in range(5)])
    keyspace.partition("a").remove(b"k1")
    settle(keyspace)
    return keyspace


def test_a_closed_keyspace(tmp_path: Path) -> None:
    with make(tmp_path / "k") as keyspace:
        identity, seqno = keyspace.id, keyspace.seqno
    before = tree_of(tmp_path / "k")
    found = fjeld.inspect(tmp_path / "k")
    assert (found.path, found.kind, found.format) == (tmp_path / "k", "keyspace", 1)
    assert (found.id, found.parent, found.seqno) == (identity, None, seqno)
    assert (found.created_at, found.metadata) == (None, None)
    assert found.in_use is False
    assert found.closed_cleanly
    assert found.journals == ()
    assert [partition.name for partition in found.partitions] == ["a", "b"]
    a, b = found.partitions
    assert (a.entries, a.tombstones, b.entries) == (6, 1, 100)
    assert b.options == SMALL_PARTITION
    assert found.size_bytes == a.size_bytes + b.size_bytes == sum(file.size_bytes for file in found.files)
    assert {file.path for file in found.files} == {name for name in before if name.startswith("tables/")}
    assert found.manifest == manifest_of(tmp_path / "k").name
    assert found.manifest_bytes == manifest_of(tmp_path / "k").stat().st_size
    assert tree_of(tmp_path / "k") == before


def test_a_live_keyspace(tmp_path: Path) -> None:
    with make(tmp_path / "k") as keyspace:
        found = fjeld.inspect(tmp_path / "k")
        assert found.in_use is True
        assert not found.closed_cleanly
        assert found.id == keyspace.id
        assert [journal.path for journal in found.journals] == [
            f"journals/{file.name}" for file in journals_of(tmp_path / "k")
        ]
        assert fjeld.inspect(tmp_path / "k").in_use is True, "looking does not disturb the lock"


def test_one_whose_owner_died(tmp_path: Path) -> None:
    abandon(make(tmp_path / "k"))
    found = fjeld.inspect(tmp_path / "k")
    assert (found.in_use, found.journals != ()) == (False, True)
    for name in ("notes.txt", "000000000001.jnl"):
        (tmp_path / "k" / "journals" / name).write_bytes(b"of no meaning")
    assert read_manifest(manifest_of(tmp_path / "k"))[0].journal_floor > 1
    assert fjeld.inspect(tmp_path / "k").journals == found.journals
    with opened(tmp_path / "k"):
        pass


def test_a_checkpoint(tmp_path: Path) -> None:
    with make(tmp_path / "k") as keyspace:
        info = keyspace.backup_to(tmp_path / "c", metadata={"why": "upgrade"})
    found = fjeld.inspect(str(tmp_path / "c"))
    assert (found.kind, found.id, found.parent) == ("checkpoint", info.id, (info.keyspace_id, info.seqno))
    assert (found.created_at, found.metadata, found.seqno) == (
        info.created_at,
        {"why": "upgrade"},
        info.seqno,
    )
    assert found.files == info.files
    with fjeld.open(tmp_path / "c"):
        pass
    opened_once = fjeld.inspect(tmp_path / "c")
    assert (opened_once.kind, opened_once.parent) == ("keyspace", found.parent)
    assert opened_once.created_at == info.created_at


def test_what_is_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(fjeld.NotAKeyspaceError):
            fjeld.inspect(path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(fjeld.NotAKeyspaceError, match="does not know"):
        fjeld.inspect(tmp_path / "file")


def test_files_are_told_by_their_first_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = FileKind(
        inspect=lambda path: ("inspected", path),  # type: ignore[arg-type,return-value]
        verify=lambda path, **options: ("verified", path, options),  # type: ignore[arg-type,return-value]
    )
    monkeypatch.setitem(FILE_KINDS, b"SOMEKIND", kind)
    (tmp_path / "file").write_bytes(b"SOMEKIND and more")
    assert fjeld.inspect(tmp_path / "file") == ("inspected", str(tmp_path / "file"))
    options = {"scan": False, "progress": None, "cancel": None}
    assert fjeld.verify(tmp_path / "file", scan=False) == ("verified", str(tmp_path / "file"), options)


def test_damage_is_raised(tmp_path: Path) -> None:
    make(tmp_path / "k").close()
    manifest = manifest_of(tmp_path / "k")
    manifest.chmod(0o644)
    manifest.write_bytes(b"damaged")
    with pytest.raises(fjeld.CorruptionError) as caught:
        fjeld.inspect(tmp_path / "k")
    assert caught.value.path == str(manifest)
    (tmp_path / "k" / "CURRENT").write_bytes(b"nothing")
    with pytest.raises(fjeld.CorruptionError):
        fjeld.inspect(tmp_path / "k")


@pytest.mark.parametrize("changes", [0, 3, module.ATTEMPTS])
def test_a_manifest_that_is_replaced_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: int
) -> None:
    """It is read again, as long as CURRENT names another one by then; in the end what is wrong is said."""
    make(tmp_path / "k").close()
    read: list[int] = []

    def fails(folder: str, number: int) -> None:
        read.append(number)
        raise fjeld.CorruptionError("it went away")

    def look(folder: str) -> tuple[int, int]:
        return (read[-1] + (len(read) <= changes), 0)

    monkeypatch.setattr(module, "read_version", fails)
    monkeypatch.setattr(module, "look", look)
    with pytest.raises(fjeld.CorruptionError, match="it went away"):
        fjeld.inspect(tmp_path / "k")
    assert len(read) == min(changes + 1, module.ATTEMPTS)


def test_a_lock_that_cannot_be_looked_at(tmp_path: Path) -> None:
    make(tmp_path / "k").close()
    assert files.is_locked(tmp_path / "none") is False
    files.inject("lock", 0, errno.EACCES)
    assert files.is_locked(tmp_path / "k" / "LOCK") is None


def test_opening_while_somebody_looks(tmp_path: Path) -> None:
    """A look takes the lock, shared, for microseconds: opening tries again."""
    import fcntl
    import os

    from fjeld import opening

    make(tmp_path / "k").close()
    looking = os.open(tmp_path / "k" / "LOCK", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        fcntl.flock(looking, fcntl.LOCK_UN)

    real, opening.time.sleep = opening.time.sleep, pause
    try:
        with fjeld.open(tmp_path / "k"):
            assert len(pauses) == 1
    finally:
        opening.time.sleep = real
        os.close(looking)
