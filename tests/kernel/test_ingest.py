"""The seqno that no entry has, and the look into memtables."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fjeld
from fjeld.kernel.commit import Commit
from fjeld.kernel.ingest import memtable_meets, publish_seqno, reserve_seqno
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.memtable import MemtableOwner
from tests.support import crash_copy, opened

keys = st.binary(max_size=3)


@given(st.sets(keys, max_size=12), keys, keys)
def test_whether_a_memtable_meets_a_range(held: set[bytes], one: bytes, other: bytes) -> None:
    smallest, largest = sorted((one, other))
    memtable = MemtableOwner()
    for seqno, key in enumerate(held, 1):
        memtable.insert(key, seqno, seqno % 3, b"")
    assert memtable_meets(memtable, smallest, largest) == any(smallest <= key <= largest for key in held)


def test_a_seqno_is_in_the_journal_before_readers_see_it(tmp_path: Path) -> None:
    commit = Commit(None, lambda: 5)
    commit.start_at(41)
    commit.replace_journal(JournalWriter(str(tmp_path / "j"), 1, 4096))
    assert reserve_seqno(commit) == 42
    assert commit.last_seqno == 41
    publish_seqno(commit, 42)
    assert commit.last_seqno == 42
    assert reserve_seqno(commit) == 43
    records = list(JournalReader(str(tmp_path / "j"), 1, allow_torn=True))
    assert records == [(42, 5, [(0, 0, b"", b"")]), (43, 5, [(0, 0, b"", b"")])]


def test_a_full_journal_and_none_have_no_room(tmp_path: Path) -> None:
    commit = Commit(None)
    assert reserve_seqno(commit) == 0
    commit.replace_journal(JournalWriter(str(tmp_path / "j"), 1, 4096))
    given = 0
    while seqno := reserve_seqno(commit):
        given += 1
        assert seqno == given
    assert given > 50


def test_a_clock_that_fails_takes_nothing(tmp_path: Path) -> None:
    def clock() -> int:
        raise RuntimeError("no time")

    commit = Commit(None, clock)
    commit.replace_journal(JournalWriter(str(tmp_path / "j"), 1, 4096))
    with pytest.raises(RuntimeError):
        reserve_seqno(commit)
    with commit:  # the lock is free
        assert commit.last_seqno == 0


def test_recovery_passes_over_it(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a")
        partition.insert(b"a", b"1")
        publish_seqno(keyspace._engine.commit, reserve_seqno(keyspace._engine.commit))
        partition.insert(b"b", b"2")
        crash_copy(path, tmp_path / "copy")
    with fjeld.open(tmp_path / "copy") as keyspace:
        assert keyspace.seqno == 3
        assert dict(keyspace.partition("a").items()) == {b"a": b"1", b"b": b"2"}
