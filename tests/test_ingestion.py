"""Bulk loading: sorted pairs that become tables, all at once, newer than what was there."""

from __future__ import annotations

import errno
import random
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fjeld
from fjeld.ingestion import place
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.table import TableReader
from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.sync_points import set_sync_point
from tests.crash.disk import Disk
from tests.maintenance.engines import by_hand, sealed
from tests.small import SMALL_PARTITION, small_options
from tests.support import (
    Gate,
    Task,
    content_at,
    content_of,
    crash_copy,
    digest_at,
    fill,
    opened,
    settle,
    tables_of,
    traced,
)

ROOMY = {"memtable_bytes": 1 << 20, "journal_bytes": 1 << 20, "journals_max_bytes": 4 << 20}


@pytest.fixture
def path(quick_folder: Path) -> Path:
    return quick_folder / "keyspace"


def pairs(start: int, stop: int, value: bytes = b"ingested", step: int = 1) -> list[tuple[bytes, bytes]]:
    return [(b"%08d" % number, value + b" %d" % number) for number in range(start, stop, step)]


def levels_of(partition: fjeld.Partition) -> list[int]:
    return [level["tables"] for level in partition.stats()["levels"]]


def check(keyspace: fjeld.Keyspace) -> None:
    """Invariants of the version, and of every table."""
    settle(keyspace)
    version = keyspace._engine.store.version
    version.check()
    for meta in version.tables():
        seqno = meta.max_seqno if meta.min_seqno == meta.max_seqno else 0
        path = keyspace._engine.store.table_path(meta.number)
        TableReader(path, BlockCache(0), DescriptorPool(2), seqno=seqno).check()


# ---- what it takes ----


def test_what_was_ingested_is_there(path: Path) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        assert partition.ingest(iter(pairs(0, 1000))) == 1000
        assert list(partition.items()) == pairs(0, 1000)
        assert list(reversed(partition.items())) == pairs(0, 1000)[::-1]
        assert partition.get_many([b"%08d" % 7, b"no"]) == [b"ingested 7", None]
        assert levels_of(partition)[-1] > 1
        assert sum(levels_of(partition)[:-1]) == 0
        check(keyspace)
    with opened(path) as keyspace:
        assert list(keyspace.partition("a").items()) == pairs(0, 1000)
        keyspace.partition("a").insert(b"%08d" % 5, b"newer")
        assert keyspace.partition("a")[b"%08d" % 5] == b"newer"
        assert keyspace.seqno == 2


def test_none_at_all(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a")
        settle(keyspace)
        with traced() as events:
            assert partition.ingest([]) == 0
        assert events == []
        assert keyspace.seqno == 0


def failing(count: int):
    yield from pairs(0, count)
    raise InterruptedError("the source failed")


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ([*pairs(0, 5000), (b"0", b"")], ValueError, r"pair 5000 .*b'0'.*b'00004999'"),
        ([*pairs(0, 10), pairs(9, 10)[0]], ValueError, "pair 10 "),
        ([(b"k", "text")], TypeError, "value"),
        ([("k", b"v")], TypeError, "key"),
        ([*pairs(0, 10), 7], TypeError, None),
        ([(b"k" * 65_536, b"")], ValueError, "65,535"),
        (7, TypeError, None),
        (failing(0), InterruptedError, "the source"),
        (failing(9000), InterruptedError, "the source"),
    ],
)
def test_a_failure_leaves_nothing_behind(path: Path, given, error, match) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        partition.insert(b"k", b"v")
        seqno, version = keyspace.seqno, keyspace._engine.store.version
        with pytest.raises(error, match=match):
            partition.ingest(given)
        assert (keyspace.seqno, keyspace._engine.store.version) == (seqno, version)
        assert tables_of(path) == []
        assert dict(partition.items()) == {b"k": b"v"}
        partition.ingest(pairs(0, 3))
        assert len(partition) == 4


