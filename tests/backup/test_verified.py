"""Verified backups, copies, and free space: damage in the source is found before a backup is called good."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld import CorruptionError
from fjeld.backup import crew, space
from fjeld.backup.file_check import check_file, check_files
from fjeld.backup.progress import Meter
from fjeld.kernel import files
from fjeld.kernel.checksum import file_xxh128
from fjeld.manifest.state import FileRecord
from tests.small import SMALL_PARTITION
from tests.support import digest_at, fill, opened, settle, tree_of

DAMAGE = ["flipped", "cut", "longer"]


@pytest.fixture
def path(quick_folder: Path) -> Path:
    return quick_folder / "keyspace"


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 3] ^= 0x10
    elif how == "cut":
        del data[-1]
    else:
        data.append(0)
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.fixture
def keyspace(path: Path) -> Iterator[fjeld.Keyspace]:
    with opened(path) as made:
        fill(made.partition("a", options=SMALL_PARTITION), 500)
        made.flush()
        settle(made)
        made._engine.maintainer.pause_compaction()
        fill(made.partition("b"), 10)
        yield made


def outside(keyspace: fjeld.Keyspace) -> list[str]:
    return os.listdir(Path(keyspace.path).parent)


# ---- verify ----


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("link", ["auto", "never"])
def test_a_damaged_source_is_no_backup(
    keyspace: fjeld.Keyspace,
    path: Path,
    quick_folder: Path,
    monkeypatch: Any,
    how: str,
    link: str,
    workers: int,
) -> None:
    if workers == 2:
        monkeypatch.setattr(crew, "TOGETHER_BYTES", 1)
    victim = path / next(keyspace._engine.store.version.tables()).path
    damage(victim, how)
    with pytest.raises(CorruptionError) as raised:
        keyspace.backup_to(quick_folder / "checkpoint", link=link, verify=True, with_snapshot=True)
    assert raised.value.path == str(victim)
    assert outside(keyspace) == ["keyspace"]
    assert keyspace.stats()["open_snapshots"] == 0


def test_without_verify_a_link_takes_the_damage_along(keyspace: fjeld.Keyspace, quick_folder: Path) -> None:
    """What verify is for."""
    damage(Path(keyspace.path, next(keyspace._engine.store.version.tables()).path), "flipped")
    keyspace.backup_to(quick_folder / "checkpoint")


def test_a_file_that_vanishes(keyspace: fjeld.Keyspace, quick_folder: Path) -> None:
    victim = Path(keyspace.path, next(keyspace._engine.store.version.tables()).path)
    victim.unlink()
    with pytest.raises(FileNotFoundError):
        keyspace.backup_to(quick_folder / "checkpoint", verify=True)
    assert outside(keyspace) == ["keyspace"]


def test_a_table_that_was_written_wrong(
    keyspace: fjeld.Keyspace, quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is new in the backup is read back as well."""
    from fjeld.backup.making import Making

    original = Making.verify

    def spoil(making: Making, meter: Meter) -> None:
        damage(next(Path(making._staging, "tables").iterdir()), "flipped")
        original(making, meter)

    monkeypatch.setattr(Making, "verify", spoil)
    with pytest.raises(CorruptionError, match="not those that were written"):
        keyspace.backup_to(quick_folder / "checkpoint", compact=True, verify=True)
    assert outside(keyspace) == ["keyspace"]


def test_damage_met_while_merging(keyspace: fjeld.Keyspace, path: Path, quick_folder: Path) -> None:
    victim = path / next(keyspace._engine.store.version.tables()).path
    keyspace.close()
    damage(victim, "flipped")
    with opened(path) as again:
        again._engine.maintainer.pause_compaction()
        with pytest.raises(CorruptionError) as raised:
            again.backup_to(quick_folder / "checkpoint", compact=True)
        assert raised.value.path == str(victim)
        assert outside(again) == ["keyspace"]


# ---- the check by itself ----


def record_of(path: Path) -> FileRecord:
    size_bytes, xxh128 = file_xxh128(str(path))
    return FileRecord(path.name, size_bytes, xxh128)


@pytest.mark.parametrize("how", [*DAMAGE, "gone"])
def test_one_file(quick_folder: Path, how: str) -> None:
    (quick_folder / "f").write_bytes(bytes(range(100)))
    record = record_of(quick_folder / "f")
    check_file(quick_folder, record)
    if how == "gone":
        (quick_folder / "f").unlink()
    else:
        damage(quick_folder / "f", how)
    told = {"gone": "missing", "cut": "99 bytes, 100 were", "longer": "101 bytes, 100 were"}
    with pytest.raises(CorruptionError, match=told.get(how, "not those")) as raised:
        check_file(quick_folder, record)
    assert raised.value.path == str(quick_folder / "f")
    with pytest.raises(CorruptionError, match="elsewhere"):
        check_files(quick_folder, [record], Meter(1, 100, None, None), named=lambda _record: "elsewhere")


