"""Law 2: a file lives as long as somebody refers to it, and holding it blocks nobody."""

from __future__ import annotations

from pathlib import Path

import fjeld
from fjeld.kernel import files
from tests.small import SMALL_PARTITION
from tests.support import Gate, Task, content_of, fill, journals_of, opened, settle, tables_of


def prepared(path: Path) -> fjeld.Keyspace:
    keyspace = opened(path, memtable_bytes=1 << 20)
    fill(keyspace.partition("a", options=SMALL_PARTITION), 1000)
    keyspace.flush()
    settle(keyspace)
    return keyspace


def replace_everything(keyspace: fjeld.Keyspace) -> None:
    """Let every table that there is be replaced by others, and deletions be done."""
    fill(keyspace.partition("a"), 1000, seed=1)
    keyspace.compact()
    settle(keyspace)


def test_without_references_replaced_files_go(path: Path) -> None:
    with prepared(path) as keyspace:
        before = tables_of(path)
        replace_everything(keyspace)
        assert not any(file.exists() for file in before)
        named = {file.path for file in keyspace._engine.store.version.tables()}
        assert {str(file.relative_to(path)) for file in tables_of(path)} == named


def test_a_pin_keeps_its_files_and_release_lets_them_go(path: Path) -> None:
    with prepared(path) as keyspace:
        fill(keyspace.partition("a"), 10)  # something in the journal too
        with keyspace.pin() as pin:
            assert pin.seqno == keyspace.seqno
            kinds = {Path(file.path).suffix for file in pin.files}
            assert kinds == {".sst", ".jnl"}
            replace_everything(keyspace)
            for file in pin.files:
                data = Path(file.path).read_bytes()
                assert len(data) == file.size_bytes
        settle(keyspace)
        assert not any(Path(file.path).exists() for file in pin.files)


def test_a_pin_that_is_forgotten_lets_go(path: Path) -> None:
    with prepared(path) as keyspace:
        names = [file.path for file in keyspace.pin().files]
        replace_everything(keyspace)
        assert not any(Path(name).exists() for name in names)


def test_an_iterator_keeps_what_it_reads(path: Path) -> None:
    with prepared(path) as keyspace:
        expected = content_of(keyspace)["a"]
        before = tables_of(path)
        iterator = iter(keyspace.partition("a").items())
        first = next(iterator)
        replace_everything(keyspace)
        assert all(file.exists() for file in before)
        assert dict([first, *iterator]) == expected
        del iterator
        settle(keyspace)
        assert not any(file.exists() for file in before)


def test_a_snapshot_keeps_what_a_clear_removes(path: Path) -> None:
    with prepared(path) as keyspace:
        expected = content_of(keyspace)
        before = tables_of(path)
        with keyspace.snapshot() as snapshot:
            keyspace.partition("a").clear()
            settle(keyspace)
            assert all(file.exists() for file in before)
            assert content_of(snapshot) == expected
            assert content_of(keyspace) == {"a": {}}
        settle(keyspace)
        assert not any(file.exists() for file in before)


def test_a_running_backup_keeps_its_files_and_nobody_waits(path: Path, tmp_path: Path) -> None:
    with prepared(path) as keyspace:
        fill(keyspace.partition("a"), 100, start=5000)
        expected = content_of(keyspace)
        tables, journals = (
            tables_of(path),
            [file for file in journals_of(path) if any(file.read_bytes()[32:40])],
        )
        gate = Gate("backup:cut")
        backup = Task(lambda: keyspace.backup_to(tmp_path / "checkpoint"))
        gate.wait()
        replace_everything(keyspace)  # writes, flushes, compactions and deletions: all come to their end
        assert all(file.exists() for file in tables + journals)
        gate.open()
        backup.result()
        settle(keyspace)
        assert not any(file.exists() for file in tables + journals)
    with fjeld.open(tmp_path / "checkpoint") as checkpoint:
        assert content_of(checkpoint) == expected


def test_there_is_one_place_that_deletes_tables(path: Path, monkeypatch) -> None:
    """Every table and journal that a version has named goes through the reaper."""
    with prepared(path) as keyspace:
        named = {file.path for file in keyspace._engine.store.version.files()}
        given: list[str] = []
        reaper = keyspace._engine.store.reaper
        monkeypatch.setattr(type(reaper), "give", lambda self, name: given.append(name))
        files.start_trace()
        replace_everything(keyspace)
        unlinked = {event[1] for event in files.stop_trace() if event[0] == "unlink"}
        assert {str(path / name) for name in named} <= set(given)
        assert not unlinked & {str(path / name) for name in named}
