"""What writers feel: how long is decided by bytes, and everybody is freed."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from pathlib import Path

import pytest

import fjeld
from fjeld.engine import Engine
from fjeld.maintenance.backpressure import FASTEST_RATE, Go, Slow, StallReason, Stop
from fjeld.maintenance.live_partition import LivePartition
from tests.maintenance.engines import by_hand
from tests.small import SMALL_PARTITION
from tests.support import Task, fill


def pressed(keyspace: fjeld.Keyspace, runs: int) -> None:
    """With so many runs in level 0: nothing merges them."""
    for seed in range(runs):
        fill(keyspace.partition("a"), 10, seed=seed)
        keyspace.partition("a").flush()


def owed(engine: Engine) -> float:
    """Seconds that writers would have to wait now, if no time had passed since they began to owe."""
    throttle = engine.maintainer.throttle
    decision = throttle.update()
    assert isinstance(decision, Slow)
    return throttle._pacer.wait_seconds(throttle._written_bytes(), decision.bytes_per_second, 0.0)


@pytest.mark.parametrize("together", [1, 1000])
def test_a_batch_owes_what_its_writes_owe(path: Path, together: int) -> None:
    limits = {"level0_slowdown_runs": 2, "level0_stop_runs": 9}
    with by_hand(
        path, "a", memtable_bytes=4 << 20, journal_bytes=4 << 20, journals_max_bytes=16 << 20, **limits
    ) as (
        keyspace,
        engine,
    ):
        pressed(keyspace, 4)
        throttle = engine.maintainer.throttle
        throttle._pacer.restart(throttle._written_bytes(), 1e12)  # time stands still: nothing is paid
        throttle._released = True  # and nobody waits
        partition = keyspace.partition("a")
        for start in range(0, 1000, together):
            partition.insert_many((b"%08d" % number, b"v" * 92) for number in range(start, start + together))
        decision = throttle.update()
        assert isinstance(decision, Slow)
        assert owed(engine) == pytest.approx(1000 * (100 + 32) / decision.bytes_per_second)


def test_what_was_written_before_the_pressure_is_not_owed(path: Path) -> None:
    with by_hand(path, "a", level0_slowdown_runs=2, level0_stop_runs=9) as (keyspace, engine):
        keyspace.partition("a").insert_many((b"%08d" % number, b"v" * 500) for number in range(1000))
        assert isinstance(engine.maintainer.throttle.update(), Go)
        pressed(keyspace, 8)
        assert owed(engine) < 0.05


def test_whoever_waits_is_freed_when_the_reason_goes(path: Path) -> None:
    with by_hand(path, "a", level0_slowdown_runs=2, level0_stop_runs=4) as (keyspace, engine):
        pressed(keyspace, 4)
        assert engine.maintainer.throttle.decision()[0] == Stop(StallReason.LEVEL0)
        writer = Task(lambda: keyspace.partition("a").insert(b"k", b"v"))
        while not engine.maintainer.throttle._waiting:
            pass
        live = engine.find("a")
        assert engine.maintainer.compactor.compact_once(live)
        engine.maintainer.update_pressure()
        engine.maintainer.throttle.notify()
        writer.result()
        assert engine.maintainer.stalls["level0"][0] >= 1
        assert keyspace.partition("a")[b"k"] == b"v"


def test_a_halted_writer_holds_no_lock_that_others_need(path: Path) -> None:
    with by_hand(path, "a", "b", level0_slowdown_runs=2, level0_stop_runs=4) as (keyspace, engine):
        pressed(keyspace, 4)
        throttle = engine.maintainer.throttle
        waiting = threading.Event()
        wait = throttle._wait

        def noticed(seen: int, seconds: float) -> None:
            waiting.set()
            wait(seen, seconds)

        throttle._wait = noticed
        writer = Task(lambda: keyspace.partition("a").insert(b"k", b"v"))
        assert waiting.wait(30)
        assert keyspace.partition("a").get(b"k") is None
        assert keyspace.partition("b").is_empty()
        keyspace.stats()
        throttle.release()
        writer.result()


def test_the_strictest_partition_decides(path: Path) -> None:
    with by_hand(path, "a", "b", level0_slowdown_runs=2, level0_stop_runs=9) as (keyspace, engine):
        pressed(keyspace, 5)
        decision, found = engine.maintainer.throttle.decision()
        assert isinstance(decision, Slow)
        assert isinstance(found, LivePartition)
        assert found.name == "a"
        engine.maintainer.pause_compaction()
        assert engine.maintainer.throttle.decision() == (Go(), None)
        engine.maintainer.resume_compaction()


def test_garbage_that_nobody_collects_slows_writers(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        separation = fjeld.KvSeparation(threshold_bytes=100, file_size_bytes=4096, garbage_ratio=0.3)
        options = dataclasses.replace(SMALL_PARTITION, kv_separation=separation)
        partition = keyspace.partition("b", options=options)
        live, throttle = engine.find("b"), engine.maintainer.throttle
        chance = random.Random(1)
        for seed in range(6):  # of each file something stays: it cannot just be deleted
            left = (number for number in range(300) if number % 6 >= seed)
            partition.insert_many((b"%03d" % number, chance.randbytes(500)) for number in left)
            partition.flush()
        assert engine.maintainer.compactor.compact_once(live), "level 0 goes down: what it hid is garbage"
        decision, found = throttle.decision()
        assert isinstance(decision, Slow)
        assert (decision.reason, found) == (StallReason.GARBAGE, live)
        engine.maintainer.pause_compaction()
        assert throttle.decision() == (Go(), None), "it could not be collected"
        engine.maintainer.resume_compaction()
        live.failure = fjeld.CorruptionError("damaged")
        assert throttle.decision() == (Go(), None), "nor after damage"
        live.failure = None
        while engine.maintainer.compactor.compact_once(live):
            pass
        assert throttle.decision() == (Go(), None)
        assert partition.stats()["blobs"]["collectable_files"] == 0


def test_writers_are_slowed_from_the_rate_that_they_had(path: Path) -> None:
    with by_hand(path, "a", level0_slowdown_runs=2, level0_stop_runs=9) as (keyspace, engine):
        throttle = engine.maintainer.throttle
        throttle._free.restart(throttle._written_bytes(), time.monotonic() - 1)
        throttle._free.look(throttle._written_bytes() + 10 * FASTEST_RATE, time.monotonic())
        free = throttle._free.bytes_per_second
        throttle._free.look = lambda *_: None  # the rest of the test is not free writing
        pressed(keyspace, 3)
        decision = throttle.update()
        assert isinstance(decision, Slow)
        assert decision.bytes_per_second == free > 9 * FASTEST_RATE
