"""What runs in the background, and what writers wait for."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from fjeld.maintenance.backpressure import Stop
from fjeld.maintenance.failures import again
from fjeld.maintenance.maintainer import FINISH, REAP, RETIRE, SPARE
from tests.maintenance.engines import by_hand, sealed
from tests.small import SMALL_PARTITION
from tests.support import Gate, Task, content_of, fill, opened, settle, tables_of

FOR_EVER = 1_000_000


def test_the_background_does_all_there_is_to_do(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        fill(partition, 3000)
        settle(keyspace)
        engine = keyspace._engine
        assert engine.find("a").sealed_memtables() == ()
        assert not engine.maintainer.compactor.wanted(engine.find("a"))
        assert not engine.rotation.needs_spare
        assert engine.rotation.finish_due_seconds() is None
        assert keyspace.stats()["pending_deletions"] == 0
        assert keyspace.stats()["failure"] is None


# ---- which job is next ----


def claims(maintainer) -> set[tuple[str, int]]:
    return set(maintainer._claimed)


def test_flushes_come_before_compactions_and_those_before_deletions(path: Path) -> None:
    with by_hand(path, "a", "b") as (keyspace, engine):
        maintainer = engine.maintainer
        for part in range(3):
            fill(keyspace.partition("a"), 30, seed=part)
            keyspace.partition("a").flush()
        fill(keyspace.partition("b"), 30)
        a, b = engine.find("a"), sealed(engine, "b")
        engine.store.reaper.give(str(path / "tables" / "000000099999.sst"))
        jobs = []
        for claim in [("flush", b.id), ("compact", a.id), REAP]:
            before = claims(maintainer)
            jobs.append(maintainer._next_job())
            assert claims(maintainer) - before == {claim}
        assert maintainer._next_job() is None, "each is done by one worker only"
        for job in jobs:
            job()
        assert claims(maintainer) == set()
        assert engine.store.reaper.pending_files == 0


def test_journals_that_nobody_needs_are_retired(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        keyspace.partition("a").insert(b"k", b"v")
        engine.rotation.cut(lambda: None)
        keyspace.partition("a").clear()
        job = engine.maintainer._next_job()
        assert RETIRE in claims(engine.maintainer)
        job()
        assert engine.store.version.journals == ()


def test_journal_jobs(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        keyspace.partition("a").insert(b"k", b"v")
        engine.rotation.cut(lambda: None)
        for claim in (SPARE, FINISH):
            job = engine.maintainer._next_journal_job()
            if claim == FINISH:
                assert job is None  # it may be retired before it is due
                engine.rotation.hurry()
                job = engine.maintainer._next_journal_job()
            assert claim in claims(engine.maintainer)
            job()
        assert engine.maintainer._next_journal_job() is None
        assert engine.store.version.journals[0].finished


def test_after_halt_there_are_only_deletions(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        keyspace.partition("a").insert(b"k", b"v")
        engine.rotation.cut(lambda: None)
        sealed(engine, "a")
        engine.store.reaper.give(str(path / "nothing"))
        engine.maintainer.halt()
        engine.maintainer._next_job()()
        assert engine.store.reaper.pending_files == 0
        assert engine.maintainer._next_job() is None
        assert engine.maintainer._next_journal_job() is None


def test_after_stop_there_is_nothing(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        keyspace.partition("a").insert(b"k", b"v")
        sealed(engine, "a")
        engine.maintainer.stop()
        assert engine.maintainer._next_job() is None
        assert engine.maintainer._next_journal_job() is None
        engine.maintainer.relieve()


def test_a_pause_of_compaction(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        engine.maintainer.pause_compaction()
        for part in range(3):
            fill(keyspace.partition("a"), 30, seed=part)
            keyspace.partition("a").flush()
        assert engine.maintainer._next_job() is None
        engine.maintainer.resume_compaction()
        engine.maintainer._next_job()()
        assert keyspace.partition("a").stats()["levels"][0]["tables"] == 0


# ---- failures ----


def test_a_job_that_fails_waits_and_is_known(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        maintainer = engine.maintainer
        keyspace.partition("a").insert(b"k", b"v")
        sealed(engine, "a")
        files.inject("create", 0, errno.ENOSPC, path_contains=".sst")
        with pytest.raises(OSError, match="No space"):
            maintainer._next_job()()
        assert "No space" in keyspace.stats()["failure"]
        assert maintainer._next_job() is None, "not at once"
        maintainer._retry_now()
        maintainer._next_job()()
        assert keyspace.stats()["failure"] is None
        assert len(tables_of(path)) == 1


def test_a_deletion_that_fails_waits_too(path: Path) -> None:
    """Else a worker would try it again and again without a pause."""
    with by_hand(path, "a") as (_, engine):
        maintainer = engine.maintainer
        (path / "old").touch()
        engine.store.reaper.give(str(path / "old"))
        files.inject("unlink", 0, errno.EPERM, path_contains="old")
        with pytest.raises(PermissionError):
            maintainer._next_job()()
        assert engine.store.reaper.pending_files == 1
        assert maintainer._next_job() is None
        maintainer._retry_now()
        maintainer._next_job()()
        assert not (path / "old").exists()
        assert maintainer.failure is None


def test_what_was_dropped_does_not_fail_any_more(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        keyspace.partition("a").insert(b"k", b"v")
        sealed(engine, "a")
        files.inject("create", 0, errno.ENOSPC, path_contains=".sst")
        with pytest.raises(OSError, match="No space"):
            engine.maintainer._next_job()()
        keyspace.drop_partition("a")
        assert engine.maintainer.failure is None


def test_a_corrupt_table_stops_the_compaction_of_its_partition_only(path: Path) -> None:
    with by_hand(path, "a", "b") as (keyspace, engine):
        for name in ("a", "b"):
            for part in range(3):
                fill(keyspace.partition(name), 30, seed=part)
                keyspace.partition(name).flush()
        live = engine.find("a")
        damaged = Path(
            engine.store.table_path(next(engine.store.version.partitions[live.id].tables()).number)
        )
        data = damaged.read_bytes()
        damaged.chmod(0o644)
        damaged.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
        for _ in range(2):
            engine.maintainer._next_job()()
        assert isinstance(live.failure, fjeld.CorruptionError)
        assert damaged.name in keyspace.partition("a").stats()["failure"]
        assert keyspace.partition("b").stats()["failure"] is None
        claim = ("compact", live.id)
        while (job := engine.maintainer._next_job()) is not None:
            assert claim not in claims(engine.maintainer)
            job()


def test_a_compaction_that_is_cancelled_has_not_failed(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        for part in range(3):
            fill(keyspace.partition("a"), 30, seed=part)
            keyspace.partition("a").flush()
        live = engine.find("a")
        job = engine.maintainer._next_job()
        live.jobs.cancel()
        job()
        assert engine.maintainer.failure is None
        assert content_of(keyspace)["a"]


def test_failures_are_handed_on_as_new_errors() -> None:
    original = OSError(errno.ENOSPC, "No space left on device", "file")
    handed = again(original)
    assert handed is not original
    assert (type(handed), handed.args, handed.filename) == (OSError, original.args, "file")
    other = fjeld.CorruptionError("damaged")
    assert again(other) is other


def test_notes_of_failures(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with by_hand(path) as (_, engine):
        engine.maintainer._note_failure(OSError("a disk"))
        assert "a disk" in caplog.text
        caplog.clear()
        engine.maintainer._closing = True
        engine.maintainer._note_failure(fjeld.ClosedError("closed"))
        assert caplog.text == ""


# ---- pressure ----


def test_writers_wait_until_there_is_room_in_memory(path: Path) -> None:
    with opened(path, max_sealed_memtables=1, journal_bytes=1 << 20, journals_max_bytes=4 << 20) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        gate = Gate("flush:start")
        writer = Task(lambda: fill(partition, 2000))
        gate.wait()
        live = keyspace._engine.find("a")
        while len(live.sealed_memtables()) < 1:
            pass
        assert writer.running
        gate.open()
        writer.result()
        assert len(partition) == 2000
        count, seconds = keyspace._engine.maintainer.stalls["memtables"]
        assert count > 0
        assert 0 < seconds <= keyspace.stats()["stall_seconds"]


def test_writers_are_slowed_when_level_0_grows(path: Path) -> None:
    with by_hand(path, "a", level0_slowdown_runs=2, level0_stop_runs=7) as (keyspace, _):
        for part in range(6):
            fill(keyspace.partition("a"), 10, seed=part)
            keyspace.partition("a").flush()
        maintainer = keyspace._engine.maintainer
        keyspace.partition("a").insert_many((b"%d" % number, b"v" * 1000) for number in range(200))
        assert maintainer.stalls["level0"] == (0, 0.0), "who writes pays before the next write"
        keyspace.partition("a").insert(b"k", b"v")
        count, seconds = maintainer.stalls["level0"]
        assert count == 1
        assert seconds > 0
        assert maintainer.stall_seconds == seconds
        keyspace.compact()
        keyspace.partition("a").insert_many((b"%d" % number, b"v" * 1000) for number in range(200))
        keyspace.partition("a").insert(b"k", b"w")
        assert maintainer.stalls["level0"] == (count, seconds)


def test_a_stop_that_cannot_end_is_told(path: Path) -> None:
    with opened(path, max_sealed_memtables=1) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        files.inject("create", 0, errno.ENOSPC, path_contains=".sst", count=FOR_EVER)
        with pytest.raises(OSError, match="No space"):
            fill(partition, 5000)
        files.clear_faults()
        fill(partition, 100)
        assert dict(partition.items())


def test_the_partition_that_holds_the_journals_back_is_flushed(path: Path) -> None:
    with opened(path, memtable_bytes=1 << 20, journals_max_bytes=64 << 10) as keyspace:
        keyspace.partition("idle").insert(b"k", b"v")
        fill(keyspace.partition("busy"), 4000)
        settle(keyspace)
        assert keyspace.partition("idle").stats()["memtable_entries"] == 0
        assert keyspace.stats()["journal_bytes"] < 160 << 10


def test_of_the_straggler_one_memtable_at_a_time_is_sealed(path: Path) -> None:
    """However often the pressure is looked at: else writes would be cut into many small memtables."""
    with by_hand(path, "a", journal_bytes=4 << 10, journals_max_bytes=8 << 10) as (keyspace, engine):
        for number in range(1000):
            if isinstance(engine.maintainer.throttle.decision()[0], Stop):
                break
            engine.commit.attend(4, False)  # nobody waits
            keyspace.partition("a").insert(b"%d" % number, b"v" * 50)
        else:
            pytest.fail("the journals have no limit")
        for number in range(5):
            engine.maintainer.update_pressure()
            engine.commit.attend(4, False)
            keyspace.partition("a").insert(b"more %d" % number, b"v")
        assert keyspace.partition("a").stats()["memtables"] == 2
        keyspace.flush()


def test_close_frees_writers_that_wait(path: Path) -> None:
    keyspace = opened(path, max_sealed_memtables=1)
    partition = keyspace.partition("a", options=SMALL_PARTITION)
    waiting = threading.Event()
    throttle = keyspace._engine.maintainer.throttle
    halt = throttle._halt

    def noticed(*args: object) -> None:
        waiting.set()
        halt(*args)

    throttle._halt = noticed
    gate = Gate("flush:start")
    writer = Task(lambda: fill(partition, 5000))
    gate.wait()
    assert waiting.wait(30)
    closing = Task(keyspace.close)
    with pytest.raises(fjeld.ClosedError):
        writer.result()
    gate.open()
    closing.result()
