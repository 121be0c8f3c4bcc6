"""Replay: what writers put into journals comes back, but for what was flushed or belongs to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel.commit import Commit
from fjeld.kernel.core import TreeCore
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.journal_record import encode_entry
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.replay import replay_journal
from fjeld.kernel.view import View
from tests.kernel.layers import TOMBSTONE, VALUE, WEAK, NoControl
from tests.kernel.writing import rows

Record = list[tuple[int, int, bytes, bytes]]

entries = st.tuples(
    st.just(VALUE), st.integers(1, 3), st.binary(max_size=6), st.binary(max_size=30)
) | st.tuples(st.sampled_from([TOMBSTONE, WEAK]), st.integers(1, 3), st.binary(max_size=6), st.just(b""))


def fresh_core(partition: int, memtable_bytes: int = 1 << 20) -> TreeCore:
    return TreeCore(
        Commit(NoControl()), partition, f"p{partition}", memtable_bytes, View((MemtableOwner(),), ())
    )


def write_journal(path: Path, number: int, records: list[Record], first_seqno: int) -> None:
    journal = JournalWriter(str(path), number, 1 << 20)
    seqno = first_seqno
    for record in records:
        journal.append(b"".join(encode_entry(*entry) for entry in record), len(record), seqno, 0, 0)
        seqno += len(record)
    journal.close()


def never(core: TreeCore) -> None:
    raise AssertionError(core.name)


@given(
    st.lists(st.lists(entries, min_size=1, max_size=5), max_size=20),
    st.fixed_dictionaries({1: st.integers(0, 60), 2: st.integers(0, 60)}),
)
@settings(max_examples=100, deadline=None)
def test_what_is_newer_than_the_tables_comes_back(tmp_path_factory, records, flushed) -> None:
    path = tmp_path_factory.mktemp("t") / "1.jnl"
    write_journal(path, 1, records, 1)
    cores = {1: fresh_core(1), 2: fresh_core(2)}  # partition 3 was dropped
    reader = JournalReader(str(path), 1, allow_torn=True)
    expected: dict[int, list[tuple]] = {1: [], 2: []}
    seqno = 0
    for kind, partition, key, value in (entry for record in records for entry in record):
        seqno += 1
        if partition in expected and seqno > flushed[partition]:
            expected[partition].append((key, seqno, kind, value))
    assert replay_journal(reader, cores, flushed, 0, never) == seqno
    for partition, wanted in expected.items():
        assert rows(cores[partition]) == sorted(wanted, key=lambda row: (row[0], -row[1]))


def test_seqnos_go_on_from_one_journal_to_the_next(tmp_path: Path) -> None:
    core = fresh_core(1)
    write_journal(tmp_path / "1.jnl", 1, [[(VALUE, 1, b"a", b"1")], [(VALUE, 1, b"b", b"2")] * 2], 1)
    write_journal(tmp_path / "2.jnl", 2, [[(VALUE, 1, b"c", b"3")]], 4)
    last = 0
    for number in (1, 2):
        reader = JournalReader(str(tmp_path / f"{number}.jnl"), number, allow_torn=True)
        last = replay_journal(reader, {1: core}, {1: 0}, last, never)
    assert last == 4
    assert [seqno for _, seqno, _, _ in rows(core)] == [1, 3, 2, 4]


@pytest.mark.parametrize("first", [1, 3, 4, 6, 1000])
def test_a_gap_between_journals_is_corruption(tmp_path: Path, first: int) -> None:
    write_journal(tmp_path / "2.jnl", 2, [[(VALUE, 1, b"c", b"3")]], first)
    reader = JournalReader(str(tmp_path / "2.jnl"), 2, allow_torn=True)
    with pytest.raises(CorruptionError, match=r"missing or out of place") as met:
        replay_journal(reader, {1: fresh_core(1)}, {1: 0}, 4, never)
    assert met.value.path == str(tmp_path / "2.jnl")
    assert met.value.offset == 32


def test_the_first_journal_may_begin_anywhere(tmp_path: Path) -> None:
    write_journal(tmp_path / "9.jnl", 9, [[(VALUE, 1, b"c", b"3")]], 500)
    reader = JournalReader(str(tmp_path / "9.jnl"), 9, allow_torn=True)
    assert replay_journal(reader, {1: fresh_core(1)}, {1: 0}, 0, never) == 500


def test_an_empty_journal_changes_nothing(tmp_path: Path) -> None:
    write_journal(tmp_path / "1.jnl", 1, [], 1)
    reader = JournalReader(str(tmp_path / "1.jnl"), 1, allow_torn=True)
    assert replay_journal(reader, {}, {}, 77, never) == 77


def test_full_memtables_are_handed_over(tmp_path: Path) -> None:
    core = fresh_core(1, memtable_bytes=16 << 10)
    write_journal(tmp_path / "1.jnl", 1, [[(VALUE, 1, b"%05d" % i, b"v" * 100)] for i in range(1000)], 1)
    handed: list[int] = []

    def seal(full: TreeCore) -> None:
        view = full.current_view()
        handed.append(view.memtables[0].entries)
        view.memtables[0].seal()
        full.replace(View((MemtableOwner(), *view.memtables), view.levels))

    reader = JournalReader(str(tmp_path / "1.jnl"), 1, allow_torn=True)
    assert replay_journal(reader, {1: core}, {1: 0}, 0, seal) == 1000
    assert len(handed) > 3
    assert min(handed) > 20
    assert [seqno for _, seqno, _, _ in rows(core)] == list(range(1, 1001))
