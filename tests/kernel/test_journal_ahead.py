"""Pages populated ahead of the writer: in time, for the journal that is watched, and never for one that is not."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fjeld.kernel import files
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_ahead import JournalAhead
from fjeld.kernel.journal_record import encode_entry

BODY = encode_entry(1, 1, b"key", bytes(1000))
RECORD_BYTES = 40 + (len(BODY) + 7 & ~7)
MIB = 1 << 20


@pytest.fixture
def ahead() -> Iterator[JournalAhead]:
    ahead = JournalAhead()
    thread = threading.Thread(target=ahead.run)
    thread.start()
    yield ahead
    ahead.watch(None)
    ahead.stop()
    thread.join()


def wait_until_populated(journal: JournalWriter, end: int) -> None:
    """Fails by never coming back: the suite has a limit for that."""
    pause = threading.Event()
    while journal.populated < end:
        pause.wait(0.001)


def append(journal: JournalWriter, seqno: int) -> None:
    journal.append(BODY, 1, seqno, 0, 0)


def test_the_first_write_rings(tmp_path: Path, ahead: JournalAhead) -> None:
    journal = JournalWriter(str(tmp_path / "j"), 1, 8 * MIB)
    ahead.watch(journal)
    append(journal, 1)
    wait_until_populated(journal, 2 * MIB)
    assert journal.populated <= 3 * MIB  # and no more than it should
    ahead.watch(None)
    journal.close()


def test_it_keeps_ahead_to_the_end_of_the_file(tmp_path: Path, ahead: JournalAhead) -> None:
    journal = JournalWriter(str(tmp_path / "j"), 1, 5 * MIB)
    ahead.watch(journal)
    seqno = 0
    while journal.position + 2000 < journal.capacity_bytes:
        seqno += 1
        append(journal, seqno)
        wait_until_populated(journal, min(journal.position + MIB // 2, journal.capacity_bytes))
    ahead.watch(None)
    journal.close()


def test_a_journal_that_is_not_watched_is_left_alone(tmp_path: Path, ahead: JournalAhead) -> None:
    first = JournalWriter(str(tmp_path / "1"), 1, 8 * MIB)
    second = JournalWriter(str(tmp_path / "2"), 2, 8 * MIB)
    ahead.watch(first)
    append(first, 1)
    ahead.watch(second)
    before = first.populated
    first.seal()
    first.finish()  # unmaps: whoever still populated it would crash
    append(second, 2)
    wait_until_populated(second, 2 * MIB)
    assert first.populated == before
    ahead.watch(None)
    second.close()


def test_many_switches_beside_the_writer(tmp_path: Path, ahead: JournalAhead) -> None:
    seqno = 0
    for number in range(1, 30):
        journal = JournalWriter(str(tmp_path / str(number)), number, 4 * MIB)
        ahead.watch(journal)
        for _ in range(500):
            seqno += 1
            append(journal, seqno)
        ahead.watch(None)
        journal.seal()
        journal.finish()
        assert (tmp_path / str(number)).stat().st_size == 32 + 500 * RECORD_BYTES + 40


def test_a_journal_that_is_not_mapped_needs_nothing(tmp_path: Path, ahead: JournalAhead) -> None:
    journal = JournalWriter(str(tmp_path / "j"), 1, 4 * MIB, mapped=False)
    ahead.watch(journal)
    for seqno in range(1, 100):
        append(journal, seqno)
    assert journal.populated == 0
    ahead.watch(None)
    journal.close()


def test_where_populating_is_refused_the_writer_goes_on(tmp_path: Path, ahead: JournalAhead) -> None:
    """ENOMEM for whoever populates: pages come one by one as they are written."""
    journal = JournalWriter(str(tmp_path / "j"), 1, 4 * MIB)
    files.inject("populate", 0, errno.ENOMEM, count=1000)
    try:
        ahead.watch(journal)
        for seqno in range(1, 2000):
            append(journal, seqno)
    finally:
        files.clear_faults()
    ahead.watch(None)
    journal.close()


def test_stop_before_run_and_twice() -> None:
    ahead = JournalAhead()
    ahead.stop()
    ahead.stop()
    ahead.run()
