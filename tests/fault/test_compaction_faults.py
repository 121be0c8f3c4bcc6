"""What goes wrong in a compaction: it is told, nothing is lost, and it goes on when the cause is gone."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from tests.small import SMALL_PARTITION
from tests.support import content_at, content_of, fill, opened, settle, tables_of

FOR_EVER = 1_000_000
Pairs = list[tuple[bytes, bytes]]


def with_runs(keyspace: fjeld.Keyspace, name: str = "a", runs: int = 3) -> fjeld.Partition:
    """A partition with so many runs in level 0, compaction paused."""
    partition = keyspace.partition(name, options=SMALL_PARTITION)
    keyspace._engine.maintainer.pause_compaction()
    for seed in range(runs):
        fill(partition, 60, seed=seed)
        partition.flush()
    settle(keyspace)
    return partition


def try_again(keyspace: fjeld.Keyspace) -> None:
    keyspace._engine.maintainer._retry_now()
    settle(keyspace)


@pytest.mark.parametrize("error", [ValueError("a filter that is wrong"), SystemExit(3), MemoryError()])
def test_a_filter_that_raises(path: Path, caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    """Whatever it raises: the thread that met it works on."""

    def refuse(pairs: Pairs) -> Iterable[object]:
        raise error

    with opened(path, workers=1) as keyspace:
        partition = with_runs(keyspace)
        expected, before = content_of(keyspace), tables_of(path)
        live = keyspace._engine.find("a")
        live.filter = refuse
        keyspace._engine.maintainer.resume_compaction()
        settle(keyspace)
        assert partition.stats()["failure"] == str(error) or not str(error)
        assert live.failure is error
        assert keyspace.stats()["failure"] is not None
        assert "a background job failed" in caplog.text
        assert tables_of(path) == before, "nothing was dropped, nothing is left"
        partition.insert(b"writing", b"goes on")
        with pytest.raises(type(error)):
            keyspace.compact()
        live.filter = None
        try_again(keyspace)
        assert partition.stats()["failure"] is None
        assert keyspace.stats()["failure"] is None
        assert partition.stats()["levels"][0]["tables"] < 2
        assert content_of(keyspace)["a"] == expected["a"] | {b"writing": b"goes on"}


def test_a_filter_is_asked(path: Path) -> None:
    with opened(path) as keyspace:
        partition = with_runs(keyspace)
        keyspace._engine.find("a").filter = lambda pairs: [key >= b"00000030" for key, _ in pairs]
        keyspace.compact()
        assert list(partition) == [b"%08d" % number for number in range(30, 60)]


def test_the_disk_is_full_in_the_background(path: Path) -> None:
    """It is told; writers go on, and so does compaction when there is space."""
    with opened(path, level0_slowdown_runs=4, level0_stop_runs=6) as keyspace:
        partition = with_runs(keyspace)
        files.inject("write", 0, errno.ENOSPC, path_contains=".sst", count=FOR_EVER)
        keyspace._engine.maintainer.resume_compaction()
        settle(keyspace)
        assert "No space" in partition.stats()["failure"]
        assert "No space" in keyspace.stats()["failure"]
        assert partition.insert(b"k", b"v") is None
        files.clear_faults()
        expected = content_of(keyspace)
        try_again(keyspace)
        assert partition.stats()["failure"] is None
        assert content_of(keyspace) == expected
    assert content_at(path) == expected


def damage(table: Path) -> bytes:
    data = table.read_bytes()
    table.chmod(0o644)
    table.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    return data


def test_a_table_that_turns_out_damaged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its partition is not compacted any more; once there is too much of it, writers are told why."""
    with opened(path, level0_slowdown_runs=4, level0_stop_runs=6) as keyspace:
        partition = with_runs(keyspace)
        victim = tables_of(path)[0]
        sound = damage(victim)
        before = tables_of(path)
        keyspace._engine.maintainer.resume_compaction()
        settle(keyspace)
        assert victim.name in partition.stats()["failure"]
        assert f"compaction of partition 'a' stops: {victim}" in caplog.text
        assert tables_of(path) == before
        with pytest.raises(fjeld.CorruptionError, match=victim.name):
            for seed in range(10):
                partition.insert(b"%d" % seed, b"v")
                partition.flush()
        other = keyspace.partition("other", options=SMALL_PARTITION)
        assert list(other) == []
        victim.write_bytes(sound)
    with opened(path) as keyspace:
        settle(keyspace)
        assert keyspace.partition("a").stats()["failure"] is None
        assert keyspace.partition("a").stats()["levels"][0]["tables"] < 2
        content = content_of(keyspace)["a"]
        assert set(content) >= {b"%08d" % number for number in range(60)}


def test_clearing_ends_what_failed(path: Path) -> None:
    with opened(path) as keyspace:
        partition = with_runs(keyspace)
        damage(tables_of(path)[0])
        keyspace._engine.maintainer.resume_compaction()
        settle(keyspace)
        assert partition.stats()["failure"] is not None
        partition.clear()
        assert partition.stats()["failure"] is None
        with_runs(keyspace)
        keyspace._engine.maintainer.resume_compaction()
        settle(keyspace)
        assert partition.stats()["levels"][0]["tables"] < 2


def test_writers_that_would_wait_for_ever_are_told_why(path: Path) -> None:
    def refuse(pairs: Pairs) -> Iterable[object]:
        raise OSError(errno.EIO, "the filter's own file")

    with opened(path, level0_slowdown_runs=4, level0_stop_runs=6) as keyspace:
        partition = with_runs(keyspace)
        live = keyspace._engine.find("a")
        live.filter = refuse
        keyspace._engine.maintainer.resume_compaction()
        written = 0
        with pytest.raises(OSError, match="the filter's own file"):
            for written in range(20):
                partition.insert(b"%d" % written, b"v")
                partition.flush()
        assert 0 < written < 10
        assert partition.get(b"%d" % written) is None, "what failed was not written"
        live.filter = None
        try_again(keyspace)
        partition.insert(b"%d" % written, b"v")
        expected = content_of(keyspace)
        assert partition.stats()["failure"] is None
    assert content_at(path) == expected
