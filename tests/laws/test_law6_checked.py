"""Law 6: a wrong byte is a CorruptionError with file and offset: never a wrong value, a crash or silence."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import fjeld
from fjeld.errors import CorruptionError, FjeldError, UnsupportedFormatError
from tests.support import content_of, crash_copy, fill, journals_of, manifest_of, opened, tables_of

FLIPS = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A keyspace with tables, a finished journal and an active one, as a killed process leaves it."""
    folder = tmp_path_factory.mktemp("whole")
    with opened(
        folder / "keyspace", memtable_bytes=1 << 20, journal_bytes=1 << 16, journals_max_bytes=1 << 20
    ) as keyspace:
        partition = keyspace.partition("a")
        fill(partition, 300)
        keyspace.compact()
        fill(partition, 300, seed=1)
        partition.flush()
        fill(partition, 100, seed=2, start=1000)
        keyspace._engine.rotation.cut(lambda: None)
        keyspace._engine.rotation.hurry()
        keyspace._engine.rotation.finish_sealed()
        fill(partition, 100, seed=3, start=2000)
        return crash_copy(folder / "keyspace", folder / "crashed")


KINDS = {
    "table": lambda path: tables_of(path)[0],
    "finished journal": lambda path: next(
        file for file in journals_of(path) if file.stat().st_mode & 0o777 == 0o444
    ),
    "manifest": manifest_of,
    "CURRENT": lambda path: path / "CURRENT",
    "marker": lambda path: path / "FJELD",
}


def read_everything(path: Path) -> dict:
    with fjeld.open(path) as keyspace:
        found = content_of(keyspace)
        found["by key"] = {key: keyspace.partition("a")[key] for key in found["a"]}
        keyspace.compact()
        assert content_of(keyspace)["a"] == found["a"]
        return found


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes(whole: Path, tmp_path: Path, kind: str) -> None:
    expected = read_everything(shutil.copytree(whole, tmp_path / "sound"))
    file = KINDS[kind](whole)
    data = file.read_bytes()
    chance = random.Random(kind)
    places = range(len(data)) if len(data) <= FLIPS else sorted(chance.sample(range(len(data)), FLIPS))
    noticed = 0
    for place in places:
        copy = shutil.copytree(whole, tmp_path / "copy")
        damaged = bytearray(data)
        damaged[place] ^= 1 << chance.randrange(8)
        target = copy / file.relative_to(whole)
        target.chmod(0o644)
        target.write_bytes(damaged)
        try:
            assert read_everything(copy) == expected, place
        except CorruptionError as error:
            noticed += 1
            assert error.path is not None
            if kind != "CURRENT":  # it names another manifest then, and that one is not there
                assert error.path == str(target), place
                assert error.offset is not None, place
        except UnsupportedFormatError as error:
            noticed += 1
            assert str(target) in str(error)
        shutil.rmtree(copy)
    # A manifest may end in an edit that was being written: of its last record nothing is proved.
    assert noticed >= len(places) * (0.5 if kind == "manifest" else 0.95)


def test_a_copy_of_a_damaged_file_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(whole, tmp_path / "copy")
    table = tables_of(copy)[0]
    with fjeld.open(copy) as keyspace:
        data = bytearray(table.read_bytes())
        data[len(data) // 2] ^= 1
        table.chmod(0o644)
        table.write_bytes(data)
        with pytest.raises(FjeldError) as raised:
            keyspace.backup_to(tmp_path / "checkpoint", link="never")
        assert isinstance(raised.value, CorruptionError)
        assert raised.value.path == str(table)
        assert not (tmp_path / "checkpoint").exists()


def test_compaction_of_a_damaged_table_keeps_what_is_readable(whole: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(whole, tmp_path / "copy")
    table = tables_of(copy)[0]
    data = bytearray(table.read_bytes())
    data[100] ^= 1
    table.chmod(0o644)
    table.write_bytes(data)
    with fjeld.open(copy) as keyspace:
        before = [file.path for file in keyspace._engine.store.version.tables()]
        with pytest.raises(CorruptionError) as raised:
            keyspace.compact()
        assert raised.value.path == str(table)
        after = [file.path for file in keyspace._engine.store.version.tables()]
        assert set(before) <= set(after)  # the flush added one
        keyspace.partition("a").insert(b"new", b"v")
        assert keyspace.partition("a")[b"new"] == b"v"
