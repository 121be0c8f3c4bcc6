"""The thread that takes checkpoints: in odd windows only, one kept of each, errors handed to the writer."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from fjeld.cli.demo.checkpoints import Checkpointer, window_of


class Source:
    """Stands for a keyspace: makes an empty folder, and says how many it has made."""

    def __init__(self, fail_at=None):
        self.taken = 0
        self.closed = 0
        self.fail_at = fail_at
        self.changed = threading.Condition()

    def backup_to(self, target, *, with_snapshot):
        assert with_snapshot
        if self.taken == self.fail_at:
            raise OSError(28, "No space left on device")
        target.mkdir()
        with self.changed:
            self.taken += 1
            self.changed.notify_all()
        return SimpleNamespace(path=target, snapshot=SimpleNamespace(close=self.close))

    def close(self):
        self.closed += 1

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: self.taken >= count, timeout=60)


@pytest.mark.parametrize(
    ("done", "total", "windows", "expected"),
    [
        (0, 100, 4, 0),
        (24, 100, 4, 0),
        (25, 100, 4, 1),
        (99, 100, 4, 3),
        (100, 100, 4, 3),
        (0, 0, 4, 0),
        (2, 3, 16, 10),
    ],
)
def test_window_of(done, total, windows, expected):
    assert window_of(done, total, windows) == expected


def test_one_checkpoint_of_each_busy_window_is_kept(tmp_path):
    source = Source()
    checkpointer = Checkpointer(source, tmp_path)
    checkpointer.start()
    checkpointer.enter(1)
    source.wait_for(3)
    checkpointer.enter(2)
    checkpointer.enter(3)
    source.wait_for(source.taken + 2)
    checkpointer.finish()
    kept = [taken.info.path for taken in checkpointer.kept]
    assert len(kept) == 2
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert len(checkpointer.infos) == len(checkpointer.in_flight) == source.taken
    assert source.closed == source.taken - 2
    checkpointer.release()
    assert source.closed == source.taken
    assert all(start <= end for start, end in checkpointer.in_flight)
    ends = [end for _, end in checkpointer.in_flight]
    assert all(end <= start for end, (start, _) in zip(ends, checkpointer.in_flight[1:], strict=False))
    assert len(checkpointer.quiet) == 2


def test_no_checkpoint_in_quiet_windows(tmp_path):
    source = Source()
    checkpointer = Checkpointer(source, tmp_path)
    checkpointer.start()
    checkpointer.enter(0)
    checkpointer.enter(2)
    checkpointer.finish()
    assert source.taken == 0
    assert len(checkpointer.quiet) == 2


def test_a_failure_reaches_the_writer(tmp_path):
    source = Source(fail_at=1)
    checkpointer = Checkpointer(source, tmp_path)
    checkpointer.start()
    checkpointer.enter(1)
    source.wait_for(1)
    with pytest.raises(OSError, match="No space left"):
        checkpointer.finish()


def test_a_busy_window_does_not_end_without_its_checkpoint(tmp_path):
    source = Source()
    checkpointer = Checkpointer(source, tmp_path)
    checkpointer.start()
    for window in range(8):
        checkpointer.enter(window)
    checkpointer.finish()
    assert len(checkpointer.kept) == 4


def test_a_failure_ends_the_wait_for_a_checkpoint(tmp_path):
    checkpointer = Checkpointer(Source(fail_at=0), tmp_path)
    checkpointer.start()
    checkpointer.enter(1)
    checkpointer.enter(2)
    with pytest.raises(OSError, match="No space left"):
        checkpointer.finish()
