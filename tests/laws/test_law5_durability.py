"""Law 5: what is acknowledged survives the process, what is persisted the machine; a failed sync poisons."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fjeld
from fjeld import PersistMode, PoisonedError
from fjeld.kernel import files
from tests.crash.disk import Disk
from tests.support import Gate, Task, abandon, content_of, fill, opened, settle, traced

WRITER = """
import os, signal, sys, fjeld
from fjeld import KeyspaceOptions, PersistMode
keyspace = fjeld.open(sys.argv[1], options=KeyspaceOptions(mapped_journal=sys.argv[2] == "mapped"))
partition = keyspace.partition("a")
for number in range(1000):
    partition.insert(b"%d" % number, b"v" * number)
    if number % 3 == 0:
        partition.remove(b"%d" % (number // 2))
    os.write(1, b"%d\\n" % number)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("journal", ["mapped", "pwrite"])
def test_a_killed_process_loses_nothing(path: Path, journal: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(fjeld.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), journal], env=environment, capture_output=True, check=False
    )
    assert done.returncode == -9, done.stderr
    assert done.stdout.split()[-1] == b"999"
    expected = {}
    for number in range(1000):
        expected[b"%d" % number] = b"v" * number
        if number % 3 == 0:
            expected.pop(b"%d" % (number // 2), None)
    with fjeld.open(path) as keyspace:
        assert content_of(keyspace) == {"a": expected}


@pytest.mark.parametrize("mode", [PersistMode.SYNC_DATA, PersistMode.SYNC_ALL])
@pytest.mark.parametrize("how", ["persist", "option", "batch"])
@pytest.mark.parametrize("mapped", [True, False])
def test_a_power_cut_loses_nothing_that_was_persisted(
    tmp_path: Path, mode: PersistMode, how: str, mapped: bool
) -> None:
    path, after = tmp_path / "keyspace", tmp_path / "after"
    durability = mode if how == "option" else PersistMode.BUFFER
    with traced() as trace:
        keyspace = opened(path, durability=durability, mapped_journal=mapped)
        with keyspace.batch(durability=mode if how == "batch" else None) as batch:
            batch.insert(keyspace.partition("a"), b"k", b"v")
            batch.insert(keyspace.partition("b"), b"k", b"w")
        if how == "persist":
            keyspace.persist(mode)
        files.make_directory(tmp_path / "persisted")
        keyspace.close()
    disk = Disk(tmp_path)
    for event in trace:
        if event[1] == str(tmp_path / "persisted"):
            break
        disk.apply(event)
    after.mkdir()
    disk._sync_dir(str(tmp_path))  # the parent of the keyspace is the user's
    disk.cut(after, None)
    with fjeld.open(after / "keyspace") as keyspace:
        assert content_of(keyspace) == {"a": {b"k": b"v"}, "b": {b"k": b"w"}}


def test_without_persist_the_same_power_cut_loses_it(tmp_path: Path) -> None:
    """The simulated disk does forget."""
    with traced() as trace:
        keyspace = opened(tmp_path / "keyspace")
        keyspace.partition("a").insert(b"k", b"v")
        files.make_directory(tmp_path / "persisted")
        keyspace.close()
    disk = Disk(tmp_path)
    for event in trace:
        if event[1] == str(tmp_path / "persisted"):
            break
        disk.apply(event)
    (tmp_path / "after").mkdir()
    disk._sync_dir(str(tmp_path))
    disk.cut(tmp_path / "after", None)
    with fjeld.open(tmp_path / "after" / "keyspace") as keyspace:
        assert content_of(keyspace) == {"a": {}}


# ---- poisoning ----


def fail_persist(keyspace: fjeld.Keyspace) -> None:
    files.inject("sync", 0, errno.EIO, path_contains=".jnl")
    keyspace.persist(PersistMode.SYNC_DATA)


def fail_pin(keyspace: fjeld.Keyspace) -> None:
    files.inject("sync_all", 0, errno.EIO, path_contains=".jnl")
    keyspace.pin()


def fail_backup(keyspace: fjeld.Keyspace) -> None:
    files.inject("sync_all", 0, errno.EIO, path_contains=".jnl")
    keyspace.backup_to(Path(keyspace.path).parent / "checkpoint")


def fail_rotation(keyspace: fjeld.Keyspace) -> None:
    files.inject("sync_all", 0, errno.EIO, path_contains=".jnl", count=100)
    fill(keyspace.partition("a"), 5000)  # until the worker that finishes a journal has met it
    settle(keyspace)
    keyspace.partition("a").insert(b"k", b"v")


def fail_durable_write(keyspace: fjeld.Keyspace) -> None:
    files.inject("sync", 0, errno.EIO, path_contains=".jnl")
    with keyspace.batch(durability=PersistMode.SYNC_DATA) as batch:
        batch.insert(keyspace.partition("a"), b"k", b"v")


@pytest.mark.parametrize("fail", [fail_persist, fail_pin, fail_backup, fail_rotation, fail_durable_write])
def test_a_failed_sync_poisons(path: Path, fail) -> None:
    keyspace = opened(path)
    partition = keyspace.partition("a")
    fill(partition, 200)
    with pytest.raises(PoisonedError):
        fail(keyspace)
    files.clear_faults()
    for write in (
        lambda: partition.insert(b"later", b"v"),
        lambda: partition.remove(b"later"),
        partition.clear,
        keyspace.persist,
        keyspace.flush,
        keyspace.compact,
        lambda: keyspace.partition("new"),
        lambda: keyspace.drop_partition("a"),
        lambda: keyspace.backup_to(path.parent / "another"),
        keyspace.pin,
    ):
        with pytest.raises(PoisonedError, match="open"):
            write()
    assert keyspace.stats()["poisoned"]
    before = content_of(keyspace)  # reads go on
    assert len(before["a"]) >= 200
    assert partition.get(b"%08d" % 7) == before["a"][b"%08d" % 7]
    keyspace.close()
    with opened(path) as again:
        after = content_of(again)
        if fail is not fail_rotation:
            assert after == before
        assert before["a"].items() <= after["a"].items()
        again.partition("a").insert(b"later", b"v")
    assert sorted(os.listdir(path.parent)) == ["keyspace"]


def test_a_poisoned_keyspace_keeps_no_writer_waiting(path: Path) -> None:
    keyspace = opened(path)
    partition = keyspace.partition("a")
    keyspace._engine.maintainer._workers.stop()  # nobody flushes: writers come to a stop
    writer = Task(lambda: fill(partition, 100_000))
    while not keyspace._engine.maintainer.throttle.decision()[0] or partition.stats()["memtables"] < 5:
        assert writer.running
    with pytest.raises(PoisonedError):
        fail_persist(keyspace)
    with pytest.raises(PoisonedError):
        writer.result()
    keyspace.close()


def test_nothing_is_retried_after_a_failed_sync(path: Path) -> None:
    """The system forgets what it could not write: a second sync would succeed, and lie."""
    keyspace = opened(path)
    fill(keyspace.partition("a"), 10)
    with pytest.raises(PoisonedError):
        fail_persist(keyspace)
    settle(keyspace)
    with traced() as trace:
        settle(keyspace)
        keyspace.close()
    assert [event for event in trace if event[0] in ("sync", "sync_all") and event[1].endswith(".jnl")] == []
    with opened(path) as again:
        assert len(again.partition("a")) == 10


def test_group_commit(path: Path) -> None:
    """Threads that persist together share a sync: whoever comes while one runs is served by the next."""
    with opened(path) as keyspace:
        settle(keyspace)
        partition = keyspace.partition("a")

        def durable(number: int) -> None:
            partition.insert(b"%d" % number, b"v")
            keyspace.persist(PersistMode.SYNC_DATA)

        gate = Gate("journal:before_sync")
        first = Task(lambda: durable(0))
        gate.wait()
        files.start_trace()
        others = [Task(lambda number=number: durable(number)) for number in range(1, 9)]
        while keyspace.seqno < 9:
            pass
        gate.open()
        for task in (first, *others):
            task.result()
        syncs = [event for event in files.stop_trace() if event[0] == "sync" and event[1].endswith(".jnl")]
        assert len(syncs) == 2


def test_abandoned_keyspaces_lose_nothing(path: Path) -> None:
    keyspace = opened(path)
    fill(keyspace.partition("a"), 3000)
    before = content_of(keyspace)
    abandon(keyspace)
    with opened(path) as again:
        assert content_of(again) == before