def test_a_closed_keyspace_a_dropped_partition_and_a_snapshot(path: Path) -> None:
    keyspace = opened(path)
    partition, dropped = keyspace.partition("a"), keyspace.partition("b")
    keyspace.drop_partition("b")
    with pytest.raises(fjeld.ClosedError, match="dropped"):
        dropped.ingest(pairs(0, 3))
    with keyspace.snapshot() as snapshot:
        assert not hasattr(snapshot.partition("a"), "ingest")
    keyspace.close()
    with pytest.raises(fjeld.ClosedError):
        partition.ingest(pairs(0, 3))


def test_a_poisoned_keyspace_refuses(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a")
        keyspace._engine.poison(RuntimeError("by a test"))
        with pytest.raises(fjeld.PoisonedError):
            partition.ingest(pairs(0, 3))


# ---- where it goes ----


def table(number: int, smallest: bytes, largest: bytes) -> TableMeta:
    return TableMeta(
        number=number, size_bytes=1, xxh128="0" * 32, entries=1, tombstones=0, weak_tombstones=0, min_seqno=number,
        max_seqno=number, smallest=smallest, largest=largest, raw_bytes=1, blocks=1, created_ns=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({}, 6),
        ({0: b"am"}, 6),
        ({0: b"az"}, 0),
        ({1: b"kz"}, 0),
        ({2: b"lm"}, 1),
        ({6: b"fh"}, 5),
        ({6: b"az"}, 5),
        ({0: b"ab", 3: b"ac", 5: b"gg"}, 4),
        ({4: b"ae", 6: b"pz"}, 6),
    ],
)
def test_the_deepest_level_that_fits(there: dict[int, bytes], expected: int) -> None:
    levels = tuple(
        (table(level + 1, there[level][:1], there[level][1:]),) if level in there else ()
        for level in range(7)
    )
    state = PartitionState(id=1, name="a", options=fjeld.PartitionOptions(), levels=levels)
    new = table(99, b"f", b"o")
    if b"m" in b"".join(there.values()) and 0 in there and there[0] == b"am":
        new = table(99, b"n", b"o")
    assert place(new, state) == expected


def test_each_table_finds_its_own_level(path: Path) -> None:
    with opened(path, **ROOMY) as keyspace:
        keyspace._engine.maintainer.pause_compaction()
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        partition.ingest(pairs(0, 4000))
        assert levels_of(partition)[6] > 4
        partition.ingest(pairs(2000, 6000, b"second"))
        assert levels_of(partition)[5] > 2
        assert levels_of(partition)[6] > levels_of(partition)[5]
        partition.insert(b"%08d" % 2500, b"in memory")
        partition.flush()
        partition.ingest(pairs(2499, 2502, b"third"))
        assert levels_of(partition)[0] == 2
        expected = (
            dict(pairs(0, 4000)) | dict(pairs(2000, 6000, b"second")) | dict(pairs(2499, 2502, b"third"))
        )
        assert dict(partition.items()) == expected
        check(keyspace)
        partition.compact()
        assert dict(partition.items()) == expected


def test_memtables_are_flushed_only_where_they_meet_it(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, _engine):
        partition = keyspace.partition("a")
        partition.insert(b"%08d" % 5, b"old")
        partition.ingest(pairs(6, 9))
        assert levels_of(partition) == [0, 0, 0, 0, 0, 0, 1]
        assert partition.stats()["memtable_entries"] == 1
        partition.ingest(pairs(4, 6))
        assert levels_of(partition) == [2, 0, 0, 0, 0, 0, 1]
        assert partition.stats()["memtable_entries"] == 0
        assert dict(partition.items()) == dict(pairs(4, 9))
        check(keyspace)


def test_what_flushes_after_a_table_of_level_0_is_newer_than_it(path: Path) -> None:
    """A memtable with entries from before and after would be neither newer nor older."""
    with by_hand(path, "a") as (keyspace, _engine):
        partition = keyspace.partition("a")
        partition.insert(b"%08d" % 5, b"old")
        partition.flush()
        partition.insert(b"elsewhere", b"before")
        partition.ingest(pairs(0, 9))
        partition.insert(b"%08d" % 5, b"after")
        partition.flush()
        check(keyspace)
        assert partition[b"%08d" % 5] == b"after"
        assert len(partition) == 10


