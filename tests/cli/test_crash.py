"""The crash stage with a real process and a real SIGKILL; and that its check finds what is missing."""

from __future__ import annotations

import sys
from itertools import islice

import pytest

import fjeld
from fjeld.cli.demo.crash import check, crash_and_recover, run_and_kill
from fjeld.cli.demo.source import batches, find_files
from fjeld.cli.demo.writer import FILES, IDENTIFIERS, Writer


def ignore(number: int) -> None:
    pass


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(5):
        (folder / f"m{number}.py").write_text(f"def f{number}(x):\n    return x + {number}\n" * (number + 1))
    return find_files([folder], 10)


def test_nothing_acknowledged_is_lost(tmp_path, paths):
    written: list[int] = []
    report = crash_and_recover(
        tmp_path / "crash", paths, kill_after=23, on_write=written.append, on_check=ignore
    )
    assert report.holds
    assert report.killed
    assert report.acknowledged_batches >= 23
    assert written == list(range(1, report.acknowledged_batches + 1))
    assert report.found_entries > report.found_batches


def write_batches(path, paths, count):
    with fjeld.open(path) as keyspace:
        writer = Writer(keyspace)
        for key, contents in islice(batches(paths), count):
            writer.write(key, contents)
        return writer.written


def report_of(path, paths, acknowledged):
    return check(path, paths, acknowledged, True, ignore)


def test_all_that_was_promised(tmp_path, paths):
    written = write_batches(tmp_path / "data", paths, 8)
    report = report_of(tmp_path / "data", paths, 8)
    assert report.holds
    assert (report.found_batches, report.found_entries) == (8, written.entries)
    assert report_of(tmp_path / "data", paths, 7).holds, "the kill came before the acknowledgement"


def test_a_batch_too_few_is_a_loss(tmp_path, paths):
    write_batches(tmp_path / "data", paths, 8)
    report = report_of(tmp_path / "data", paths, 9)
    assert report.lost_entries > 0
    assert not report.holds


def test_two_batches_too_many_are_no_proof(tmp_path, paths):
    write_batches(tmp_path / "data", paths, 8)
    assert not report_of(tmp_path / "data", paths, 6).holds


@pytest.mark.parametrize("partition", [FILES, IDENTIFIERS])
def test_a_missing_entry_is_a_loss(tmp_path, paths, partition):
    write_batches(tmp_path / "data", paths, 8)
    with fjeld.open(tmp_path / "data") as keyspace:
        opened = keyspace.partition(partition)
        opened.remove(next(iter(opened.range()))[0])
    report = report_of(tmp_path / "data", paths, 8)
    assert report.lost_entries == 1
    assert not report.holds


def test_a_torn_batch_shows_even_if_it_was_not_acknowledged(tmp_path, paths):
    write_batches(tmp_path / "data", paths, 7)
    key, contents = next(islice(batches(paths), 7, None))
    with fjeld.open(tmp_path / "data") as keyspace:
        keyspace.partition(FILES).insert(key, contents)
    report = report_of(tmp_path / "data", paths, 7)
    assert report.lost_entries == 0
    assert not report.holds


def test_a_child_that_ends_by_itself_was_not_killed():
    program = "import os, struct\nfor n in (1, 2): os.write(1, struct.pack('<Q', n))"
    seen: list[int] = []
    assert run_and_kill([sys.executable, "-c", program], 5, seen.append) == (2, False)
    assert seen == [1, 2]
