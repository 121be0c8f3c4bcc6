"""fjeld.verify: what it checks, and that no damage to any kind of file goes unnoticed."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from fjeld.kernel.checksum import xxh128_hex
from fjeld.kernel.table_writer import TableWriter
from fjeld.manifest import framing, names
from fjeld.manifest.log import ManifestReader, ManifestWriter
from fjeld.sync_points import set_sync_point
from tests.small import SMALL_PARTITION
from tests.support import (
    crash_copy,
    fill,
    journals_of,
    manifest_of,
    opened,
    running,
    settle,
    tables_of,
    tree_of,
)

Damage = Callable[[bytes], bytes]


class Made:
    """A folder, what is in it, and an older state of its files."""

    def __init__(self, path: Path, digest: str, entries: int, older: Path) -> None:
        self.path, self.digest, self.entries, self.older = path, digest, entries, older


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """One keyspace closed in good order, one killed, one checkpoint."""
    root = tmp_path_factory.mktemp("verify")
    path = root / "source"
    with opened(path, memtable_bytes=1 << 20, journal_bytes=8 << 10) as keyspace:
        keyspace._engine.maintainer.pause_compaction()
        for name in ("a", "b"):
            partition = keyspace.partition(name, options=SMALL_PARTITION)
            fill(partition, 60)
            partition.flush()
        keyspace.partition("a").ingest([(b"in%04d" % number, b"i" * 30) for number in range(40)])
        keyspace.partition("b").remove(b"%08d" % 3)
        fill(keyspace.partition("a"), 100, seed=1, start=50)
        settle(keyspace)
        keyspace.persist()
        older = crash_copy(path, root / "older")
        fill(keyspace.partition("a"), 20, seed=2)
        digest, entries = keyspace.digest(), sum(len(keyspace.partition(name)) for name in ("a", "b"))
        killed = crash_copy(path, root / "killed")
        keyspace.backup_to(root / "checkpoint")
    (root / "closed").mkdir()
    shutil.copytree(path, root / "closed", dirs_exist_ok=True)
    return {
        "closed": Made(root / "closed", digest, entries, older),
        "killed": Made(killed, digest, entries, older),
        "checkpoint": Made(root / "checkpoint", digest, entries, older),
    }


def rewrite(file: Path, data: bytes) -> None:
    mode = file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(data)
    file.chmod(mode)


# ---- what is whole ----


@pytest.mark.parametrize("kind", ["closed", "killed", "checkpoint"])
@pytest.mark.parametrize("scan", [True, False])
def test_a_sound_folder(folders: dict[str, Made], kind: str, scan: bool) -> None:
    made = folders[kind]
    before = tree_of(made.path)
    report = fjeld.verify(made.path, scan=scan)
    assert report.ok, report.problems
    report.raise_if_bad()
    assert report.kind == ("checkpoint" if kind == "checkpoint" else "keyspace")
    assert report.path == made.path
    assert report.digest == (made.digest if scan else None)
    assert report.entries == (made.entries if scan else None)
    assert report.in_use is False
    assert report.notes == report.leftovers == ()
    with fjeld.open_readonly(made.path) as reading:
        assert (report.id, report.seqno) == (reading.id, reading.seqno)
    assert report.bytes_checked > sum(table.stat().st_size for table in tables_of(made.path))
    has_document = (made.path / "checkpoint.json").exists()
    assert report.files_checked == 3 + has_document + len(tables_of(made.path)) + len(journals_of(made.path))
    assert tree_of(made.path) == before


def test_a_live_keyspace(tmp_path: Path) -> None:
    with opened(tmp_path / "k") as keyspace:
        fill(keyspace.partition("a", options=SMALL_PARTITION), 500)
        report = fjeld.verify(tmp_path / "k")
        assert report.ok, report.problems
        assert report.in_use is True
        assert (report.digest, report.seqno) == (keyspace.digest(), keyspace.seqno)


def test_while_it_is_written_to(tmp_path: Path) -> None:
    with opened(tmp_path / "k") as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        fill(partition, 300)

        def work(stop: threading.Event) -> None:
            turn = 0
            while not stop.wait(0.001):
                fill(partition, 20, seed=turn, start=turn % 400)
                turn += 1

        with running(work):
            for _ in range(8):
                report = fjeld.verify(tmp_path / "k")
                assert report.ok, report.problems
                assert report.entries >= 300


def test_a_partition_dropped_meanwhile(tmp_path: Path) -> None:
    """Its tables are deleted while they are checked."""
    with opened(tmp_path / "k") as keyspace:
        fill(keyspace.partition("a"), 300)
        fill(keyspace.partition("b"), 300)
        keyspace.flush()
        dropped: list[bool] = []

        def drop() -> None:
            if not dropped:
                dropped.append(True)
                keyspace.drop_partition("b")
                settle(keyspace)
                keyspace._engine.store.reaper.reap()

        set_sync_point("moment:loaded", drop)
        assert fjeld.verify(tmp_path / "k").ok
        assert dropped


def test_after_the_checkpoint_was_opened_it_is_a_keyspace(folders: dict[str, Made], tmp_path: Path) -> None:
    path = shutil.copytree(folders["checkpoint"].path, tmp_path / "copy")
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 300, seed=7)
        keyspace.compact()
        digest = keyspace.digest()
    report = fjeld.verify(path)
    assert report.ok, report.problems
    assert (report.kind, report.digest) == ("keyspace", digest)


def test_leftovers(folders: dict[str, Made], tmp_path: Path) -> None:
    path = shutil.copytree(folders["closed"].path, tmp_path / "copy")
    (path / "tables" / "000000000999.sst").write_bytes(b"of a flush that was cut short")
    (path / "MANIFEST-000001").write_bytes(b"old")
    (path / "notes.txt").write_text("mine")
    report = fjeld.verify(path)
    assert report.ok, report.problems
    assert report.leftovers == ("MANIFEST-000001", "notes.txt", "tables/000000000999.sst")


def test_progress_and_cancel(folders: dict[str, Made]) -> None:
    path = folders["closed"].path
    told: list[tuple[int, ...]] = []
    report = fjeld.verify(path, progress=lambda *numbers: told.append(numbers))
    assert report.ok
    assert [numbers[0] for numbers in told] == list(range(1, told[-1][1] + 1))
    assert told[-1][0] == told[-1][1]
    assert told[-1][2] == told[-1][3] > 0
    cancel = threading.Event()
    with pytest.raises(fjeld.CancelledError, match="verification"):
        fjeld.verify(path, progress=lambda *_: cancel.set(), cancel=cancel)
    with pytest.raises(ZeroDivisionError):
        fjeld.verify(path, progress=lambda *_: 1 // 0)


def test_cancel_in_the_scan(folders: dict[str, Made], monkeypatch: pytest.MonkeyPatch) -> None:
    from fjeld.backup import verify as module

    cancel, real = threading.Event(), module.count_and_digest

    def slow(*arguments: object) -> object:
        cancel.set()
        while not arguments[1].is_set():  # the call sets it once it has seen the event
            pass
        return real(*arguments)

    monkeypatch.setattr(module, "count_and_digest", slow)
    with pytest.raises(fjeld.CancelledError, match="verification"):
        fjeld.verify(folders["closed"].path, cancel=cancel)


def test_not_a_keyspace(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(fjeld.NotAKeyspaceError):
            fjeld.verify(path)


def test_a_newer_format(folders: dict[str, Made], tmp_path: Path) -> None:
    path = shutil.copytree(folders["closed"].path, tmp_path / "copy")
    rewrite(path / "FJELD", b"fjeld keyspace\nformat 2\n")
    with pytest.raises(fjeld.UnsupportedFormatError):
        fjeld.verify(path)


# ---- damage: every kind of file, every kind of place ----


def flip(offset: int) -> Damage:
    return lambda data: data[:offset] + bytes([data[offset] ^ 0x10]) + data[offset + 1 :]


def zero(offset: int) -> Damage:
    return lambda data: data[:offset] + bytes(min(8, len(data) - offset)) + data[offset + 8 :]


def cut(offset: int) -> Damage:
    return lambda data: data[:offset]


def damages_of(data: bytes, places: list[int]) -> Iterator[tuple[str, Damage]]:
    for place in sorted({place for place in places if 0 <= place < len(data)}):
        yield f"flipped at {place}", flip(place)
        yield f"zeroed at {place}", zero(place)
        yield f"cut at {place}", cut(place)
    yield "empty", lambda data: b""
    yield "all zeros", lambda data: bytes(len(data))
    yield "extended", lambda data: data + b"\x01"
    yield "extended with zeros", lambda data: data + bytes(4096)
    yield "twice", lambda data: data + data


def table_places(data: bytes) -> list[int]:
    """Every field of the footer; of each other part the first and last byte, and each field of the trailer."""
    size = len(data)
    places = [size - 64 + at for at in (0, 8, 12, 20, 24, 32, 36, 40, 44, 48, 56, 63)]
    for at in (0, 12, 24):
        start = int.from_bytes(data[size - 64 + at : size - 56 + at], "little")
        length = int.from_bytes(data[size - 56 + at : size - 52 + at], "little")
        places += [
            start,
            start + length // 2,
            *(start + length - back for back in (17, 16, 12, 11, 10, 8, 1)),
        ]
    places += [0, 1, 2, 40, int.from_bytes(data[size - 64 : size - 56], "little") - 1]
    return places


def journal_places(data: bytes) -> list[int]:
    """Each field of the header, of the first records, and of the seal."""
    places = [0, 8, 12, 16, 24]
    at = 32
    for _ in range(2):
        places += [at + field for field in (0, 8, 12, 16, 24, 32, 40, 45)]
        at += (int.from_bytes(data[at + 8 : at + 12], "little") + 7) & ~7
    return [*places, *(len(data) - 40 + field for field in (0, 8, 12, 16, 24, 32))]


def manifest_places(data: bytes) -> list[int]:
    """The header, and of every record each field, and its payload's first, middle and last bytes."""
    places = [0, 8, 12]
    at = framing.HEADER_BYTES
    while at < len(data):
        record = framing.record_at(data, at)
        assert record is not None
        middle = (at + record.end) // 2
        places += [at, at + 4, at + 8, at + 16, at + 20, middle, record.end - 2, record.end - 1]
        at = record.end
    return places


