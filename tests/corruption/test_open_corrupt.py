"""Damaged files: every kind of file, every kind of place. The right error with the file, or the right answer.

A keyspace with a damaged file is opened and read from end to end. What that gives is what was written, or a
CorruptionError that names the file (or one that proves the damage); never a wrong value, a crash or silence.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel.checksum import xxh128_hex
from fjeld.manifest import framing
from tests.small import SMALL_PARTITION
from tests.support import (
    Content,
    content_of,
    crash_copy,
    fill,
    journals_of,
    manifest_of,
    opened,
    settle,
    tables_of,
)

State = tuple[Path, Content]
Damage = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> State:
    """A keyspace that was closed in good order: everything is in tables."""
    path = tmp_path_factory.mktemp("closed") / "keyspace"
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        for name in ("a", "b"):
            fill(keyspace.partition(name, options=SMALL_PARTITION), 60)
        expected = content_of(keyspace)
    return path, expected


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> State:
    """What a process that was killed left: a table, a finished journal, an active one."""
    folder = tmp_path_factory.mktemp("crashed")
    with opened(folder / "keyspace", memtable_bytes=1 << 20, journal_bytes=8 << 10) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        fill(partition, 40)
        partition.flush()
        fill(partition, 100, seed=1)
        settle(keyspace)
        keyspace.persist()
        fill(partition, 20, seed=2)
        expected = content_of(keyspace)
        path = crash_copy(folder / "keyspace", folder / "killed")
    assert len(entries_of(path)) >= 2
    assert expected == {"a": history()[-1]}
    return path, expected


def history() -> list[dict[bytes, bytes]]:
    """What was there after each of the writes of `crashed`."""

    class Into(dict[bytes, bytes]):
        def insert(self, key: bytes, value: bytes) -> None:
            self[key] = value
            states.append(dict(self))

    states: list[dict[bytes, bytes]] = [{}]
    into = Into()
    for count, seed in ((40, 0), (100, 1), (20, 2)):
        fill(into, count, seed=seed)
    return states


def entries_of(path: Path) -> list[Path]:
    """The journals that hold records; the others were made ready and not used."""
    return [file for file in journals_of(path) if any(file.read_bytes()[32:40])]


def rewrite(file: Path, data: bytes) -> None:
    mode = file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(data)
    file.chmod(mode)


def flip(offset: int) -> Damage:
    return lambda data: data[:offset] + bytes([data[offset] ^ 0x10]) + data[offset + 1 :]


def zero(offset: int, count: int) -> Damage:
    return lambda data: data[:offset] + bytes(min(count, len(data) - offset)) + data[offset + count :]


def duplicate(offset: int, count: int) -> Damage:
    return lambda data: data[: offset + count] + data[offset : offset + count] + data[offset + count :]


def read_all(path: Path) -> Content:
    """Everything by all ways of reading, which must agree."""
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        keyspace._engine.maintainer.pause_compaction()
        content = content_of(keyspace)
        for name, entries in content.items():
            partition = keyspace.partition(name)
            assert dict(reversed(list(partition.range(reverse=True)))) == entries
            assert all(partition.get(key) == value for key, value in entries.items())
        return content


def outcome(state: State, tmp_path: Path, name: str, damage: Damage) -> fjeld.CorruptionError | None:
    """Damage a file of a copy, and open and read that: the error, or None where everything was there."""
    source, expected = state
    path = tmp_path / "copy"
    shutil.copytree(source, path)
    try:
        file = path / name
        rewrite(file, damage(file.read_bytes()))
        try:
            found = read_all(path)
        except fjeld.CorruptionError as error:
            assert error.path is not None, error
            assert Path(error.path).is_relative_to(path) or not Path(error.path).is_absolute()
            assert str(error.path) in str(error)
            return error
        assert found == expected, f"{name}: a wrong answer"
        return None
    finally:
        shutil.rmtree(path)


def every_kind_of_damage(data: bytes, offsets: list[int]) -> list[tuple[str, Damage]]:
    """By name; those that change nothing are left out."""
    damages: list[tuple[str, Damage]] = []
    for offset in offsets:
        damages += [
            (f"flipped at {offset}", flip(offset)),
            (f"zeroed at {offset}", zero(offset, 8)),
            (f"cut at {offset}", lambda data, offset=offset: data[:offset]),
        ]
    damages += [
        ("empty", lambda data: b""),
        ("all zeros", lambda data: bytes(len(data))),
        ("twice", lambda data: data + data),
        ("one byte more", lambda data: data + b"\x01"),
        ("one byte less", lambda data: data[:-1]),
        ("a piece twice", duplicate(len(data) // 2, 64)),
    ]
    return [(what, damage) for what, damage in damages if damage(data) != data]


# ---- tables: every byte counts ----


def table_offsets(data: bytes) -> list[int]:
    """Each field of the footer, each block: its first and last byte, its trailer."""
    size = len(data)
    places = [size - 64 + at for at in (0, 8, 12, 20, 24, 32, 36, 40, 44, 48, 56, 63)]
    footer = size - 64
    for at in (0, 12, 24):
        start = int.from_bytes(data[footer + at : footer + at + 8], "little")
        length = int.from_bytes(data[footer + at + 8 : footer + at + 12], "little")
        places += [
            start,
            start + length // 2,
            start + length - 17,
            *(start + length - back for back in (16, 12, 11, 10, 1)),
        ]
    filter_start = int.from_bytes(data[footer : footer + 8], "little")
    places += [0, 1, 2, 40, filter_start // 2, filter_start - 1]
    return sorted({place for place in places if 0 <= place < size})


def test_a_damaged_table(closed: State, quick_folder: Path) -> None:
    table = tables_of(closed[0])[0]
    data = table.read_bytes()
    name = str(table.relative_to(closed[0]))
    harmless = []
    for what, damage in every_kind_of_damage(data, table_offsets(data)):
        error = outcome(closed, quick_folder, name, damage)
        if error is None:
            harmless.append(what)
        else:
            assert str(error.path).endswith(name), what
            assert error.offset is not None, what
    # The properties are for tools: reading does not need them. Nothing else may go unnoticed.
    start = int.from_bytes(data[-40:-32], "little")
    length = int.from_bytes(data[-32:-28], "little")
    for what in harmless:
        offset = int(what.rsplit(" ", 1)[1]) if " at " in what else -1
        assert start - 8 < offset < start + length, f"{what} was not noticed"


def test_a_damaged_table_does_not_stop_the_others(closed: State, tmp_path: Path) -> None:
    path, expected = shutil.copytree(closed[0], tmp_path / "copy"), closed[1]
    with opened(path) as keyspace:
        engine = keyspace._engine
        b = engine.store.version.partitions[engine.find("b").id]
        damaged = path / "tables" / next(iter(b.tables())).path.split("/")[-1]
    rewrite(damaged, flip(10)(damaged.read_bytes()))
    with opened(path) as keyspace:
        assert dict(keyspace.partition("a").items()) == expected["a"]
        with pytest.raises(fjeld.CorruptionError) as caught:
            dict(keyspace.partition("b").items())
        assert caught.value.path == str(damaged)
        assert caught.value.offset is not None
        with pytest.raises(fjeld.CorruptionError):
            keyspace.digest()
        keyspace.partition("b").insert(b"goes on", b"v")
    with opened(path) as keyspace:
        assert keyspace.partition("b").get(b"goes on") == b"v"


def test_a_table_under_anothers_name(closed: State, tmp_path: Path) -> None:
    source, expected = closed
    tables = tables_of(source)
    assert len(tables) >= 2
    path = shutil.copytree(source, tmp_path / "copy")
    first, second = (path / "tables" / table.name for table in tables[:2])
    before, after = first.read_bytes(), second.read_bytes()
    rewrite(first, after)
    rewrite(second, before)
    try:
        found = read_all(path)
    except fjeld.CorruptionError as error:
        assert Path(str(error.path)).name in (first.name, second.name)
    else:
        assert found == expected


# ---- journals ----


def journal_offsets(data: bytes) -> list[int]:
    """The fields of the header, and of the first, a middle and the last record."""
    records, position = [], 32
    while position < len(data) and (length := int.from_bytes(data[position + 8 : position + 12], "little")):
        records.append(position)
        position += (length + 7) & ~7
    chosen = {records[0], records[len(records) // 2], records[-1]}
    places = [0, 8, 12, 16, 24, 31]
    places += [start + at for start in chosen for at in (0, 8, 12, 16, 24, 32, 40, 41, 42, 44)]
    return sorted({place for place in places if place < len(data)})


def test_a_damaged_finished_journal(crashed: State, quick_folder: Path) -> None:
    journal = entries_of(crashed[0])[0]
    data = journal.read_bytes()
    name = str(journal.relative_to(crashed[0]))
    for what, damage in every_kind_of_damage(data, journal_offsets(data)):
        error = outcome(crashed, quick_folder, name, damage)
        assert error is not None, f"{what} was not noticed"
        assert str(error.path).endswith(name), what


def test_a_damaged_active_journal(crashed: State, quick_folder: Path) -> None:
    """Its end may be torn: then the newest writes are missing, from the end. The rest is there."""
    source, _ = crashed
    journal = entries_of(source)[-1]
    data = journal.read_bytes()
    states = history()
    with opened(shutil.copytree(source, quick_folder / "without")) as keyspace:
        oldest = keyspace._engine.store.version.journals[-1]
    before = int.from_bytes(data[32 + 16 : 32 + 24], "little") - 1
    assert 40 < before < 160
    assert oldest.last_seqno == 160
    wrong = 0
    for what, damage in every_kind_of_damage(data, journal_offsets(data)):
        path = shutil.copytree(source, quick_folder / "copy")
        rewrite(path / "journals" / journal.name, damage(data))
        try:
            found = read_all(path)
        except fjeld.CorruptionError as error:
            assert str(error.path).endswith(".jnl"), what
            wrong += 1
        else:
            assert found["a"] in states[before:], (
                f"{what}: neither what was written last nor an earlier state"
            )
        shutil.rmtree(path)
    assert wrong > 5


def test_journals_swapped(crashed: State, tmp_path: Path) -> None:
    path = shutil.copytree(crashed[0], tmp_path / "copy")
    first, second = entries_of(path)[:2]
    before, after = first.read_bytes(), second.read_bytes()
    rewrite(first, after)
    rewrite(second, before)
    with pytest.raises(fjeld.CorruptionError) as caught:
        opened(path)
    assert caught.value.path == str(first)
    assert caught.value.offset is not None


# ---- manifest, CURRENT, marker ----


def manifest_offsets(data: bytes) -> list[int]:
    places = [0, 8, 12]
    position = framing.HEADER_BYTES
    while position + 16 < len(data):
        length = int.from_bytes(data[position : position + 4], "little")
        places += [
            position,
            position + 4,
            position + 8,
            position + 16,
            position + 16 + length // 2,
            position + 15 + length,
        ]
        position += 16 + length
    return sorted({place for place in places if place < len(data)})


def test_a_damaged_manifest(closed: State, quick_folder: Path) -> None:
    """What was cut off at the end passes for an edit that was never acknowledged; all else is noticed."""
    source, expected = closed
    manifest = manifest_of(source)
    data = manifest.read_bytes()
    offsets = manifest_offsets(data)
    for what, damage in every_kind_of_damage(data, [*offsets[:20], *offsets[-12:]]):
        path = shutil.copytree(source, quick_folder / "copy")
        rewrite(path / manifest.name, damage(data))
        try:
            found = read_all(path)
        except fjeld.CorruptionError as error:
            assert Path(str(error.path)).is_relative_to(path), what
            if str(error.path).endswith(manifest.name):
                assert error.offset is not None, what
        except fjeld.UnsupportedFormatError:
            assert what == "flipped at 8"
        else:
            shortened = what.startswith("cut at") or what == "one byte less"
            last_record = int(what.split()[-1]) > offsets[-7] if " at " in what else False
            assert found == expected or shortened or last_record, what
            assert all(entries in ({}, expected[name]) for name, entries in found.items()), what
        shutil.rmtree(path)


def test_an_older_manifest_in_its_place(path: Path, tmp_path: Path) -> None:
    """It names files that are gone, or misses some that are there."""
    with opened(path) as keyspace:
        keyspace.partition("a").insert(b"k", b"old")
    older = manifest_of(path).read_bytes()
    with opened(path) as keyspace:
        keyspace.partition("a").insert(b"k", b"new")
        keyspace.compact()
    rewrite(manifest_of(path), older)
    with pytest.raises(fjeld.CorruptionError, match="another's name") as caught:
        opened(path)
    assert caught.value.path == str(manifest_of(path))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"MANIFEST-000001",
        b"MANIFEST-999999\n",
        b"../MANIFEST-000001\n",
        b"MANIFEST-1\n\n",
        b"\xff\n",
        b"\0" * 16,
    ],
)
def test_a_damaged_current(closed: State, tmp_path: Path, line: bytes) -> None:
    path = shutil.copytree(closed[0], tmp_path / "copy")
    (path / "CURRENT").write_bytes(line)
    with pytest.raises(fjeld.CorruptionError) as caught:
        opened(path)
    assert caught.value.path is not None


def test_current_flipped_anywhere(closed: State, quick_folder: Path) -> None:
    for offset in range(len((closed[0] / "CURRENT").read_bytes())):
        error = outcome(closed, quick_folder, "CURRENT", flip(offset))
        assert error is not None
        assert "CURRENT" in str(error) or "MANIFEST" in str(error)


def test_the_marker_flipped_anywhere(closed: State, tmp_path: Path) -> None:
    data = (closed[0] / "FJELD").read_bytes()
    path = shutil.copytree(closed[0], tmp_path / "copy")
    for damage in [
        *map(flip, range(len(data))),
        lambda data: b"",
        lambda data: data[:-3],
        lambda data: data + b"x",
    ]:
        (path / "FJELD").write_bytes(damage(data))
        with pytest.raises(
            (fjeld.CorruptionError, fjeld.NotAKeyspaceError, fjeld.UnsupportedFormatError)
        ) as caught:
            opened(path)
        assert "FJELD" in str(caught.value) or str(path) in str(caught.value)
    (path / "FJELD").write_bytes(data)
    assert read_all(path) == closed[1]


@pytest.mark.parametrize(
    "name", ["FJELD", "CURRENT", "MANIFEST", "tables", "journals", "a table", "a journal"]
)
def test_a_missing_file(crashed: State, tmp_path: Path, name: str) -> None:
    path = shutil.copytree(crashed[0], tmp_path / "copy")
    missing = {
        "MANIFEST": manifest_of(path),
        "a table": tables_of(path)[0],
        "a journal": entries_of(path)[0],
    }.get(name, path / name)
    if missing.is_dir():
        shutil.rmtree(missing)
    else:
        missing.unlink()
    with pytest.raises(fjeld.CorruptionError) as caught:
        opened(path)
    assert Path(str(caught.value.path)).name == missing.name


# ---- what is no keyspace, and what is newer ----


def test_a_folder_that_is_no_keyspace(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mother.txt").write_text("Dear mother")
    (tmp_path / "file").write_text("no folder")
    for path, create in [
        (tmp_path / "letters", True),
        (tmp_path / "letters", False),
        (tmp_path / "file", True),
        (tmp_path / "file", False),
        (tmp_path / "nowhere", False),
        (tmp_path / "nowhere" / "deeper", True),
    ]:
        with pytest.raises(fjeld.NotAKeyspaceError) as caught:
            fjeld.open(path, create=create)
        assert isinstance(caught.value, FileNotFoundError)
        assert str(tmp_path) in str(caught.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "letters"]
    assert [file.name for file in (tmp_path / "letters").iterdir()] == ["mother.txt"]


def test_a_newer_marker(closed: State, tmp_path: Path) -> None:
    path = shutil.copytree(closed[0], tmp_path / "copy")
    (path / "FJELD").write_text("fjeld keyspace\nformat 2\n")
    with pytest.raises(fjeld.UnsupportedFormatError, match=r"[Uu]pgrade"):
        opened(path)


def test_newer_formats_of_files(crashed: State, tmp_path: Path) -> None:
    """Told apart from damage only where the checksum is right; here it is made right."""
    path = shutil.copytree(crashed[0], tmp_path / "copy")
    manifest = manifest_of(path)
    data = manifest.read_bytes()
    length = int.from_bytes(data[16:20], "little")
    payload = json.loads(data[32 : 32 + length])
    payload["novelty"] = True
    rewrite(manifest, data[:16] + framing.encode_record(payload, 16))
    with pytest.raises(fjeld.UnsupportedFormatError, match="novelty"):
        opened(path)


def test_a_checkpoint_document_is_not_needed_to_open(closed: State, tmp_path: Path) -> None:
    path = shutil.copytree(closed[0], tmp_path / "copy")
    with opened(path) as keyspace:
        keyspace.backup_to(tmp_path / "checkpoint")
    document = json.loads((tmp_path / "checkpoint" / "checkpoint.json").read_bytes())
    checksum = document.pop("xxh128")
    assert xxh128_hex(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()) == checksum
    rewrite(tmp_path / "checkpoint" / "checkpoint.json", b"garbage")
    assert read_all(tmp_path / "checkpoint") == closed[1]
