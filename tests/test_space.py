"""What a keyspace takes on disk beside its tables."""

from __future__ import annotations

from pathlib import Path

import fjeld
from fjeld.kernel.journal import FIRST_BYTES


def allocated_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def test_journals_take_little_after_a_flush(tmp_path: Path) -> None:
    with fjeld.open(tmp_path / "k") as keyspace:
        partition = keyspace.partition("p")
        for number in range(50):
            partition.insert(b"%d" % number, bytes(100_000))
        assert allocated_bytes(tmp_path / "k" / "journals") >= 5_000_000
        keyspace.flush()
        keyspace._engine.maintainer.wait_idle()
        assert allocated_bytes(tmp_path / "k" / "journals") <= 3 * FIRST_BYTES  # one active, two spare
        partition.insert(b"more", bytes(100_000))
    with fjeld.open(tmp_path / "k") as keyspace:
        assert len(keyspace.partition("p")) == 51


def test_a_flush_of_one_partition_leaves_the_others_in_their_journal(tmp_path: Path) -> None:
    with fjeld.open(tmp_path / "k") as keyspace:
        first, second = keyspace.partition("first"), keyspace.partition("second")
        for number in range(10):
            first.insert(b"%d" % number, bytes(100_000))
            second.insert(b"%d" % number, b"v")
        before = keyspace._engine.commit.active_journal.number
        first.flush()
        assert keyspace._engine.commit.active_journal.number == before
        second.flush()
        assert keyspace._engine.commit.active_journal.number > before