def small_places(data: bytes) -> list[int]:
    return [0, 1, len(data) // 3, len(data) // 2, len(data) - 2, len(data) - 1]


def report_of(made: Made, folder: Path, name: str, data: bytes | None) -> fjeld.VerifyReport:
    """Of a copy in which a file has other bytes, or (None) is missing."""
    path = folder / "copy"
    shutil.copytree(made.path, path)
    try:
        file = path / name
        if data is None:
            file.unlink()
        else:
            rewrite(file, data)
        return fjeld.verify(path)
    finally:
        shutil.rmtree(path)


def every_damage(
    made: Made, folder: Path, name: str, places: Callable[[bytes], list[int]]
) -> Iterator[tuple[str, fjeld.VerifyReport]]:
    data = (made.path / name).read_bytes()
    for what, damage in damages_of(data, places(data)):
        if damage(data) != data:
            yield what, report_of(made, folder, name, damage(data))
    yield "missing", report_of(made, folder, name, None)


@pytest.mark.parametrize("kind", ["closed", "checkpoint"])
def test_damaged_tables(folders: dict[str, Made], kind: str, quick_folder: Path) -> None:
    made = folders[kind]
    tables = tables_of(made.path)
    for table in (tables[0], tables[-1]):
        name = str(table.relative_to(made.path))
        for what, report in every_damage(made, quick_folder, name, table_places):
            assert not report.ok, what
            assert report.digest is None, what
            assert {problem.path for problem in report.problems} == {name}, (what, report.problems)
            with pytest.raises(fjeld.CorruptionError) as caught:
                report.raise_if_bad()
            assert str(caught.value.path).endswith(name)


@pytest.mark.parametrize("kind", ["closed", "killed", "checkpoint"])
def test_damaged_manifests(folders: dict[str, Made], kind: str, quick_folder: Path) -> None:
    made = folders[kind]
    name = manifest_of(made.path).name
    for what, report in every_damage(made, quick_folder, name, manifest_places):
        if report.ok:  # the end of what an owner that died was writing, or only its seal
            said = kind == "killed" and (report.notes or report.leftovers)
            assert report.digest == made.digest or said, what
            assert kind != "checkpoint", what
        else:
            assert report.digest is None, what


@pytest.mark.parametrize("name", ["CURRENT", "FJELD", "checkpoint.json"])
def test_damaged_small_files(folders: dict[str, Made], name: str, quick_folder: Path) -> None:
    made = folders["checkpoint"]
    for what, report in every_damage_but_missing(made, quick_folder, name):
        assert not report.ok, what
        assert any(problem.path == name for problem in report.problems), what
    if name != "FJELD":
        report = report_of(made, quick_folder, name, None)
        assert report.ok == (name == "checkpoint.json")  # without it, it is a keyspace


def every_damage_but_missing(made: Made, folder: Path, name: str) -> Iterator[tuple[str, fjeld.VerifyReport]]:
    data = (made.path / name).read_bytes()
    for what, damage in damages_of(data, small_places(data)):
        if damage(data).rstrip(b"\n") != data.rstrip(b"\n"):  # the end of the line says nothing
            yield what, report_of(made, folder, name, damage(data))


def test_damaged_finished_journals(folders: dict[str, Made], quick_folder: Path) -> None:
    made = folders["checkpoint"]
    journals = journals_of(made.path)
    assert journals
    for journal in (journals[0], journals[-1]):
        name = str(journal.relative_to(made.path))
        for what, report in every_damage(made, quick_folder, name, journal_places):
            assert not report.ok, what
            assert name in {problem.path for problem in report.problems}, (what, report.problems)
            assert report.digest is None


def test_damaged_unfinished_journals(folders: dict[str, Made], quick_folder: Path) -> None:
    """What a power cut may leave is no damage, but it is said; never is anything shown that was not written."""
    made = folders["killed"]
    with_records = [file for file in journals_of(made.path) if any(file.read_bytes()[32:40])]
    name = str(with_records[-1].relative_to(made.path))
    for what, report in every_damage(made, quick_folder, name, journal_places):
        assert (
            not report.ok
            or report.notes
            or report.digest != made.digest
            or "extended" in what
            or "twice" in what
            or ("flipped" not in what and "zeroed" not in what and report.digest == made.digest)
        ), what


@pytest.mark.parametrize("kind", ["closed", "killed", "checkpoint"])
def test_files_swapped_with_older_ones(folders: dict[str, Made], kind: str, quick_folder: Path) -> None:
    made = folders[kind]
    sources = {file.suffix: file for file in [*tables_of(made.older), *journals_of(made.older)]}
    swapped = 0
    for file in [*tables_of(made.path), *journals_of(made.path)]:
        older = made.older / file.relative_to(made.path)
        other = older if older.exists() and older.read_bytes() != file.read_bytes() else sources[file.suffix]
        if other.name == file.name and (other.read_bytes() == file.read_bytes() or file.suffix == ".jnl"):
            continue
        swapped += 1
        report = report_of(made, quick_folder, str(file.relative_to(made.path)), other.read_bytes())
        assert not report.ok, file
    assert swapped
    older_manifest = manifest_of(made.older).read_bytes()
    if older_manifest != manifest_of(made.path).read_bytes():
        report = report_of(made, quick_folder, manifest_of(made.path).name, older_manifest)
        assert not report.ok or report.digest == made.digest


def test_all_damage_is_reported(folders: dict[str, Made], tmp_path: Path) -> None:
    """Several blocks of one table, another table, a journal and checkpoint.json, in one report."""
    path = shutil.copytree(folders["checkpoint"].path, tmp_path / "copy")
    first, second = tables_of(path)[0], tables_of(path)[1]
    data = first.read_bytes()
    filter_start = int.from_bytes(data[-64:-56], "little")
    rewrite(first, flip(filter_start - 1)(flip(2)(data)))
    second.unlink()
    journal = journals_of(path)[0]
    rewrite(journal, flip(50)(journal.read_bytes()))
    rewrite(path / "checkpoint.json", b"{}")
    report = fjeld.verify(path)
    found = {problem.path for problem in report.problems}
    assert found == {
        f"tables/{first.name}",
        f"tables/{second.name}",
        f"journals/{journal.name}",
        "checkpoint.json",
    }
    assert len([problem for problem in report.problems if problem.path == f"tables/{first.name}"]) == 2
    with pytest.raises(fjeld.CorruptionError, match="more problems"):
        report.raise_if_bad()


def test_without_a_manifest_each_table_is_checked_against_itself(
    folders: dict[str, Made], tmp_path: Path
) -> None:
    path = shutil.copytree(folders["closed"].path, tmp_path / "copy")
    manifest_of(path).unlink()
    report = fjeld.verify(path)
    assert (report.id, report.seqno, report.digest) == (None, None, None)
    assert [problem.path for problem in report.problems] == [(path / "CURRENT").read_text().strip()]
    assert report.files_checked == len(tables_of(path))
    table = tables_of(path)[0]
    whole = table.read_bytes()
    rewrite(table, flip(2)(whole))
    assert f"tables/{table.name}" in {problem.path for problem in fjeld.verify(path).problems}
    rewrite(table, tables_of(path)[1].read_bytes())
    assert any("it is table" in problem.what for problem in fjeld.verify(path).problems)
    rewrite(table, b"short")
    assert f"tables/{table.name}" in {problem.path for problem in fjeld.verify(path).problems}


def test_without_a_manifest_checkpoint_json_knows_the_files(folders: dict[str, Made], tmp_path: Path) -> None:
    path = shutil.copytree(folders["checkpoint"].path, tmp_path / "copy")
    rewrite(manifest_of(path), b"damaged")
    assert len(fjeld.verify(path).problems) == 1
    journal, table = journals_of(path)[0], tables_of(path)[0]
    rewrite(journal, flip(50)(journal.read_bytes()))
    table.unlink()
    found = {problem.path for problem in fjeld.verify(path).problems}
    assert found == {manifest_of(path).name, f"journals/{journal.name}", f"tables/{table.name}"}


# ---- what only agrees with itself ----


def remade(path: Path, change: Callable[[dict], object]) -> None:
    """checkpoint.json with other members, and a checksum that fits them."""
    document = json.loads((path / "checkpoint.json").read_bytes())
    del document["xxh128"]
    change(document)
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    document["xxh128"] = xxh128_hex(canonical)
    rewrite(path / "checkpoint.json", json.dumps(document).encode())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda d: d.update(id="0b4ef8d6-5a0c-4d0f-9c4e-3f4b0a1c2d3e"), "of the checkpoint"),
        (lambda d: d.update(seqno=d["seqno"] + 1), "seqno"),
        (lambda d: d["parent"].update(seqno=1), "parent"),
        (lambda d: d["partitions"].append("more"), "partitions"),
        (lambda d: d["files"].pop(), "do not agree on"),
        (lambda d: d["files"][0].update(xxh128="0" * 32), "do not agree on"),
        (lambda d: d["files"][0].update(path="../../etc/passwd"), "cannot be one of its files"),
        (lambda d: d["files"][0].update(path="/etc/passwd"), "cannot be one of its files"),
        (lambda d: d["files"][0].update(path="tables/./x"), "cannot be one of its files"),
        (lambda d: d.update(metadata=[1]), "metadata"),
        (lambda d: d.update(created_at="yesterday"), "created_at"),
        (lambda d: d.update(files={}), "files is not a list"),
        (lambda d: d.pop("seqno"), "seqno"),
    ],
)
def test_checkpoint_json_against_the_manifest(
    folders: dict[str, Made], tmp_path: Path, change: Callable[[dict], object], what: str
) -> None:
    path = shutil.copytree(folders["checkpoint"].path, tmp_path / "copy")
    remade(path, lambda document: None)
    assert fjeld.verify(path).ok
    remade(path, change)
    report = fjeld.verify(path)
    assert not report.ok
    assert any(what in problem.what for problem in report.problems), report.problems
    assert report.problems[0].path == "checkpoint.json"