@pytest.mark.parametrize("name", ["SizeTiered", "Fifo"])
def test_strategies_without_levels_get_one_newest_run(path: Path, name: str) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition(
            "a", options=fjeld.PartitionOptions(compaction=getattr(fjeld, name)(), block_bytes=256)
        )
        fill(partition, 50)
        assert partition.ingest(pairs(10, 5000)) == 4990
        assert levels_of(partition) == [2, 0, 0, 0, 0, 0, 0]
        assert partition[b"%08d" % 20] == b"ingested 20"
        assert len(partition) == 5000
        check(keyspace)


def test_codec_and_filter_are_those_of_the_partition(path: Path) -> None:
    with opened(path, **ROOMY) as keyspace:
        sizes = {}
        for codec in ("none", "zstd"):
            options = fjeld.PartitionOptions(compression=("none", codec), filter_bits=20)
            keyspace.partition(codec, options=options).ingest(pairs(0, 5000))
            sizes[codec] = keyspace.partition(codec).disk_space()
            (found,) = keyspace._engine.find(codec).core.current_view().levels[-1]
            assert not any(found.may_contain(b"no %d" % number) for number in range(100))
        assert sizes["zstd"] < sizes["none"] / 3


# ---- who sees it ----


def test_snapshots_and_iterators_go_on_seeing_what_they_saw(path: Path) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        fill(partition, 100)
        partition.compact()
        fill(partition, 100, seed=1, start=50)
        before = dict(partition.items())
        with keyspace.snapshot() as snapshot:
            seen, digest = snapshot.partition("a"), keyspace.digest(snapshot=snapshot)
            iterator = iter(partition.items())
            first = next(iterator)
            partition.ingest(pairs(0, 300, step=2))
            with keyspace.snapshot() as later:
                partition.compact()
                after = before | dict(pairs(0, 300, step=2))
                assert dict([first, *iterator]) == dict(seen.items()) == before
                assert dict(later.partition("a").items()) == dict(partition.items()) == after
                assert seen.get(b"%08d" % 298) is None
                assert keyspace.digest(snapshot=snapshot) == digest != keyspace.digest(snapshot=later)


keys = st.integers(0, 40).map(lambda number: b"%02d" % number)
steps = st.one_of(
    st.tuples(st.just("insert"), keys, st.binary(max_size=5)),
    st.tuples(st.just("remove"), keys),
    st.tuples(st.just("ingest"), st.dictionaries(keys, st.binary(max_size=5), max_size=25)),
    st.tuples(st.just("flush")),
    st.tuples(st.just("compact once")),
    st.tuples(st.just("compact")),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("iterate")),
    st.tuples(st.just("clear")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("die")),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(steps, max_size=30))
def test_any_sequence(tmp_path_factory, sequence: list[tuple]) -> None:
    folder = tmp_path_factory.mktemp("any")
    life = Life(folder / "0")
    for step, *rest in sequence:
        getattr(life, step.replace(" ", "_"))(*rest)
        life.check()
    life.close()
    shutil.rmtree(folder)


