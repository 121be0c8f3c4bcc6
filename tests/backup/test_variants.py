"""Backups of chosen partitions and of a range of keys, and compacting ones: exactly what was wanted is in them."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fjeld
from fjeld import CancelledError, Fifo, PartitionOptions, SizeTiered
from fjeld.backup import crew
from fjeld.kernel import files
from fjeld.kernel.checksum import file_xxh128
from fjeld.manifest.current import read_current
from fjeld.manifest.log import read_manifest
from fjeld.manifest.names import manifest_name
from fjeld.manifest.version import Version
from tests.small import SMALL_PARTITION
from tests.support import (
    Content,
    content_at,
    content_of,
    digest_at,
    fill,
    leftovers,
    opened,
    running,
    settle,
    tree_of,
)

RANGES: list[tuple[bytes | None, bytes | None]] = [
    (None, None),
    (b"%08d" % 100, b"%08d" % 300),
    (None, b"%08d" % 333),
    (b"%08d" % 333, None),
    (b"%08d" % 41, b"%08d" % 42),
    (b"%08d" % 9_000, None),
    (b"%08d" % 405, b"%08d" % 411),
    (None, b"\0"),
    (b"%08d" % 100 + b"x", b"%08d" % 101),
]
SECRET = b"the others' own"


@pytest.fixture
def path(quick_folder: Path) -> Path:
    return quick_folder / "keyspace"


@pytest.fixture
def target(quick_folder: Path) -> Path:
    return quick_folder / "checkpoint"


@pytest.fixture
def keyspace(path: Path) -> Iterator[fjeld.Keyspace]:
    """Three partitions: tables on several levels, tombstones over them, sealed memtables, an ingestion, and in
    memory what hides all of these.
    """
    with opened(path) as made:
        made._engine.maintainer.pause_compaction()
        populate(made)
        made.partition("tiered", options=PartitionOptions(compaction=SizeTiered()))
        made.partition("fifo", options=PartitionOptions(compaction=Fifo(max_bytes=1 << 30)))
        for name in ("tiered", "fifo"):
            fill(made.partition(name), 200, seed=5)
            made.partition(name).flush()
            fill(made.partition(name), 100, seed=6, start=150)
        made.partition("empty")
        yield made


def populate(made: fjeld.Keyspace) -> None:
    partition = made.partition("a", options=SMALL_PARTITION)
    fill(partition, 500)
    partition.compact()
    fill(partition, 200, seed=1, start=50)
    partition.flush()
    for number in range(120, 200, 3):
        partition.remove(b"%08d" % number)
    partition.ingest((b"%08d" % number, b"ingested") for number in range(400, 420))
    partition.flush()
    for number in range(0, 500, 7):
        partition.remove(b"%08d" % number)
    for number in range(40, 500, 11):
        partition.insert(b"%08d" % number, b"from memory")
    made.partition("other").insert(SECRET, SECRET)
    made.partition("other").flush()
    made.partition("other").insert(SECRET + b" in memory", SECRET)


def within(content: dict[bytes, bytes], keys: tuple[bytes | None, bytes | None]) -> dict[bytes, bytes]:
    start, stop = keys
    return {
        key: value
        for key, value in content.items()
        if (start is None or start <= key) and (stop is None or key < stop)
    }


def version_at(path: Path) -> Version:
    return read_manifest(path / manifest_name(read_current(path)))[0]


def check(info: fjeld.CheckpointInfo, expected: Content, source: fjeld.Keyspace) -> None:
    """A whole keyspace that holds what is expected, by itself: opened, reopened, and written to."""
    path = Path(info.path)
    version = version_at(path)
    version.check()
    numbers = {table.number for table in version.tables()} | {log.number for log in version.journals}
    assert numbers.isdisjoint({read_current(path)})
    assert read_current(path) < version.next_file
    if info.chosen or info.key_range or info.compacted:
        assert version.journals == ()
        assert max(numbers, default=0) < version.journal_floor <= version.next_file
        assert {state.flushed_seqno for state in version.partitions.values()} == {info.seqno}
    assert version.parent is not None
    assert (version.parent.id, version.parent.seqno) == (source.id, info.seqno)
    assert {file.path for file in info.files} == {
        name for name in tree_of(path) if name.startswith(("tables", "journals"))
    }
    for file in info.files:
        assert file_xxh128(str(path / file.path)) == (file.size_bytes, file.xxh128)
    moved = info.linked_bytes + info.reflinked_bytes + info.copied_bytes
    assert moved + info.written_bytes == sum(file.size_bytes or 0 for file in info.files)
    document = json.loads((path / "checkpoint.json").read_bytes())
    assert document["partitions"] == list(info.partitions) == sorted(expected)
    for _ in range(2):
        with opened(path) as checkpoint:
            assert content_of(checkpoint) == expected
            assert checkpoint.seqno == info.seqno
            for name in expected:
                theirs = source.partition(name, create=False).options
                assert checkpoint.partition(name, create=False).options == theirs
    with opened(path) as checkpoint:
        for name in expected:
            fill(checkpoint.partition(name), 30, seed=8, start=90)
            for key in list(expected[name])[::3]:
                checkpoint.partition(name).remove(key)
        changed = content_of(checkpoint)
        checkpoint.compact()
        settle(checkpoint)
        assert content_of(checkpoint) == changed
    assert content_at(path) == changed


# ---- chosen partitions ----


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("names", [["a"], ["other"], ["empty"], ["tiered", "a"], ("fifo", "other")])
def test_chosen_partitions(keyspace: fjeld.Keyspace, target: Path, names: Any, flush: bool) -> None:
    before = content_of(keyspace)
    info = keyspace.backup_to(target, partitions=names, flush=flush)
    assert (info.chosen, info.complete, info.compacted) == (tuple(sorted(names)), False, False)
    assert json.loads((target / "checkpoint.json").read_bytes())["chosen"] == sorted(names)
    assert (info.written_bytes == 0) == (flush or names == ["empty"])
    check(info, {name: before[name] for name in names}, keyspace)
    assert content_of(keyspace) == before


def test_not_a_byte_of_the_others(keyspace: fjeld.Keyspace, target: Path) -> None:
    keyspace.backup_to(target, partitions=["a"])
    assert not [name for name, (_, data) in tree_of(target).items() if SECRET in data]
    assert list((target / "journals").iterdir()) == []
    assert any(SECRET in data for _, data in tree_of(keyspace.path).values())


def test_the_source_does_not_notice(keyspace: fjeld.Keyspace, target: Path) -> None:
    """Nothing is sealed, flushed or switched for it."""
    settle(keyspace)
    before = keyspace._engine.store.version
    active = keyspace._engine.commit.active_journal.number
    keyspace.backup_to(target, partitions=["a", "tiered"], key_range=(b"1", None), compact=True)
    assert keyspace._engine.store.version is before
    assert keyspace._engine.commit.active_journal.number == active


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        (["nope"], KeyError, "'nope'.*there is: a, empty"),
        (["a", "nope"], KeyError, "nope"),
        ([], ValueError, "empty"),
        (["a", "b", "a"], ValueError, "'a' is named twice"),
        ("a", TypeError, "put a single name in a list"),
        (b"a", TypeError, "list of names"),
        ([b"a"], TypeError, "is a str, not bytes"),
        (7, TypeError, "list of names"),
    ],
)
def test_partitions_that_are_refused(
    keyspace: fjeld.Keyspace, quick_folder: Path, names: Any, error: Any, match: str
) -> None:
    with pytest.raises(error, match=match):
        keyspace.backup_to(quick_folder / "checkpoint", partitions=names)
    assert [entry.name for entry in quick_folder.iterdir()] == ["keyspace"]


# ---- a range of keys ----


@pytest.mark.parametrize("keys", RANGES)
def test_a_range_of_keys(keyspace: fjeld.Keyspace, target: Path, keys: Any) -> None:
    before = content_of(keyspace)
    info = keyspace.backup_to(target, key_range=keys)
    assert info.key_range == keys
    document = json.loads((target / "checkpoint.json").read_bytes())
    assert document["key_range"] == [None if end is None else end.hex() for end in keys]
    check(info, {name: within(entries, keys) for name, entries in before.items()}, keyspace)


def test_no_key_outside_is_in_any_file(keyspace: fjeld.Keyspace, target: Path) -> None:
    keys = (b"%08d" % 100, b"%08d" % 300)
    info = keyspace.backup_to(target, key_range=keys, partitions=["a"])
    for table in version_at(target).tables():
        assert keys[0] <= table.smallest <= table.largest < keys[1]
    assert info.linked_bytes > 0, "what is wholly inside is linked"
    assert info.written_bytes > 0, "what crosses an end is written anew"
    assert list((target / "journals").iterdir()) == []


@pytest.mark.parametrize("keys", RANGES[1:4])
def test_a_range_of_chosen_partitions(keyspace: fjeld.Keyspace, target: Path, keys: Any) -> None:
    before = content_of(keyspace)
    info = keyspace.backup_to(target, partitions=["a", "fifo"], key_range=keys, verify=True)
    check(info, {name: within(before[name], keys) for name in ("a", "fifo")}, keyspace)


def test_ends_may_be_any_kind_of_bytes(keyspace: fjeld.Keyspace, target: Path) -> None:
    info = keyspace.backup_to(target, key_range=(bytearray(b"0000"), memoryview(b"00000100")))
    assert info.key_range == (b"0000", b"00000100")


@pytest.mark.parametrize(
    ("keys", "error", "match"),
    [
        ((b"b", b"a"), ValueError, "inverted"),
        ((b"a", b"a"), ValueError, "empty"),
        ((None, b""), ValueError, "empty"),
        (("a", b"b"), TypeError, "encode"),
        ((b"a", 7), TypeError, "int"),
        ((b"a",), TypeError, "pair"),
        (b"ab", TypeError, "pair"),
        (7, TypeError, "pair"),
    ],
)
def test_ranges_that_are_refused(
    keyspace: fjeld.Keyspace, quick_folder: Path, keys: Any, error: Any, match: str
) -> None:
    with pytest.raises(error, match=match):
        keyspace.backup_to(quick_folder / "checkpoint", key_range=keys)
    assert [entry.name for entry in quick_folder.iterdir()] == ["keyspace"]


# ---- compacting ----


def test_a_compacting_backup(keyspace: fjeld.Keyspace, target: Path) -> None:
    before = content_of(keyspace)
    info = keyspace.backup_to(target, compact=True)
    assert (info.compacted, info.complete) == (True, True)
    assert json.loads((target / "checkpoint.json").read_bytes())["compacted"] is True
    assert digest_at(target) == keyspace.digest()
    version = version_at(target)
    for state in version.partitions.values():
        if state.name != "fifo":
            assert sum(1 for tables in state.levels if tables) == (state.name != "empty")
            assert sum(table.entries for table in state.tables()) == len(before[state.name])
            assert not any(table.tombstones for table in state.tables())
    assert len(list(version.partition("a").tables())) > 2, "a run of several tables"
    assert version.journals == ()
    check(info, before, keyspace)


@pytest.mark.parametrize("keys", RANGES[1:])
def test_a_compacting_backup_of_a_range(keyspace: fjeld.Keyspace, target: Path, keys: Any) -> None:
    before = content_of(keyspace)
    info = keyspace.backup_to(target, compact=True, key_range=keys, partitions=["a", "tiered"])
    check(info, {name: within(before[name], keys) for name in ("a", "tiered")}, keyspace)


def test_only_memory_is_compacted(path: Path, target: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 20)
        fill(keyspace.partition("tiered", options=PartitionOptions(compaction=SizeTiered())), 20)
        before = content_of(keyspace)
        info = keyspace.backup_to(target, compact=True)
        assert len(info.files) == 2
        check(info, before, keyspace)


def test_nothing_but_tombstones(path: Path, target: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 20)
        keyspace.flush()
        for key in list(keyspace.partition("a")):
            keyspace.partition("a").remove(key)
        info = keyspace.backup_to(target, compact=True)
        assert info.files == ()
        check(info, {"a": {}}, keyspace)


def test_the_users_filter_is_not_asked(path: Path, target: Path) -> None:
    def refuse(_pairs: Any) -> Any:
        raise AssertionError("a backup asked the filter")

    with opened(path, compaction_filters={"a": refuse}) as keyspace:
        keyspace._engine.maintainer.pause_compaction()
        fill(keyspace.partition("a"), 50)
        keyspace.partition("a").flush()
        keyspace.backup_to(target, compact=True)
        assert digest_at(target) == keyspace.digest()


def test_a_first_in_first_out_partition_keeps_its_tables(keyspace: fjeld.Keyspace, target: Path) -> None:
    keyspace.backup_to(target, compact=True)
    ours, theirs = keyspace._engine.store.version.partition("fifo"), version_at(target).partition("fifo")
    assert theirs.levels[0][1:] == ours.levels[0]


# ---- while writers run ----


@pytest.mark.parametrize(
    "chosen",
    [{"compact": True}, {"partitions": ["a"]}, {"key_range": (b"%08d" % 100, b"%08d" % 400)}],
    ids=["compact", "partitions", "range"],
)
def test_while_everything_goes_on(path: Path, quick_folder: Path, chosen: dict[str, Any]) -> None:
    """Writers, flushes, compactions and clears: the backup is what a snapshot of its seqno shows."""
    keys = chosen.get("key_range", (None, None))

    def write(stop: threading.Event) -> None:
        for number in range(10**9):
            with keyspace.batch() as batch:
                batch.insert(partition, b"%08d" % (number * 7 % 500), b"%d" % number * 9)
                batch.remove(partition, b"%08d" % (number * 11 % 500))
            if number % 900 == 0:
                partition.clear()
            if stop.is_set():
                return

    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        with running(write, threads=2):
            for number in range(5):
                info = keyspace.backup_to(quick_folder / f"{number}", with_snapshot=True, **chosen)
                with info.snapshot as snapshot:
                    expected = within(dict(snapshot.partition("a").items()), keys)
                assert content_at(info.path) == {"a": expected}
                version_at(info.path).check()


def test_the_source_may_go(keyspace: fjeld.Keyspace, path: Path, quick_folder: Path) -> None:
    keys = (b"%08d" % 100, b"%08d" % 300)
    wanted: dict[str, dict[str, Any]] = {
        "partitions": {"partitions": ["a"]},
        "range": {"key_range": keys},
        "compact": {"compact": True},
    }
    before = content_of(keyspace)
    for name, chosen in wanted.items():
        keyspace.backup_to(quick_folder / name, **chosen)
    keyspace.close()
    shutil.rmtree(path)
    assert content_at(quick_folder / "partitions") == {"a": before["a"]}
    assert content_at(quick_folder / "range") == {name: within(each, keys) for name, each in before.items()}
    assert content_at(quick_folder / "compact") == before


def test_a_backup_of_a_backup(keyspace: fjeld.Keyspace, quick_folder: Path) -> None:
    """Numbers stay unique, and lineage is kept, whatever the kinds."""
    before = content_of(keyspace)
    info = keyspace.backup_to(quick_folder / "1", compact=True)
    chain: list[dict[str, Any]] = [{}, {"partitions": ["a", "tiered"]}, {"compact": True}, {"link": "never"}]
    for number, chosen in enumerate(chain, start=1):
        with opened(quick_folder / f"{number}") as parent:
            parent.partition("a").insert(b"%d" % number, b"v")
            before["a"][b"%d" % number] = b"v"
            following = parent.backup_to(quick_folder / f"{number + 1}", **chosen)
            assert following.keyspace_id == info.id
            info = following
    assert content_at(quick_folder / "5") == {name: before[name] for name in ("a", "tiered")}


# ---- progress, cancel, two workers ----


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the little that tests write."""
    monkeypatch.setattr(crew, "TOGETHER_BYTES", 1)