def test_checkpoint_json_of_a_newer_format(folders: dict[str, Made], tmp_path: Path) -> None:
    path = shutil.copytree(folders["checkpoint"].path, tmp_path / "copy")
    remade(path, lambda document: document.update(format=2))
    with pytest.raises(fjeld.UnsupportedFormatError):
        fjeld.verify(path)


def test_a_name_that_leaves_the_folder_is_never_opened(folders: dict[str, Made], tmp_path: Path) -> None:
    """Where the manifest is damaged too, checkpoint.json is the only one to say which files there are."""
    path = shutil.copytree(folders["checkpoint"].path, tmp_path / "copy")
    (tmp_path / "secret").write_bytes(b"x")
    remade(path, lambda d: d["files"].append({"path": "../secret", "size_bytes": 1, "xxh128": "0" * 32}))
    rewrite(manifest_of(path), b"damaged")
    files.start_trace()
    report = fjeld.verify(path)
    assert not any("secret" in str(event) for event in files.stop_trace())
    assert not any("secret" in problem.path for problem in report.problems)
    assert not report.ok


def replace_table(
    path: Path, change: dict[str, object], entries: list[tuple[bytes, int, int, bytes]]
) -> None:
    """Another table in the place of the first, and a manifest that knows its bytes but for the changes."""
    version = ManifestReader(manifest_of(path)).version
    old = next(iter(version.partition("a").tables()))
    file = path / old.path
    file.unlink()
    writer = TableWriter(str(file), keyspace_id=version.id, number=change.pop("number", old.number))
    for entry in entries:
        writer.add(*entry)
    facts = {**writer.finish(), **change}
    text = manifest_of(path).read_bytes()
    state = version.partition("a")
    assert state is not None
    table = dataclasses.replace(old, **{key: facts[key] for key in facts if hasattr(old, key)})
    levels = tuple(tuple(table if other is old else other for other in level) for level in state.levels)
    changed = dataclasses.replace(
        version, partitions={**version.partitions, state.id: dataclasses.replace(state, levels=levels)}
    )
    number = names.number_of_manifest(manifest_of(path).name)
    assert text
    manifest_of(path).unlink()
    ManifestWriter(path, number, changed).close()


