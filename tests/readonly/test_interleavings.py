"""The owner acts between any two steps of a reader that opens or refreshes; and a real second process reads under load.

Oracle: what the owner shows before and after the action. A reader shows one of the two, whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.sync_points import set_sync_point
from tests.small import SMALL_PARTITION
from tests.support import content_of, fill, opened, running, settle

POINTS = ["moment:manifest", "moment:tables", "moment:journals", "moment:loaded"]


@pytest.fixture
def keyspace(quick_folder: Path) -> Iterator[fjeld.Keyspace]:
    with opened(quick_folder / "keyspace", memtable_bytes=1 << 20) as made:
        for name in ("a", "b"):
            partition = made.partition(name, options=SMALL_PARTITION)
            fill(partition, 150, seed=1)
            partition.flush()
            fill(partition, 150, seed=2, start=100)
        settle(made)
        yield made


def write(keyspace: fjeld.Keyspace) -> None:
    with keyspace.batch() as batch:
        for name in ("a", "b"):
            batch.insert(keyspace.partition(name), b"batch", name.encode())


def write_much(keyspace: fjeld.Keyspace) -> None:
    """So much that journals are switched."""
    fill(keyspace.partition("a"), 1500, seed=3, start=500)
    settle(keyspace)


def flush_one(keyspace: fjeld.Keyspace) -> None:
    """What the other partition has stays in journals that no manifest lists."""
    keyspace.partition("a").flush()
    settle(keyspace)


def flush(keyspace: fjeld.Keyspace) -> None:
    """Journals retire and are deleted."""
    keyspace.flush()
    settle(keyspace)


def compact(keyspace: fjeld.Keyspace) -> None:
    """Tables are deleted."""
    keyspace.compact()
    settle(keyspace)


def persist(keyspace: fjeld.Keyspace) -> None:
    keyspace.persist()
    settle(keyspace)


def cut(keyspace: fjeld.Keyspace) -> None:
    """The journal is switched and finished."""
    keyspace.pin().release()
    settle(keyspace)


def create(keyspace: fjeld.Keyspace) -> None:
    fill(keyspace.partition("new"), 5)
    write(keyspace)


def drop(keyspace: fjeld.Keyspace) -> None:
    keyspace.drop_partition("b")
    keyspace.partition("a")[b"after"] = b"1"
    settle(keyspace)


def clear(keyspace: fjeld.Keyspace) -> None:
    keyspace.partition("b").clear()
    write(keyspace)
    settle(keyspace)


def ingest(keyspace: fjeld.Keyspace) -> None:
    keyspace.partition("b").ingest([(b"%08d" % number, b"ingested") for number in range(0, 300, 7)])
    keyspace.partition("a")[b"after"] = b"1"
    settle(keyspace)


def roll_manifest(keyspace: fjeld.Keyspace) -> None:
    """CURRENT names another manifest, and the old one is deleted."""
    keyspace._engine.store.start_manifest()
    write(keyspace)


def everything(keyspace: fjeld.Keyspace) -> None:
    for action in (write_much, flush_one, compact, create, clear, ingest, flush, roll_manifest, drop):
        action(keyspace)


ACTIONS = [
    write,
    write_much,
    flush_one,
    flush,
    compact,
    persist,
    cut,
    create,
    drop,
    clear,
    ingest,
    roll_manifest,
    everything,
]


def once(point: str, action: Callable[[], object]) -> list[bool]:
    """Do it when the point is passed for the first time; whether it was done."""
    done: list[bool] = []

    def act() -> None:
        if not done:
            done.append(True)
            action()

    set_sync_point(point, act)
    return done


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
@pytest.mark.parametrize("point", POINTS)
def test_opening(keyspace: fjeld.Keyspace, point: str, action: Callable[[fjeld.Keyspace], None]) -> None:
    before, seqno = content_of(keyspace), keyspace.seqno
    done = once(point, lambda: action(keyspace))
    with fjeld.open_readonly(keyspace.path) as reading:
        set_sync_point(point, None)
        assert done
        after = {seqno: before, keyspace.seqno: content_of(keyspace)}
        if keyspace.seqno == seqno:
            assert content_of(reading) == before
        elif reading.seqno in after:
            assert content_of(reading) == after[reading.seqno]
        else:  # a prefix of many writes
            assert action is write_much
            assert seqno < reading.seqno < keyspace.seqno
        keyspace.compact()
        settle(keyspace)
        shown = content_of(reading)
        reading.refresh()
        assert content_of(reading) == content_of(keyspace)
        assert shown.keys() <= {"a", "b", "new"}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
@pytest.mark.parametrize("point", POINTS)
def test_refreshing(keyspace: fjeld.Keyspace, point: str, action: Callable[[fjeld.Keyspace], None]) -> None:
    with fjeld.open_readonly(keyspace.path) as reading:
        fill(keyspace.partition("a"), 30, seed=6)
        before, seqno = content_of(keyspace), keyspace.seqno
        once(point, lambda: action(keyspace))
        reading.refresh()
        set_sync_point(point, None)
        if reading.seqno == keyspace.seqno:
            assert content_of(reading) == content_of(keyspace)
        elif reading.seqno == seqno:
            assert content_of(reading) == before
        else:
            assert action is write_much
        reading.refresh()
        assert reading.digest() == keyspace.digest()


@pytest.mark.parametrize("point", POINTS)
def test_a_journal_that_no_manifest_lists_retires(quick_folder: Path, point: str) -> None:
    """The seqnos of what is left go on from the manifest's without a gap: only the floor tells that it is gone."""
    with opened(quick_folder / "keyspace", memtable_bytes=1 << 20) as keyspace:
        a, b = keyspace.partition("a"), keyspace.partition("b")
        fill(b, 20)
        fill(a, 20)
        a.flush()  # the manifest states its seqno now, and b is in the journal

        def retire() -> None:
            keyspace._engine.rotation.cut(lambda: None)
            a[b"after"] = b"1"
            b.flush()
            settle(keyspace)
            keyspace._engine.store.reaper.reap()

        once(point, retire)
        with fjeld.open_readonly(keyspace.path) as reading:
            assert dict(reading.partition("b")) == dict(b)
            assert reading.seqno in (keyspace.seqno - 1, keyspace.seqno)