VARIANTS: dict[str, dict[str, Any]] = {
    "partitions": {"partitions": ["a", "fifo"]},
    "range": {"key_range": (b"%08d" % 100, b"%08d" % 300)},
    "compact": {"compact": True},
    "copy": {"link": "never"},
    "verify": {"verify": True},
    "all of it": {"compact": True, "verify": True, "link": "never", "partitions": ["a", "fifo"]},
}


@pytest.mark.parametrize("chosen", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("workers", [1, 2])
def test_progress(
    keyspace: fjeld.Keyspace, target: Path, request: pytest.FixtureRequest, workers: int, chosen: Any
) -> None:
    if workers == 2:
        request.getfixturevalue("two_workers")
    calls: list[tuple[int, int, int, int]] = []
    threads = set()

    def note(*call: int) -> None:
        calls.append(call)
        threads.add(threading.current_thread())

    keyspace.backup_to(target, progress=note, **chosen)
    done = [(call[0], call[2]) for call in calls]
    assert done == sorted(done)
    assert calls[-1][0] == calls[-1][1]
    assert calls[-1][2] == calls[-1][3]
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("chosen", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("workers", [1, 2])
def test_cancel(
    keyspace: fjeld.Keyspace, quick_folder: Path, request: pytest.FixtureRequest, workers: int, chosen: Any
) -> None:
    if workers == 2:
        request.getfixturevalue("two_workers")
    cancel = threading.Event()
    with pytest.raises(CancelledError, match="nothing"):
        keyspace.backup_to(
            quick_folder / "checkpoint",
            cancel=cancel,
            progress=lambda *_: cancel.set(),
            with_snapshot=True,
            **chosen,
        )
    assert [entry.name for entry in quick_folder.iterdir()] == ["keyspace"]
    assert keyspace.stats()["open_snapshots"] == 0
    keyspace.backup_to(quick_folder / "checkpoint", **chosen)
    assert leftovers(quick_folder) == []


def test_two_workers_make_the_same(keyspace: fjeld.Keyspace, target: Path, two_workers: None) -> None:
    before = content_of(keyspace)
    info = keyspace.backup_to(target, compact=True, link="never", verify=True)
    assert digest_at(target) == keyspace.digest()
    check(info, before, keyspace)


# ---- failures ----

MOST_OPERATIONS = 600


@pytest.mark.parametrize("chosen", VARIANTS.values(), ids=VARIANTS)
def test_every_operation_fails_once(quick_folder: Path, chosen: dict[str, Any]) -> None:
    """Until the backup succeeds: no target, no staging, no snapshot left open, and the source as it was."""
    keyspace = opened(quick_folder / "keyspace", memtable_bytes=1 << 20, journal_bytes=1 << 16)
    settle(keyspace)
    keyspace._engine.maintainer.stop()
    for name in ("a", "fifo"):
        fill(keyspace.partition(name, options=SMALL_PARTITION), 150, start=50)
        keyspace.partition(name).compact()
        fill(keyspace.partition(name), 20)
    expected = content_of(keyspace)
    for step in range(MOST_OPERATIONS):
        files.inject(None, step, errno.EIO)
        try:
            info = keyspace.backup_to(quick_folder / "checkpoint", with_snapshot=True, **chosen)
        except (OSError, fjeld.PoisonedError):
            info = None
        hit = files.faults_hit()
        files.clear_faults()
        assert content_of(keyspace) == expected
        if info is not None:
            info.snapshot.close()
            version_at(quick_folder / "checkpoint").check()
            assert content_at(quick_folder / "checkpoint") == wanted_of(expected, chosen)
            shutil.rmtree(quick_folder / "checkpoint")
        assert [entry.name for entry in quick_folder.iterdir()] == ["keyspace"], step
        assert keyspace.stats()["open_snapshots"] == 0
        if keyspace.stats()["poisoned"]:
            keyspace.close()
            keyspace = opened(quick_folder / "keyspace", memtable_bytes=1 << 20, journal_bytes=1 << 16)
            settle(keyspace)
            keyspace._engine.maintainer.stop()
        if not hit:
            assert info is not None
            break
    else:
        pytest.fail("it takes more operations than that")
    keyspace.close()


def wanted_of(content: Content, chosen: dict[str, Any]) -> Content:
    keys = chosen.get("key_range", (None, None))
    names = chosen.get("partitions", content)
    return {name: within(entries, keys) for name, entries in content.items() if name in names}
