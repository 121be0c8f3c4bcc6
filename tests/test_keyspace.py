"""The keyspace as its user sees it: opening, partitions, durability, digest, figures, closing."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from tests.small import SMALL_PARTITION, small_options


def fill(partition: fjeld.Partition, count: int, value: bytes = b"v" * 40) -> None:
    for i in range(count):
        partition.insert(b"key%06d" % i, value)


def test_the_example_of_the_readme(path: Path, tmp_path: Path) -> None:
    with fjeld.open(path) as ks:
        users = ks.partition("users")
        users[b"alice"] = b"1"
        users.insert(b"bob", b"2")
        assert users.get(b"bob") == b"2"
        assert users.get(b"eve", None) is None
        users.remove(b"bob")
        assert list(users.prefix(b"al", reverse=True)) == [(b"alice", b"1")]
        with ks.batch() as batch:
            batch.insert(users, b"carol", b"3")
            batch.remove(users, b"alice")
        with ks.snapshot() as snap:
            assert dict(snap.partition("users")) == {b"carol": b"3"}
        ks.persist(fjeld.PersistMode.SYNC_ALL)
        info = ks.backup_to(tmp_path / "monday")
    with fjeld.open(tmp_path / "monday") as copy:
        assert dict(copy.partition("users")) == {b"carol": b"3"}
        assert copy.parent == (info.keyspace_id, info.seqno)


def test_everything_comes_back(path: Path, small: fjeld.KeyspaceOptions) -> None:
    with fjeld.open(path, options=small) as ks:
        identity = ks.id
        p = ks.partition("p", options=SMALL_PARTITION)
        fill(p, 2000)
        p.remove(b"key000007")
        seqno, digest = ks.seqno, ks.digest()
        assert seqno == 2001
    with fjeld.open(path, options=small) as ks:
        assert (ks.id, ks.seqno, ks.digest()) == (identity, seqno, digest)
        assert len(ks.partition("p")) == 1999
        assert ks.partition("p").options == SMALL_PARTITION
        assert ks.parent is None


def test_identities_are_uuids_and_differ(tmp_path: Path) -> None:
    ids = set()
    for name in ("a", "b"):
        with fjeld.open(tmp_path / name) as ks:
            assert str(uuid.UUID(ks.id)) == ks.id
            ids.add(ks.id)
    assert len(ids) == 2


def test_seqno_counts_every_entry(path: Path) -> None:
    with fjeld.open(path) as ks:
        p = ks.partition("p")
        assert ks.seqno == 0
        p[b"a"] = b"1"
        assert ks.seqno == 1
        p.remove(b"not there")
        assert ks.seqno == 2
        p.insert_many([(b"b", b"2"), (b"c", b"3")])
        assert ks.seqno == 4
        p.insert_many([])
        ks.flush()
        ks.compact()
        assert ks.seqno == 4


# ---- partitions ----


def test_partitions_are_kept_apart(path: Path) -> None:
    with fjeld.open(path) as ks:
        a, b = ks.partition("a"), ks.partition("b")
        a[b"k"], b[b"k"] = b"of a", b"of b"
        assert ks.partitions() == ["a", "b"]
        assert (a[b"k"], b[b"k"]) == (b"of a", b"of b")
        a.clear()
        assert (len(a), b[b"k"]) == (0, b"of b")


def test_one_object_for_a_partition_while_it_is_held(path: Path) -> None:
    with fjeld.open(path) as ks:
        a = ks.partition("a")
        assert ks.partition("a") is a
        assert a == ks.partition("a")
        assert a != ks.partition("b")
        assert len({a, ks.partition("a"), ks.partition("b")}) == 2


def test_create_false(path: Path) -> None:
    with fjeld.open(path) as ks:
        with pytest.raises(KeyError):
            ks.partition("a", create=False)
        assert ks.partitions() == []
        ks.partition("a")
        assert ks.partition("a", create=False).name == "a"


def test_options_of_an_existing_partition_stay(path: Path) -> None:
    with fjeld.open(path) as ks:
        ks.partition("a", options=SMALL_PARTITION)
        assert ks.partition("a", options=fjeld.PartitionOptions()).options == SMALL_PARTITION
    with fjeld.open(path) as ks:
        assert ks.partition("a").options == SMALL_PARTITION
        assert ks.partition("b").options == fjeld.PartitionOptions()


def test_drop(path: Path, small: fjeld.KeyspaceOptions) -> None:
    with fjeld.open(path, options=small) as ks:
        a, b = ks.partition("a"), ks.partition("b")
        fill(a, 1000)
        fill(b, 10)
        iterator = iter(a.items())
        next(iterator)
        ks.drop_partition("a")
        assert ks.partitions() == ["b"]
        with pytest.raises(KeyError):
            ks.drop_partition("a")
        for use in (
            lambda: a.get(b"k"),
            lambda: a.insert(b"k", b"v"),
            lambda: a.remove(b"k"),
            lambda: next(iterator),
            lambda: len(a),
            lambda: list(a),
            lambda: a.clear(),
            lambda: a.flush(),
            lambda: a.compact(),
            lambda: a.disk_space(),
            lambda: a.approximate_len(),
            lambda: a.stats(),
        ):
            with pytest.raises(fjeld.ClosedError, match="'a' was dropped"):
                use()
        again = ks.partition("a")
        assert again is not a
        assert len(again) == 0
        again[b"k"] = b"new"
    with fjeld.open(path, options=small) as ks:
        assert dict(ks.partition("a")) == {b"k": b"new"}
        assert len(ks.partition("b")) == 10
    assert not [name for name in os.listdir(path / "tables") if not name.endswith(".sst")]


@pytest.mark.parametrize("change", ["drop", "clear", "create"])
def test_a_change_that_cannot_be_recorded_has_not_happened(path: Path, change: str) -> None:
    with fjeld.open(path) as ks:
        p = ks.partition("p")
        p[b"k"] = b"v"
        changes = {
            "drop": lambda: ks.drop_partition("p"),
            "clear": p.clear,
            "create": lambda: ks.partition("new"),
        }
        with ks.snapshot() as snap:
            files.inject("sync", 0, errno.EIO, path_contains="MANIFEST", count=100)
            with pytest.raises(OSError):
                changes[change]()
            files.clear_faults()
            assert ks.partitions() == ["p"]
            p[b"l"] = b"w"
            assert dict(p) == {b"k": b"v", b"l": b"w"}
            assert dict(snap.partition("p")) == {b"k": b"v"}
        p.compact()
        with ks.batch() as batch:
            batch.insert(p, b"m", b"x")
        ks.partition("new")
    with fjeld.open(path) as ks:
        assert ks.partitions() == ["new", "p"]
        assert dict(ks.partition("p")) == {b"k": b"v", b"l": b"w", b"m": b"x"}


def test_dropped_data_leaves_the_disk(path: Path, small: fjeld.KeyspaceOptions) -> None:
    with fjeld.open(path, options=small) as ks:
        fill(ks.partition("a"), 2000)
        ks.flush()
        assert ks.partition("a").disk_space() > 0
        ks.drop_partition("a")
        gc.collect()
        ks.flush()
    with fjeld.open(path, options=small):
        assert os.listdir(path / "tables") == []


# ---- durability ----


@pytest.mark.parametrize("mode", list(fjeld.PersistMode))
def test_persist(path: Path, mode: fjeld.PersistMode) -> None:
    with fjeld.open(path) as ks:
        ks.partition("p")[b"k"] = b"v"
        files.start_trace()
        ks.persist(mode)
        synced = [operation for operation in files.stop_trace() if "sync" in str(operation[0])]
        assert bool(synced) == (mode is not fjeld.PersistMode.BUFFER)
        if synced:
            assert ks.stats()["persisted_seqno"] == 1


@pytest.mark.parametrize("mode", list(fjeld.PersistMode))
def test_durability_of_every_write(path: Path, mode: fjeld.PersistMode) -> None:
    with fjeld.open(path, options=fjeld.KeyspaceOptions(durability=mode)) as ks:
        p = ks.partition("p")
        for seqno, write in enumerate((lambda: p.insert(b"k", b"v"), lambda: p.remove(b"k")), 1):
            write()
            assert ks.stats()["persisted_seqno"] == (0 if mode is fjeld.PersistMode.BUFFER else seqno)
        with ks.batch() as batch:
            batch.insert(p, b"k", b"v")
        assert ks.stats()["persisted_seqno"] == (0 if mode is fjeld.PersistMode.BUFFER else 3)


def test_a_batch_may_ask_for_more_or_less(path: Path) -> None:
    with fjeld.open(path) as ks:
        p = ks.partition("p")
        with ks.batch(durability=fjeld.PersistMode.SYNC_DATA) as batch:
            batch.insert(p, b"k", b"v")
        assert ks.stats()["persisted_seqno"] == 1
        with ks.batch(durability=fjeld.PersistMode.BUFFER) as batch:
            batch.insert(p, b"k", b"v")
        assert ks.stats()["persisted_seqno"] == 1


def test_a_clock_of_ones_own(path: Path, tmp_path: Path) -> None:
    moment = 1_700_000_000_000_000_000
    with fjeld.open(path, options=fjeld.KeyspaceOptions(clock=lambda: moment)) as ks:
        ks.partition("p")[b"k"] = b"v"
        assert ks.backup_to(tmp_path / "copy").created_at.timestamp() == moment / 1e9


# ---- digest ----


def test_a_digest_is_of_the_content(tmp_path: Path, small: fjeld.KeyspaceOptions) -> None:
    digests = []
    for name in ("straight", "crooked"):
        with fjeld.open(tmp_path / name, options=small) as ks:
            a, b = ks.partition("a", options=SMALL_PARTITION), ks.partition("b")
            fill(a, 500)
            if name == "crooked":
                ks.flush()
                fill(a, 500, b"other")
                a[b"extra"] = b"x"
                ks.compact()
                del a[b"extra"]
                fill(a, 500)
            b[b"k"] = b"v"
            digests.append(ks.digest())
            b[b"k"] = b"w"
            assert ks.digest() != digests[-1]
            del b[b"k"]
            assert ks.digest() != digests[-1]
    assert digests[0] == digests[1]


def test_a_digest_knows_the_names(path: Path) -> None:
    with fjeld.open(path) as ks:
        empty = ks.digest()
        ks.partition("a")
        one = ks.digest()
        ks.partition("b")
        assert len({empty, one, ks.digest()}) == 3
        ks.drop_partition("b")
        assert ks.digest() == one


def test_a_digest_of_a_snapshot(path: Path, small: fjeld.KeyspaceOptions) -> None:
    with fjeld.open(path, options=small) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        fill(p, 300)
        before = ks.digest()
        with ks.snapshot() as snap:
            fill(p, 300, b"other")
            ks.compact()
            ks.partition("made later")[b"k"] = b"v"
            assert ks.digest(snapshot=snap) == before
            assert ks.digest() != before
        with pytest.raises(fjeld.ClosedError):
            ks.digest(snapshot=snap)


def test_a_digest_of_what_is_no_snapshot(path: Path, tmp_path: Path) -> None:
    with fjeld.open(path) as ks, fjeld.open(tmp_path / "other") as other:
        with pytest.raises(TypeError):
            ks.digest(snapshot=3)
        with other.snapshot() as snap, pytest.raises(ValueError, match="another keyspace"):
            ks.digest(snapshot=snap)


# ---- figures ----


def test_stats_and_sizes(path: Path, small: fjeld.KeyspaceOptions) -> None:
    with fjeld.open(path, options=small) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        fill(p, 1500)
        stats = ks.stats()
        assert stats["seqno"] == 1500
        assert stats["partitions"]["p"]["memtables"] >= 1
        assert not stats["poisoned"]
        ks.compact()
        figures = p.stats()
        assert figures["memtable_entries"] == 0
        assert sum(level["entries"] for level in figures["levels"]) == 1500
        assert p.disk_space() == sum(level["bytes"] for level in figures["levels"])
        assert p.approximate_len() == len(p) == 1500
        with ks.snapshot():
            assert ks.stats()["open_snapshots"] == 1
        assert ks.stats()["open_snapshots"] == 0


def test_compaction_removes_garbage(path: Path, small: fjeld.KeyspaceOptions) -> None:
    with fjeld.open(path, options=small) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        for _ in range(3):
            fill(p, 800)
        for key in list(p)[:700]:
            p.remove(key)
        ks.compact()
        levels = p.stats()["levels"]
        assert [level["tables"] for level in levels[:1]] == [0]
        assert sum(level["entries"] for level in levels) == 100
        assert sum(level["tombstones"] for level in levels) == 0
        ks.compact()
        assert len(p) == 100


def test_level0_does_not_grow_for_ever(path: Path, small: fjeld.KeyspaceOptions) -> None:
    with fjeld.open(path, options=small) as ks:
        p = ks.partition("p", options=SMALL_PARTITION)
        for i in range(12_000):
            p.insert(b"%08d" % (i * 7919 % 12_000), b"v" * 20)
        assert p.stats()["levels"][0]["tables"] <= small.level0_stop_runs
        deeper = p.stats()["levels"][1:]
        assert sum(level["tables"] for level in deeper) > 0
        assert len(p) == 12_000


# ---- opening and closing ----


def test_closing(path: Path) -> None:
    ks = fjeld.open(path)
    p = ks.partition("p")
    p[b"k"] = b"v"
    snap = ks.snapshot()
    view = snap.partition("p")
    batch = ks.batch()
    batch.insert(p, b"l", b"w")
    items, cursor = iter(p.items()), p.cursor()
    pin = ks.pin()
    ks.close()
    ks.close()
    for use in (
        lambda: ks.partition("p"),
        lambda: ks.partition("new"),
        lambda: ks.partitions(),
        lambda: ks.drop_partition("p"),
        lambda: ks.batch(),
        lambda: ks.snapshot(),
        lambda: ks.persist(fjeld.PersistMode.SYNC_ALL),
        lambda: ks.persist(fjeld.PersistMode.BUFFER),
        lambda: ks.backup_to(path.parent / "copy"),
        lambda: ks.pin(),
        lambda: ks.digest(),
        lambda: ks.digest(snapshot=snap),
        lambda: ks.flush(),
        lambda: ks.compact(),
        lambda: ks.stats(),
        lambda: p.get(b"k"),
        lambda: p[b"k"],
        lambda: p.insert(b"k", b"v"),
        lambda: p.insert_many([(b"k", b"v")]),
        lambda: p.insert_many([]),
        lambda: p.remove(b"k"),
        lambda: p.remove_weak(b"k"),
        lambda: p.get_many([b"k"]),
        lambda: b"k" in p,
        lambda: len(p),
        lambda: list(p),
        lambda: p.first(),
        lambda: p.is_empty(),
        lambda: p.clear(),
        lambda: p.flush(),
        lambda: p.compact(),
        lambda: p.disk_space(),
        lambda: p.approximate_len(),
        lambda: p.stats(),
        lambda: p.range(),
        lambda: p.prefix(b"k"),
        lambda: p.cursor(),
        lambda: next(items),
        lambda: cursor.seek_first(),
        lambda: batch.commit(),
        lambda: snap.partition("p"),
        lambda: snap.partitions(),
        lambda: view.get(b"k"),
        lambda: len(view),
        lambda: ks.__enter__(),
    ):
        with pytest.raises(fjeld.ClosedError):
            assert use() is use  # names the line if nothing is raised
    assert not (path.parent / "copy").exists()
    batch.discard()
    snap.close()
    pin.release()
    cursor.close()
    assert "closed" in repr(ks)
    with fjeld.open(path) as ks:
        assert dict(ks.partition("p")) == {b"k": b"v"}


def test_a_clean_close_leaves_no_journal_to_replay(path: Path, small: fjeld.KeyspaceOptions) -> None:
    with fjeld.open(path, options=small) as ks:
        fill(ks.partition("p"), 500)
    assert os.listdir(path / "journals") == []
    with fjeld.open(path, options=small) as ks:
        assert len(ks.partition("p")) == 500


def test_with_closes_after_an_exception(path: Path) -> None:
    with pytest.raises(RuntimeError), fjeld.open(path) as ks:
        ks.partition("p")[b"k"] = b"v"
        raise RuntimeError
    with fjeld.open(path) as ks:
        assert ks.partition("p")[b"k"] == b"v"


def test_a_partition_keeps_its_keyspace_open(path: Path) -> None:
    p = fjeld.open(path).partition("p")
    gc.collect()
    p[b"k"] = b"v"
    p.flush()
    assert p[b"k"] == b"v"


def test_a_forgotten_keyspace_is_closed_at_exit(path: Path) -> None:
    script = (
        "import fjeld, gc, sys\np = fjeld.open(sys.argv[1]).partition('p')\ngc.collect()\np[b'k'] = b'v'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(path / "journals") == []  # what only a close does
    with fjeld.open(path) as ks:
        assert dict(ks.partition("p")) == {b"k": b"v"}


def test_a_memtable_limit_below_its_smallest_size(path: Path) -> None:
    with fjeld.open(path, options=small_options(memtable_bytes=4096)) as ks:
        p = ks.partition("p")
        fill(p, 300)
        assert len(p) == 300