def test_the_owner_closes_and_another_opens_meanwhile(quick_folder: Path) -> None:
    path = quick_folder / "keyspace"
    for point in POINTS:
        keyspace = opened(path, memtable_bytes=1 << 20)
        fill(keyspace.partition("a"), 200)
        expected = keyspace.digest()
        reopened: list[fjeld.Keyspace] = []

        def reopen(keyspace: fjeld.Keyspace = keyspace, reopened: list[fjeld.Keyspace] = reopened) -> None:
            keyspace.close()
            reopened.append(opened(path))

        once(point, reopen)
        with fjeld.open_readonly(path) as reading:
            assert reading.digest() == expected
        set_sync_point(point, None)
        reopened[0].close()


READER = """
import json, sys, fjeld
last = 0
with fjeld.open_readonly(sys.argv[1]) as reading:
    for turn in range(int(sys.argv[2])):
        with reading.snapshot() as now:
            a, b = now.partition("a"), now.partition("b")
            newest = a[b"newest"]
            assert b[b"newest"] == newest, "a batch is whole"
            count = int(newest)
            keys = [key for key in a.keys() if key != b"newest"]
            assert keys == [b"%08d" % number for number in range(count + 1)], (count, len(keys))
            assert dict(a.items()) == dict(b.items())
            assert count >= last and now.seqno == 4 * (count + 1), (count, now.seqno)
            assert turn == 0 or count >= int(acknowledged), "what was acknowledged before is there"
            last = count
        with open(sys.argv[3]) as file:
            acknowledged = file.read() or "0"
        reading.refresh()
    print(json.dumps({"last": last, "turns": turn + 1}))
"""


def test_another_process_reads_under_load(quick_folder: Path) -> None:
    """Small memtables and journals: flushes, compactions and retirements all the time."""
    path = quick_folder / "keyspace"
    told = quick_folder / "acknowledged"
    told.write_text("")
    with opened(path) as keyspace:
        a, b = (keyspace.partition(name, options=SMALL_PARTITION) for name in ("a", "b"))
        written = threading.Event()

        def work(stop: threading.Event) -> None:
            number = 0
            while not stop.is_set():
                with keyspace.batch() as batch:
                    for partition in (a, b):
                        batch.insert(partition, b"%08d" % number, b"v" * 40)
                        batch.insert(partition, b"newest", b"%d" % number)
                if number % 50 == 0:
                    staged = quick_folder / "staged"
                    staged.write_text(str(number))
                    staged.rename(told)
                number += 1
                if number == 200:
                    written.set()
                stop.wait(
                    0.0005
                )  # a lookup for the reader's sake: it walks through all there is at each turn

        with running(work):
            assert written.wait(60)
            done = subprocess.run(
                [sys.executable, "-c", READER, str(path), "12", str(told)],
                capture_output=True,
                text=True,
                timeout=60,
            )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["last"] > 0
        assert keyspace.stats()["compactions"]["jobs"] > 0
