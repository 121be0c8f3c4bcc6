"""Group commit in the kernel: what a durable write waits for, and what it shares with others."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fjeld.kernel import files
from tests.kernel.writing import DURABLE, Control

THREADS = 8


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    control = Control(tmp_path, journal_bytes=1 << 20, memtable_bytes=1 << 22)
    control.commit.attend(DURABLE, True)
    yield control
    files.clear_faults()
    files.stop_trace()


def syncs() -> list[str]:
    return [event[0] for event in files.stop_trace() if event[0] in ("sync", "sync_all")]


def test_one_writer_syncs_each_write(control: Control) -> None:
    tree = control.tree()
    files.start_trace()
    for number in range(1, 6):
        tree.insert(b"%d" % number, b"v")
        assert control.commit.persisted_seqno == number
    assert syncs() == ["sync"] * 5
    assert control.asked == []


def test_with_times_and_attributes(control: Control) -> None:
    control.commit.sync_everything(True)
    files.start_trace()
    control.tree().insert(b"k", b"v")
    assert syncs() == ["sync_all"]


def test_many_writers_share(control: Control) -> None:
    tree = control.tree()
    start = threading.Barrier(THREADS)
    late: list[int] = []

    def write(which: int) -> None:
        start.wait()
        for number in range(50):
            tree.insert(b"%d.%d" % (which, number), b"v")
            if control.commit.persisted_seqno < number + 1:  # its own seqno is at least this
                late.append(which)

    files.start_trace()
    threads = [threading.Thread(target=write, args=(which,)) for which in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert late == []
    assert control.commit.persisted_seqno == control.commit.last_seqno == THREADS * 50
    assert 1 <= len(syncs()) <= THREADS * 50
    assert len(tree.get_many([b"%d.49" % which for which in range(THREADS)])) == THREADS


def test_a_sync_that_fails_fails_for_all_from_then_on(control: Control) -> None:
    tree = control.tree()
    tree.insert(b"a", b"1")
    files.inject("sync", 0, errno.EIO)
    for _ in range(2):  # the second sync would succeed: the system has forgotten what it could not write
        with pytest.raises(OSError, match="Input/output error"):
            tree.insert(b"b", b"2")
    assert control.asked == ["sync failed"] * 2
    assert control.commit.persisted_seqno == 1


def test_a_sync_that_fails_fails_for_all_who_wait(control: Control) -> None:
    tree = control.tree()
    failed: list[OSError] = []
    files.inject("sync", 0, errno.EIO, count=10_000)

    def write(which: int) -> None:
        try:
            tree.insert(b"%d" % which, b"v")
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(which,)) for which in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == THREADS
    assert control.commit.persisted_seqno == 0


def test_an_unfinished_journal_is_the_control_planes(control: Control) -> None:
    tree = control.tree()
    control.commit.note_unfinished(1)
    tree.insert(b"k", b"v")
    assert control.asked == ["persist"]
    control.commit.note_unfinished(0)
    tree.insert(b"l", b"v")
    assert control.asked == ["persist"]
    assert control.commit.persisted_seqno == 2


def test_a_journal_is_not_closed_under_a_sync(control: Control) -> None:
    """Writers sync while journals are switched and finished all the time."""
    tree = control.tree()
    stop = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                tree.insert(b"k", b"v")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        with control.commit:
            sealed = control.commit.replace_journal(control._journal(0))
        assert sealed is not None
        sealed.finish()
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