GOOD = [(b"%08d" % number, 5, 1, b"v") for number in range(60)]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({}, None),
        ({"entries": 61}, "entries"),
        ({"tombstones": 1}, "tombstones"),
        ({"weak_tombstones": 1}, "weak_tombstones"),
        ({"min_seqno": 4}, "min_seqno"),
        ({"raw_bytes": 1}, "raw_bytes"),
        ({"blocks": 7}, "blocks"),
        ({"smallest": b""}, "smallest key"),
        ({"largest": b"\xff"}, "another table"),
        ({"xxh128": "0" * 32}, "checksum"),
        ({"number": 999}, "say that it is table 999"),
    ],
)
def test_a_table_against_the_manifest(
    folders: dict[str, Made], tmp_path: Path, change: dict[str, object], what: str | None
) -> None:
    path = shutil.copytree(folders["closed"].path, tmp_path / "copy")
    replace_table(path, dict(change), GOOD)
    report = fjeld.verify(path, scan=False)
    if what is None:
        assert report.ok, report.problems
    else:
        assert any(what in problem.what for problem in report.problems), report.problems


# ---- what the disk does ----


def test_a_file_that_cannot_be_read(folders: dict[str, Made], tmp_path: Path) -> None:
    path = shutil.copytree(folders["closed"].path, tmp_path / "copy")
    total = len(tables_of(path)) + 4
    seen: set[str] = set()
    for after in range(total):
        files.inject("open", after, errno.EACCES)
        try:
            report = fjeld.verify(path)
        except OSError as error:
            assert error.errno == errno.EACCES  # one of the small files
        else:
            seen |= {problem.what for problem in report.problems}
        files.clear_faults()
    assert "it cannot be read (Permission denied)" in seen


def test_read_errors_are_reported(folders: dict[str, Made], tmp_path: Path) -> None:
    path = shutil.copytree(folders["closed"].path, tmp_path / "copy")
    seen: set[str] = set()
    for after in range(4, 12):
        files.inject("read", after, errno.EIO)
        try:
            report = fjeld.verify(path)
        except OSError as error:
            assert error.errno == errno.EIO
        else:
            seen |= {problem.what for problem in report.problems}
        files.clear_faults()
    assert "it cannot be read (Input/output error)" in seen
