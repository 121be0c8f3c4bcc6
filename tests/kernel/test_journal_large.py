"""Large records: written by a system call, from where their parts lie, among small ones that are stored."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.kernel import files
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.journal_record import encode_entry
from tests.kernel.test_journal import append_all, reference_journal
from tests.kernel.writing import Control, rows

LARGE_BYTES = 2 << 10
MIB = 1 << 20
NOISE = random.Random(1).randbytes(MIB)

sizes = st.one_of(
    st.integers(0, 200), st.integers(LARGE_BYTES - 60, LARGE_BYTES + 8), st.integers(LARGE_BYTES, 400_000)
)


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    files.clear_faults()
    files.stop_trace()


@settings(deadline=None, max_examples=40)
@given(st.lists(sizes, max_size=14), st.booleans())
def test_the_bytes_are_those_of_the_format(lengths: list[int], mapped: bool) -> None:
    batches = [[(1, 7, b"key", NOISE[:n])] for n in lengths]
    journal = JournalWriter("j", 3, 8 * MIB, mapped=mapped)
    try:
        append_all(journal, batches)
        expected = reference_journal(3, batches, sealed=False)
        found = Path("j").read_bytes()
        assert found[: len(expected)] == expected
        assert not any(found[len(expected) :])
        journal.seal()
        assert journal.finish()["size_bytes"] == len(expected) + 40
        assert Path("j").read_bytes() == reference_journal(3, batches, sealed=True)
    finally:
        os.unlink("j")


@pytest.mark.parametrize("mapped", [True, False])
def test_zeros_written_ahead_never_meet_a_record(mapped: bool) -> None:
    """Nobody persists, so pages are made ahead; small records come between, alone and in runs."""
    journal = JournalWriter("j", 3, 24 * MIB, mapped=mapped)
    chance = random.Random(4)
    expected: list[bytes] = []
    for seqno in range(1, 400):
        large = chance.random() < (0.9 if seqno % 100 < 60 else 0.05)
        value = NOISE[: chance.randrange(LARGE_BYTES, 100_000) if large else chance.randrange(1_900)]
        journal.append(encode_entry(1, 1, b"k", value), 1, seqno, 0, 0)
        expected.append(value)
    journal.seal()
    journal.finish()
    assert [entries[0][3] for _, _, entries in JournalReader("j", 3, allow_torn=False)] == expected


def test_nothing_is_made_ahead_for_who_persists_each_write() -> None:
    journal = JournalWriter("j", 3, 24 * MIB)
    for seqno in range(1, 200):
        journal.append(encode_entry(1, 1, b"k", bytes(LARGE_BYTES)), 1, seqno, 0, seqno - 1)
    position = journal.position
    journal.close()
    with open("j", "rb") as file, pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        os.lseek(file.fileno(), position + 4096, os.SEEK_DATA)  # no page behind that of the last record


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("operation", ["write", "pwrite_short"])
def test_a_write_that_fails_leaves_no_record(operation: str, mapped: bool) -> None:
    journal = JournalWriter("j", 3, 8 * MIB, mapped=mapped)
    body = encode_entry(1, 1, b"k", NOISE[:50_000])
    journal.append(body, 1, 1, 0, 0)
    before = journal.position
    files.inject(operation, 0, errno.EIO)
    with pytest.raises(OSError, match="j"):
        journal.append(body, 1, 2, 0, 0)
    assert journal.position == before
    files.clear_faults()
    journal.append(
        encode_entry(1, 1, b"k", NOISE[:20_001]), 1, 2, 0, 0
    )  # shorter: what was left lies behind it
    journal.append(encode_entry(1, 1, b"k", b"small"), 1, 3, 0, 0)
    journal.seal()
    journal.finish()
    found = [entries[0][3] for _, _, entries in JournalReader("j", 3, allow_torn=False)]
    assert found == [NOISE[:50_000], NOISE[:20_001], b"small"]


# ---- memtables that point into the journal ----


def test_a_memtable_borrows_large_values(tmp_path: Path) -> None:
    control = Control(tmp_path, MIB, MIB)
    tree = control.tree()
    core = tree.core
    wanted = {
        b"%04d" % n: NOISE[n : n + size] for n, size in enumerate([0, 1023, 1024, 1025, 20_000, 300_000])
    }
    for key, value in wanted.items():
        tree.insert(key, value)
    (memtable,) = core.current_view().memtables
    assert memtable.lent_bytes == 1024 + 1025 + 20_000 + 300_000
    assert memtable.memory_bytes < 20_000
    assert {key: value for key, _, _, value in rows(core)} == wanted
    memtable.check()


def test_what_was_lent_outlives_the_journal(tmp_path: Path) -> None:
    """Sealed, finished, deleted: who reads the memtable does not notice."""
    control = Control(tmp_path, 256 << 10, 8 * MIB)
    tree = control.tree()
    wanted = {b"%04d" % n: NOISE[n : n + 2_000 * n] for n in range(40)}
    for key, value in wanted.items():
        tree.insert(key, value)
    assert "switch" in control.asked
    writer = control.commit.active_journal
    writer.seal()
    writer.finish()
    for path in tmp_path.glob("*.jnl"):
        path.unlink()
    del writer
    control.commit.replace_journal(None)
    assert {key: value for key, _, _, value in rows(tree.core)} == wanted
    assert tree.get(b"0039") == wanted[b"0039"]


def test_a_memtable_is_full_of_what_it_borrows_too(tmp_path: Path) -> None:
    control = Control(tmp_path, 64 * MIB, 64 << 10)
    tree = control.tree()
    assert tree.core.lent_bytes == 6 * (64 << 10)
    for number in range(5):
        tree.insert(b"%04d" % number, NOISE[:100_000])
        assert control.asked == []
        assert tree.core.active_part() == pytest.approx(
            (number + 1) * 100_000 / tree.core.lent_bytes, abs=0.01
        )
        if tree.core.full():
            break
    tree.insert(b"more", b"")
    assert control.asked == ["seal p"]


def test_a_batch_lends_its_large_values(tmp_path: Path) -> None:
    control = Control(tmp_path, 8 * MIB, MIB)
    one, other = control.tree("one"), control.tree("other")
    from fjeld.kernel.write_batch import WriteBatch

    batch = WriteBatch(control.commit)
    for number in range(20):
        batch.insert(one if number % 3 else other, b"%04d" % number, NOISE[: 700 * number])
    batch.write_now()
    assert {key: value for key, _, _, value in rows(one.core)} == {
        b"%04d" % n: NOISE[: 700 * n] for n in range(20) if n % 3
    }
    assert {key: value for key, _, _, value in rows(other.core)} == {
        b"%04d" % n: NOISE[: 700 * n] for n in range(20) if n % 3 == 0
    }
    assert sum(core.current_view().memtables[0].lent_bytes for core in control.cores) == sum(
        700 * n for n in range(20) if 700 * n >= 1024
    )


def test_without_a_mapping_values_are_copied(tmp_path: Path) -> None:
    control = Control(tmp_path, MIB, MIB)
    tree = control.tree()
    control.commit.replace_journal(JournalWriter(str(tmp_path / "unmapped"), 99, 8 * MIB, mapped=False))
    tree.insert(b"k", NOISE[:100_000])
    tree.insert(b"l", NOISE[:2_000])
    (memtable,) = tree.core.current_view().memtables
    assert memtable.lent_bytes == 0
    assert memtable.memory_bytes > 102_000
    assert (tree.get(b"k"), tree.get(b"l")) == (NOISE[:100_000], NOISE[:2_000])