class Life:
    """A partition, and a dict of what is in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.model, self.held, self.lives = path, {}, [], 0
        self.open()

    def open(self) -> None:
        self.keyspace = opened(self.path, **ROOMY)
        self.keyspace._engine.maintainer.pause_compaction()
        self.partition = self.keyspace.partition("a", options=SMALL_PARTITION)

    def insert(self, key: bytes, value: bytes) -> None:
        self.partition.insert(key, value)
        self.model[key] = value

    def remove(self, key: bytes) -> None:
        self.partition.remove(key)
        self.model.pop(key, None)

    def ingest(self, content: dict[bytes, bytes]) -> None:
        seqno = self.keyspace.seqno
        assert self.partition.ingest(sorted(content.items())) == len(content)
        assert self.keyspace.seqno == seqno + bool(content)
        self.model |= content

    def flush(self) -> None:
        self.partition.flush()

    def compact_once(self) -> None:
        self.keyspace._engine.maintainer.compactor.compact_once(self.keyspace._engine.find("a"))

    def compact(self) -> None:
        self.partition.compact()

    def clear(self) -> None:
        self.partition.clear()
        self.model = {}

    def snapshot(self) -> None:
        self.held.append((self.keyspace.snapshot().partition("a"), dict(self.model)))

    def iterate(self) -> None:
        assert list(self.partition.range()) == sorted(self.model.items())

    def close(self) -> None:
        self.held.clear()
        self.keyspace.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    def die(self) -> None:
        self.lives += 1
        copy = crash_copy(self.path, self.path.with_name(f"{self.lives}"))
        self.close()
        self.path = copy
        self.open()

    def check(self) -> None:
        assert [(key, self.partition.get(key)) for key in sorted(self.model)] == sorted(self.model.items())
        assert dict(self.partition.items()) == self.model
        for reader, content in self.held:
            assert dict(reader.items()) == content
            assert all(reader.get(key) == value for key, value in content.items())
        check(self.keyspace)


# ---- beside others ----


def test_writers_go_on_while_it_is_built_and_are_overwritten(path: Path) -> None:
    """Also where what they wrote is flushed and compacted meanwhile, and seen by a snapshot."""
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        partition.insert(b"%08d" % 7, b"before")
        gate = Gate("ingestion:chunk")
        ingestion = Task(lambda: partition.ingest(pairs(0, 10_000)))
        gate.wait()
        for number in range(5, 500):
            partition.insert(b"%08d" % number, b"meanwhile")
        partition.compact()
        for number in range(400, 600):
            partition.insert(b"%08d" % number, b"in memory")
        partition.insert(b"z", b"elsewhere")
        with keyspace.snapshot() as snapshot:
            gate.open()
            assert ingestion.result() == 10_000
            assert snapshot.partition("a").get(b"%08d" % 7) == b"meanwhile"
            assert len(snapshot.partition("a")) == 596
        assert dict(partition.items()) == dict(pairs(0, 10_000)) | {b"z": b"elsewhere"}
        check(keyspace)
        partition.compact()
        assert dict(partition.items()) == dict(pairs(0, 10_000)) | {b"z": b"elsewhere"}


def test_what_is_written_last_before_writers_are_held_is_overwritten(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, _engine):
        partition = keyspace.partition("a")
        gate = Gate("ingestion:built")
        ingestion = Task(lambda: partition.ingest(pairs(0, 100)))
        gate.wait()
        partition.insert(b"%08d" % 1, b"meanwhile")
        gate.open()
        ingestion.result()
        assert partition[b"%08d" % 1] == b"ingested 1"
        assert levels_of(partition)[0] == 2
        assert dict(partition.items()) == dict(pairs(0, 100))


@pytest.mark.parametrize("point", ["ingestion:held", "ingestion:reserved", "manifest:synced"])
def test_writers_wait_for_the_last_step_and_are_newer(path: Path, point: str) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition, other = keyspace.partition("a"), keyspace.partition("b")
        partition.insert(b"%08d" % 1, b"before")
        settle(keyspace)
        seqno, digest = keyspace.seqno, keyspace.digest()
        partition.flush()
        gate = Gate(point)
        ingestion = Task(lambda: partition.ingest(pairs(0, 100)))
        gate.wait()
        assert partition[b"%08d" % 1] == b"before"
        assert len(partition) == 1
        began = threading.Semaphore(0)

        def write(target: fjeld.Partition, key: bytes) -> None:
            began.release()
            target.insert(key, b"after")

        writers = [Task(lambda: write(partition, b"%08d" % 1)), Task(lambda: write(other, b"k"))]
        writers.append(Task(lambda: [began.release(), other.insert_many([(b"l", b"m")])]))
        for _ in writers:
            began.acquire()
        with keyspace.snapshot() as snapshot:
            assert (snapshot.seqno, keyspace.digest(snapshot=snapshot)) == (seqno, digest)
            assert all(writer.running for writer in writers)
            gate.open()
            assert ingestion.result() == 100
            for writer in writers:
                writer.result()
            assert keyspace.digest(snapshot=snapshot) == digest
        assert keyspace.seqno == seqno + 4
        assert partition[b"%08d" % 1] == b"after"
        assert partition[b"%08d" % 2] == b"ingested 2"
        assert dict(other.items()) == {b"k": b"after", b"l": b"m"}
        check(keyspace)


def test_several_at_once(path: Path) -> None:
    with opened(path, **ROOMY) as keyspace:
        partitions = [keyspace.partition(name, options=SMALL_PARTITION) for name in "aab"]
        tasks = [
            Task(lambda partition=partition, at=at: partition.ingest(pairs(at, 9000, b"%d" % at, step=3)))
            for at, partition in enumerate(partitions)
        ]
        assert [task.result() for task in tasks] == [3000] * 3
        assert keyspace.seqno == 3
        assert len(partitions[0]) == 6000
        assert len(partitions[2]) == 3000
        check(keyspace)


def test_it_waits_for_a_compaction_to_end(path: Path) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        fill(partition, 200)
        partition.flush()
        settle(keyspace)
        gate = Gate("compaction:start")
        compaction = Task(partition.compact)
        gate.wait()
        built = Gate("ingestion:chunk")
        ingestion = Task(lambda: partition.ingest(pairs(50, 150)))
        built.wait()
        built.open()
        partition.insert(b"writers", b"go on")
        gate.open()
        compaction.result()
        assert ingestion.result() == 100
        assert partition[b"%08d" % 60] == b"ingested 60"
        assert len(partition) == 201
        check(keyspace)


@pytest.mark.parametrize("end", ["close", "drop", "clear"])
def test_the_end_of_keyspace_or_partition_meanwhile(path: Path, end: str) -> None:
    keyspace = opened(path, **ROOMY)
    partition = keyspace.partition("a", options=SMALL_PARTITION)
    partition.insert(b"k", b"v")
    gate = Gate("ingestion:chunk")
    ingestion = Task(lambda: partition.ingest(pairs(0, 10_000)))
    gate.wait()
    if end == "close":
        keyspace.close()
    elif end == "drop":
        keyspace.drop_partition("a")
    else:
        partition.clear()
    gate.open()
    if end == "clear":
        assert ingestion.result() == 10_000
        assert dict(partition.items()) == dict(pairs(0, 10_000))
        keyspace.close()
        return
    with pytest.raises(fjeld.ClosedError):
        ingestion.result()
    keyspace.close()
    expected = {"a": {b"k": b"v"}} if end == "close" else {}
    assert content_at(path) == expected
    assert len(tables_of(path)) == (end == "close")


def test_the_source_may_use_the_partition(path: Path) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a")

        def source():
            for number in range(3):
                partition.insert(b"%08d" % number, b"from within")
                assert partition.ingest(pairs(100 + number, 101 + number)) == 1
                yield b"%08d" % number, b"ingested"

        assert partition.ingest(source()) == 3
        assert dict(partition.items()) == {b"%08d" % n: b"ingested" for n in range(3)} | dict(pairs(100, 103))


def test_an_interrupt_of_the_source_leaves_nothing(path: Path) -> None:
    def source():
        yield from pairs(0, 9000)
        raise KeyboardInterrupt

    with opened(path, **ROOMY) as keyspace:
        with pytest.raises(KeyboardInterrupt):
            keyspace.partition("a", options=SMALL_PARTITION).ingest(source())
        assert tables_of(path) == []


# ---- backups ----


@pytest.mark.parametrize("point", ["ingestion:chunk", "ingestion:installed"])
def test_a_backup_meanwhile_has_all_or_nothing(path: Path, quick_folder: Path, point: str) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        fill(partition, 20)
        before = content_of(keyspace)
        gate = Gate(point)
        ingestion = Task(lambda: partition.ingest(pairs(10, 1000)))
        gate.wait()
        info = keyspace.backup_to(quick_folder / "during") if point == "ingestion:chunk" else None
        gate.open()
        ingestion.result()
        later = keyspace.backup_to(quick_folder / "after")
        after, digest = content_of(keyspace), keyspace.digest()
    if info is not None:
        assert content_at(quick_folder / "during") == before
        assert info.seqno < later.seqno
    assert content_at(quick_folder / "after") == after
    assert digest_at(quick_folder / "after") == digest
    assert len(after["a"]) == 1000


@pytest.mark.parametrize("point", ["ingestion:held", "ingestion:reserved", "manifest:synced"])
def test_a_backup_begun_in_the_last_step_waits_and_has_all(
    path: Path, quick_folder: Path, point: str
) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a")
        settle(keyspace)
        gate = Gate(point)
        ingestion = Task(lambda: partition.ingest(pairs(0, 100)))
        gate.wait()
        backup = Task(lambda: keyspace.backup_to(quick_folder / "copy"))
        gate.open()
        ingestion.result()
        seqno = backup.result().seqno
    content = content_at(quick_folder / "copy")
    assert (seqno, content) in [(1, {"a": dict(pairs(0, 100))}), (0, {"a": {}})]


@pytest.mark.parametrize("point", ["backup:staged", "backup:cut", "backup:linked", "backup:written"])
def test_an_ingestion_between_the_steps_of_a_backup(path: Path, quick_folder: Path, point: str) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)
        fill(partition, 20)
        before = content_of(keyspace)["a"]
        gate = Gate(point)
        backup = Task(lambda: keyspace.backup_to(quick_folder / "copy"))
        gate.wait()
        partition.ingest(pairs(0, 1000))
        gate.open()
        info = backup.result()
    expected = dict(pairs(0, 1000)) if point == "backup:staged" else before
    assert content_at(quick_folder / "copy") == {"a": expected}
    assert info.seqno == 20 + (point == "backup:staged")


# ---- crashes and faults ----


def test_a_power_cut_anywhere_leaves_all_or_nothing(tmp_path: Path, quick_folder: Path) -> None:
    root, after = quick_folder / "run", quick_folder / "after"
    root.mkdir()
    with traced() as events, fjeld.open(root / "k", options=small_options(**ROOMY)) as keyspace:
        a, b = (keyspace.partition(name, options=SMALL_PARTITION) for name in "ab")
        a.insert(b"%08d" % 3, b"old")
        b.insert(b"first", b"1")
        files.make_directory(root / "mark began")
        a.ingest(pairs(0, 200))
        files.make_directory(root / "mark returned")
        a.insert(b"%08d" % 4, b"new")
        b.insert(b"second", b"2")
        keyspace.persist(fjeld.PersistMode.SYNC_DATA)
        files.make_directory(root / "mark persisted")
    marks = {word: next(at for at, event in enumerate(events) if event[1].endswith(f"mark {word}")) for word in
             ("began", "returned", "persisted")}  # fmt: skip
    all_of_it = dict(pairs(0, 200))
    disk = Disk(root)
    seen = set()
    for at, event in enumerate(events):
        disk.apply(event)
        if at < marks["began"]:
            continue
        for variant in (None, random.Random(at), random.Random(-at)):
            after.mkdir()
            disk.cut(after, variant)
            for _ in range(2):
                found = content_at(after / "k")
                main, other = found["a"], found["b"]
                changed = {b"%08d" % 4: b"new"} if main.get(b"%08d" % 4) == b"new" else {}
                whole = main == all_of_it | changed
                assert whole or main in ({}, {b"%08d" % 3: b"old"}), (at, event)
                if whole:
                    assert other.get(b"first") == b"1", "older than what is there, and lost"
                if at >= marks["returned"]:
                    assert whole
                if at >= marks["persisted"]:
                    assert changed
                    assert len(other) == 2
                seen.add((whole, bool(changed)))
            shutil.rmtree(after)
    assert seen >= {(False, False), (True, False), (True, True)}


def test_a_seqno_that_was_used_up_is_never_missing(path: Path, tmp_path: Path) -> None:
    """The edit fails after its seqno was taken; the journal that has it retires before it is on record."""
    with by_hand(path, "a") as (keyspace, engine):
        partition = keyspace.partition("a")
        partition.insert(b"k", b"v")
        files.inject("write", 0, errno.ENOSPC, path_contains="MANIFEST", count=1)
        with pytest.raises(OSError, match="No space"):
            partition.ingest(pairs(0, 10))
        files.clear_faults()
        assert keyspace.seqno == 2
        assert dict(partition.items()) == {b"k": b"v"}
        engine.rotation.cut(lambda: None)
        engine.maintainer.flusher.flush(sealed(engine, "a"))
        assert engine.store.version.journals == ()
        partition.insert(b"l", b"w")
        crash_copy(path, tmp_path / "crashed")
    for folder in (path, tmp_path / "crashed"):
        assert content_at(folder) == {"a": {b"k": b"v", b"l": b"w"}}


def test_a_writer_that_waits_is_told_of_a_poisoning(path: Path) -> None:
    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a")
        settle(keyspace)
        gate = Gate("ingestion:reserved")
        ingestion = Task(lambda: partition.ingest(pairs(0, 10)))
        gate.wait()
        writer = Task(lambda: partition.insert(b"k", b"v"))
        files.inject("sync", 0, errno.EIO, path_contains="journals")
        gate.open()
        with pytest.raises(fjeld.PoisonedError):
            ingestion.result()
        with pytest.raises(fjeld.PoisonedError):
            writer.result()
        files.clear_faults()
        assert dict(partition.items()) == {}
        assert tables_of(path) == []


def test_a_fork_within_the_source_leaves_the_parents_files_alone(path: Path) -> None:
    import os

    with opened(path, **ROOMY) as keyspace:
        partition = keyspace.partition("a", options=SMALL_PARTITION)

        def source():
            yield from pairs(0, 9000)
            child = os.fork()
            if not child:
                raise InterruptedError("the child gives up")
            assert os.waitpid(child, 0)[1] == 0
            yield from pairs(9000, 9100)

        parent = os.getpid()
        try:
            count = partition.ingest(source())
        except BaseException as error:
            if os.getpid() != parent:
                os._exit(0 if isinstance(error, InterruptedError) else 1)
            raise
        assert count == 9100
        assert dict(partition.items()) == dict(pairs(0, 9100))


def test_the_file_operations(path: Path) -> None:
    """Tables are synced, then their folder, then the journal, then the manifest; nothing else."""
    with by_hand(path, "a") as (keyspace, _engine):
        with traced() as events:
            keyspace.partition("a").ingest(pairs(0, 10))
    kinds = [
        (event[0], Path(event[1]).suffix or Path(event[1]).name.split("-")[0])
        for event in events
        if event[0] in ("create", "sync", "seal", "sync_dir", "unlink", "rename")
    ]
    assert kinds == [
        ("create", ".sst"),
        ("sync", ".sst"),
        ("seal", ".sst"),
        ("sync_dir", "tables"),
        ("sync", ".jnl"),
        ("sync", "MANIFEST"),
    ]


def test_a_sync_point_is_where_it_says(path: Path) -> None:
    met: list[str] = []
    for name in ("chunk", "built", "held", "reserved", "installed"):
        set_sync_point(f"ingestion:{name}", lambda name=name: met.append(name))
    with opened(path) as keyspace:
        keyspace.partition("a").ingest(pairs(0, 10))
    assert met == ["chunk", "built", "held", "reserved", "installed"]