def test_a_record_of_nothing_finished_never_fits(quick_folder: Path) -> None:
    (quick_folder / "f").write_bytes(b"x")
    with pytest.raises(CorruptionError):
        check_file(quick_folder, FileRecord("f", None, None))


# ---- copies ----


@pytest.mark.parametrize("workers", [1, 2])
def test_copies_are_summed_on_their_way(
    keyspace: fjeld.Keyspace, path: Path, quick_folder: Path, monkeypatch: Any, workers: int
) -> None:
    if workers == 2:
        monkeypatch.setattr(crew, "TOGETHER_BYTES", 1)
    info = keyspace.backup_to(quick_folder / "checkpoint", link="never")
    assert info.copied_bytes == sum(file.size_bytes or 0 for file in info.files)
    assert digest_at(quick_folder / "checkpoint") == keyspace.digest()
    before = tree_of(path)
    damage(path / info.files[1].path, "flipped")
    with pytest.raises(CorruptionError, match="given up"):
        keyspace.backup_to(quick_folder / "another", link="never")
    assert before != tree_of(path)
    assert sorted(outside(keyspace)) == ["checkpoint", "keyspace"]


def test_a_clone_of_another_size(
    keyspace: fjeld.Keyspace, quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clones are not read, but what can be seen without reading is looked at."""
    monkeypatch.setattr(files, "copy_file_summed", lambda *_args, **_options: (5, 0, None))
    with pytest.raises(CorruptionError, match="given up"):
        keyspace.backup_to(quick_folder / "checkpoint", link="never")


@pytest.mark.parametrize("size_bytes", [0, 1, 255 << 10, 256 << 10, (1 << 20) + 7])
@pytest.mark.parametrize("reflink", [False, True])
def test_copy_file_summed(quick_folder: Path, size_bytes: int, reflink: bool) -> None:
    data = os.urandom(size_bytes)
    (quick_folder / "a").write_bytes(data)
    reflinked, copied, xxh128 = files.copy_file_summed(
        quick_folder / "a", quick_folder / "b", reflink=reflink
    )
    assert (quick_folder / "b").read_bytes() == data
    assert (quick_folder / "b").stat().st_mode & 0o777 == 0o444
    assert reflinked + copied == size_bytes
    assert xxh128 == (None if reflinked else file_xxh128(str(quick_folder / "a"))[1])


def test_a_copy_is_cancelled(quick_folder: Path) -> None:
    (quick_folder / "a").write_bytes(b"x" * 100)
    cancel = files.CancelFlag()
    cancel.set()
    with pytest.raises(OSError, match="cancel") as raised:
        files.copy_file_summed(quick_folder / "a", quick_folder / "b", reflink=False, cancel=cancel)
    assert raised.value.errno == errno.ECANCELED
    assert not (quick_folder / "b").exists()


# ---- free space ----


def test_a_copy_that_cannot_fit(
    keyspace: fjeld.Keyspace, quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(file.size_bytes or 0 for file in keyspace.backup_to(quick_folder / "measured").files)
    monkeypatch.setattr(space, "free_bytes", lambda _folder: needed - 1)
    files.start_trace()
    with pytest.raises(OSError, match=f"{needed:,} bytes are needed, {needed - 1:,} are free") as raised:
        keyspace.backup_to(quick_folder / "checkpoint", link="never")
    assert not [event for event in files.stop_trace() if event[0] == "copy"], "not a byte was copied"
    assert raised.value.errno == errno.ENOSPC
    assert sorted(outside(keyspace)) == ["keyspace", "measured"]
    keyspace.backup_to(quick_folder / "linked")  # needs none
    monkeypatch.setattr(space, "free_bytes", lambda _folder: needed)
    keyspace.backup_to(quick_folder / "checkpoint", link="never")
    monkeypatch.setattr(space, "free_bytes", lambda _folder: None)
    keyspace.backup_to(quick_folder / "unknown", link="never")


def test_links_that_become_copies_need_space(
    keyspace: fjeld.Keyspace, quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known once the first file could not be shared."""
    files.inject("link", 0, errno.EXDEV, count=1000)
    files.inject("reflink", 0, errno.EOPNOTSUPP, count=1000)
    monkeypatch.setattr(space, "free_bytes", lambda _folder: 10)
    files.start_trace()
    with pytest.raises(OSError, match="are free") as raised:
        keyspace.backup_to(quick_folder / "checkpoint")
    assert len([event for event in files.stop_trace() if event[0] == "copy"]) == 1
    assert raised.value.errno == errno.ENOSPC
    assert outside(keyspace) == ["keyspace"]


def test_what_a_file_system_says(quick_folder: Path) -> None:
    found = space.free_bytes(str(quick_folder))
    assert found is None or found > 0
    space.require_space(str(quick_folder), 0)
