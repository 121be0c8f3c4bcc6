"""Bugs that other engines had in their live backups: each is a test here, named after what went wrong."""

from __future__ import annotations

import errno
import io
import os
import shutil
import threading
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from fjeld.kernel.checksum import file_xxh128
from fjeld.sync_points import set_sync_point
from tests.backup.kinds import KINDS, source
from tests.small import SMALL_PARTITION, small_options
from tests.support import (
    Gate,
    Task,
    content_at,
    content_of,
    digest_at,
    fill,
    journals_of,
    settle,
    tables_of,
    traced,
    tree_of,
)


@pytest.fixture
def keyspace(path: Path) -> fjeld.Keyspace:
    opened = fjeld.open(path, options=small_options())
    fill(opened.partition("a", options=SMALL_PARTITION), 600)
    yield opened
    opened.close()


def test_log_and_manifest_are_cut_at_one_moment(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """RocksDB 7836, Pebble 5142, 5177: records in the copy were newer or older than its version."""
    partition = keyspace.partition("a")

    def write_and_flush() -> None:
        fill(partition, 300, seed=1, start=10_000)
        keyspace.flush()
        fill(partition, 300, seed=2)

    set_sync_point("backup:cut", write_and_flush)
    info = keyspace.backup_to(tmp_path / "copy", with_snapshot=True)
    with info.snapshot as snapshot:
        assert snapshot.seqno == info.seqno < keyspace.seqno
        assert content_at(info.path) == content_of(snapshot)
    with fjeld.open(info.path) as copy:
        assert copy.seqno == info.seqno


def test_no_record_is_cut_in_the_middle(path: Path, tmp_path: Path) -> None:
    """RocksDB 12670: the log was copied while a record was being written."""
    stop = threading.Event()
    with fjeld.open(path) as keyspace:
        left, right = keyspace.partition("left"), keyspace.partition("right")

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                with keyspace.batch() as batch:
                    batch.insert(left, b"%08d" % number, b"x" * (number % 500))
                    batch.insert(right, b"%08d" % number, b"")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            copies = [keyspace.backup_to(tmp_path / f"copy-{number}").path for number in range(8)]
        finally:
            stop.set()
            writer.join()
    for copy in copies:
        content = content_at(copy)
        assert content["left"].keys() == content["right"].keys()


def test_the_log_is_synced_before_it_is_linked(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """RocksDB 12731: data was lost in a power cut although the checkpoint had returned."""
    keyspace.partition("a").insert(b"last", b"1")
    files.start_trace()
    info = keyspace.backup_to(tmp_path / "copy")
    trace = files.stop_trace()
    linked = {event[1] for event in trace if event[0] == "link" and event[1].endswith(".jnl")}
    sealed = {event[1] for event in trace if event[0] == "write"} & linked  # the others were finished before
    assert sealed
    for journal in sealed:
        link = next(at for at, event in enumerate(trace) if event[:2] == ("link", journal))
        wrote = [
            at for at, event in enumerate(trace) if event[:2] in (("write", journal), ("truncate", journal))
        ]
        synced = [at for at, event in enumerate(trace) if event[0].startswith("sync") and event[1] == journal]
        assert synced, trace
        assert max(wrote, default=-1) < max(synced) < link
    assert info.copied_bytes == 0


def test_deleting_in_the_source_never_changes_the_copy(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """RocksDB 4093: a deletion that truncated first destroyed the linked files."""
    info = keyspace.backup_to(tmp_path / "copy", with_snapshot=True)
    with info.snapshot as snapshot:
        before = keyspace.digest(snapshot=snapshot)
    partition = keyspace.partition("a")
    partition.clear()
    fill(partition, 600, seed=9)
    keyspace.compact()
    settle(keyspace)
    assert digest_at(info.path) == before


def test_a_file_is_not_deleted_while_it_is_being_linked(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """RocksDB 7369: a deletion that was postponed before the backup began ran in the middle of it."""
    partition = keyspace.partition("a")
    keyspace.flush()
    iterator = iter(partition.items())
    next(iterator)
    keyspace.compact()  # what the iterator holds waits to be deleted

    def let_go() -> None:
        nonlocal iterator
        iterator = iter(())
        keyspace.compact()
        settle(keyspace)

    set_sync_point("backup:finished", let_go)
    info = keyspace.backup_to(tmp_path / "copy", with_snapshot=True)
    with info.snapshot as snapshot:
        assert content_at(info.path) == content_of(snapshot)


def test_the_manifest_rolls_over_during_a_backup(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """RocksDB 1169, 12882, yugabyte 1491."""
    set_sync_point("backup:finished", keyspace._engine.store.start_manifest)
    info = keyspace.backup_to(tmp_path / "copy", with_snapshot=True)
    with info.snapshot as snapshot:
        assert content_at(info.path) == content_of(snapshot)


def test_the_copys_manifest_is_its_own(keyspace: fjeld.Keyspace, path: Path, tmp_path: Path) -> None:
    """cockroach 100935: a copied manifest was appended to, which broke its framing."""
    info = keyspace.backup_to(tmp_path / "copy")
    own = {file.stat().st_ino for file in Path(info.path).glob("MANIFEST-*")}
    assert own
    assert not own & {file.stat().st_ino for file in path.glob("MANIFEST-*")}
    for number in range(3):
        with fjeld.open(info.path) as copy:
            copy.partition("a").insert(b"more", b"%d" % number)
    assert content_at(info.path)["a"][b"more"] == b"2"


@pytest.mark.parametrize("errnum", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES])
def test_a_link_that_fails_becomes_a_copy(keyspace: fjeld.Keyspace, tmp_path: Path, errnum: int) -> None:
    """RocksDB 9627: a file system without links, too many links, another device or owner was fatal."""
    keyspace.flush()
    files.inject("link", 0, errnum, count=2)
    info = keyspace.backup_to(tmp_path / "copy")
    assert files.faults_hit() == min(2, len(info.files))
    assert info.copied_bytes + info.reflinked_bytes > 0
    assert info.linked_bytes + info.copied_bytes + info.reflinked_bytes == sum(
        file.size_bytes for file in info.files
    )
    assert content_at(info.path) == content_of(keyspace)


def test_a_corrupt_file_is_not_copied_in_silence(
    keyspace: fjeld.Keyspace, path: Path, tmp_path: Path
) -> None:
    """RocksDB 12200, etcd 18340: corruption went into the backup and was found at the restore."""
    keyspace.flush()
    settle(keyspace)
    victim = tables_of(path)[0]
    victim.chmod(0o644)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(fjeld.CorruptionError) as noticed:
        keyspace.backup_to(tmp_path / "copy", link="never")
    assert noticed.value.path == str(victim)
    assert os.listdir(tmp_path) == [path.name]


def test_a_backup_does_not_wait_for_a_flush(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """RocksDB 7921: a checkpoint waited for ever for a flush while writes were stalled."""
    flushing, go_on = threading.Event(), threading.Event()

    def stop() -> None:
        flushing.set()
        assert go_on.wait(60)

    partition = keyspace.partition("a")
    settle(keyspace)
    partition.insert(b"last", b"1")
    set_sync_point("flush:start", stop)
    flusher = threading.Thread(target=keyspace.flush)
    flusher.start()
    try:
        assert flushing.wait(60)
        info = keyspace.backup_to(tmp_path / "copy")
    finally:
        set_sync_point("flush:start", None)
        go_on.set()
        flusher.join()
    assert content_at(info.path) == content_of(keyspace)


def test_contents_are_synced_before_the_target_has_its_name(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """RocksDB, a fork of fjall: the folder was renamed before its contents were synced, its parent never."""
    files.start_trace()
    info = keyspace.backup_to(tmp_path / "copy")
    trace = files.stop_trace()
    rename = next(at for at, event in enumerate(trace) if event[0] == "rename" and event[2] == str(info.path))
    staging = trace[rename][1]
    synced = {event[1] for event in trace[:rename] if event[0] in ("sync", "sync_all", "sync_dir")}
    assert {staging, f"{staging}/tables", f"{staging}/journals"} <= synced
    created = {event[1] for event in trace[:rename] if event[0] == "create" and event[1].startswith(staging)}
    assert {Path(file).name for file in created} > {"CURRENT", "FJELD", "checkpoint.json"}
    assert created <= synced, created - synced
    renamed = {event[2] for event in trace[:rename] if event[0] == "rename"}
    assert not any(name.startswith(staging) for name in renamed), "nobody sees what is in it: no detours"
    assert ("sync_dir", str(tmp_path)) in trace[rename:]


def test_removed_keys_do_not_come_back(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """Badger 521, 739."""
    partition = keyspace.partition("a")
    keyspace.compact()
    for number in range(0, 600, 2):
        partition.remove(b"%08d" % number)
    expected = {b"%08d" % number for number in range(1, 600, 2)}
    at_once = keyspace.backup_to(tmp_path / "in the journal").path
    keyspace.flush()
    flushed = keyspace.backup_to(tmp_path / "in level 0").path
    keyspace.compact()
    compacted = keyspace.backup_to(tmp_path / "compacted").path
    for copy in (at_once, flushed, compacted):
        assert content_at(copy)["a"].keys() == expected
        with fjeld.open(copy) as opened:
            opened.compact()
            assert set(opened.partition("a")) == expected


def test_identities_are_never_used_twice(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """Litestream 781, etcd 16028: restored stores reused identities and revisions."""
    one = keyspace.backup_to(tmp_path / "one")
    two = keyspace.backup_to(tmp_path / "two")
    assert len({keyspace.id, one.id, two.id}) == 3
    with fjeld.open(one.path) as copy:
        assert (copy.id, copy.parent) == (one.id, (keyspace.id, one.seqno))
        copy.partition("a").insert(b"new", b"")
        assert copy.seqno == one.seqno + 1
        again = copy.backup_to(tmp_path / "of the copy")
    assert again.keyspace_id == one.id
    assert again.seqno == one.seqno + 1


def test_partition_options_are_kept(path: Path, tmp_path: Path) -> None:
    """svix/diom 73: the restored store behaved differently."""
    options = fjeld.PartitionOptions(
        block_bytes=1024,
        filter_bits=14,
        compression=("none", "zstd"),
        compaction=fjeld.Leveled(level_ratio=7),
    )
    with fjeld.open(path) as keyspace:
        keyspace.partition("special", options=options)
        info = keyspace.backup_to(tmp_path / "copy")
    with fjeld.open(info.path) as copy:
        assert copy.partition("special").options == options


def test_batches_across_partitions_stay_whole(path: Path, tmp_path: Path) -> None:
    """fjallstream: flushing partitions one after the other tore a transaction across them."""
    with fjeld.open(path, options=small_options()) as keyspace:
        left, right = keyspace.partition("left"), keyspace.partition("right")
        for number in range(400):
            with keyspace.batch() as batch:
                batch.insert(left, b"%04d" % number, b"x" * 50)
                batch.insert(right, b"%04d" % number, b"")
            if number % 50 == 0:
                left.flush()
        info = keyspace.backup_to(tmp_path / "copy")
    content = content_at(info.path)
    assert content["left"].keys() == content["right"].keys()
    assert len(content["left"]) == 400


@pytest.mark.parametrize("finished", [False, True])
def test_a_retired_journal_is_not_dropped_under_a_backup(
    keyspace: fjeld.Keyspace, path: Path, tmp_path: Path, finished: bool
) -> None:
    """fjall's request: sealed journals must not be dropped while they are being copied."""
    keyspace.partition("a").insert(b"only in a journal", b"1")
    if finished:
        rotation = keyspace._engine.rotation
        rotation.cut(lambda: None)
        rotation.hurry()
        rotation.finish_sealed()

    def retire() -> None:
        keyspace.flush()
        settle(keyspace)

    set_sync_point("backup:finished", retire)
    info = keyspace.backup_to(tmp_path / "copy")
    assert journals_of(Path(info.path))
    assert content_at(info.path)["a"][b"only in a journal"] == b"1"


def test_the_source_can_be_deleted(path: Path, tmp_path: Path) -> None:
    """Paimon 9867, 10883: files of one branch were deleted by the expiry of another."""
    with fjeld.open(path, options=small_options()) as keyspace:
        fill(keyspace.partition("a", options=SMALL_PARTITION), 600)
        info = keyspace.backup_to(tmp_path / "copy")
        expected = content_of(keyspace)
    shutil.rmtree(path)
    assert content_at(info.path) == expected


def test_a_restore_destroys_nothing_before_the_new_one_is_safe(
    keyspace: fjeld.Keyspace, path: Path, tmp_path: Path
) -> None:
    """RocksDB's BackupEngine: a restore emptied its target first."""
    keyspace.backup_to(tmp_path / "checkpoint")
    keyspace.partition("a")[b"since"] = b"1"
    old = content_of(keyspace)
    keyspace.close()
    before = tree_of(path)
    with traced() as trace:
        info = fjeld.restore(tmp_path / "checkpoint", path, replace=True)
    exchange = next(place for place, event in enumerate(trace) if event[0] == "exchange")
    for operation, place, *_ in trace[:exchange]:
        assert not place.startswith(f"{path}/") or operation in ("open", "close", "read", "lock"), place
    staged = [event for event in trace[:exchange] if event[0] == "sync_dir"]
    assert staged, "the new one is on disk"
    assert {name: file for name, file in tree_of(info.replaced).items() if name != "LOCK"} == {
        name: file for name, file in before.items() if name != "LOCK"
    }
    assert content_at(info.replaced) == old


def test_what_was_ingested_and_not_flushed_is_in_the_copy(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """Pebble 5819: tables that were ingested and not yet flushed were missing."""
    partition = keyspace.partition("a")
    partition.insert(b"99999999", b"in the journal")
    partition.ingest([(b"i%04d" % number, b"ingested") for number in range(50)])
    expected = content_of(keyspace)
    assert expected["a"].keys() >= {b"99999999", b"i0000"}
    assert content_at(keyspace.backup_to(tmp_path / "copy").path) == expected


@pytest.mark.parametrize("point", ["ingestion:built", "ingestion:reserved", "ingestion:installed"])
def test_an_ingestion_is_in_the_copy_whole_or_not_at_all(
    keyspace: fjeld.Keyspace, tmp_path: Path, point: str
) -> None:
    """The same, with the backup in the middle of it."""
    keyspace.flush()
    before = content_of(keyspace)["a"]
    pairs = {b"i%04d" % number: b"ingested" for number in range(50)}
    gate = Gate(point)
    ingesting = Task(lambda: keyspace.partition("a").ingest(sorted(pairs.items())))
    gate.wait()
    copying = Task(lambda: keyspace.backup_to(tmp_path / "copy"))
    if point == "ingestion:built":  # later the backup waits until the seqno is there, for a sync's time
        copying.result()
    gate.open()
    ingesting.result()
    assert content_at(copying.result().path)["a"] in (before, before | pairs)


def test_a_failure_leaves_nothing(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """RocksDB: left-overs after an error, which the next backup stumbled over."""
    for operation, link in (("create", "auto"), ("copy", "never"), ("sync_dir", "auto"), ("rename", "auto")):
        files.inject(operation, 0, errno.EIO, path_contains="staging", count=1_000_000)
        with pytest.raises(OSError, match="Input/output"):
            keyspace.backup_to(tmp_path / "copy", link=link)
        files.clear_faults()
        assert os.listdir(tmp_path) == ["keyspace"]
    assert content_at(keyspace.backup_to(tmp_path / "copy").path) == content_of(keyspace)


def test_the_copy_opens_from_a_read_only_look(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """etcd 18340: nobody had opened the backup before it was needed. Here each file is compared, then all is read."""
    info = keyspace.backup_to(tmp_path / "copy")
    for file in info.files:
        assert file_xxh128(info.path / file.path) == (file.size_bytes, file.xxh128)
    assert digest_at(info.path) == keyspace.digest()


# ---- each kind of backup ----


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_kind_has_an_identity_of_its_own(kind: str, quick_folder: Path) -> None:
    """Litestream 781, BackupEngine, etcd 16028: what was restored went on as the original, and their later backups
    collided or stopped without a word.
    """
    checkpoints = fjeld.CheckpointFolder(quick_folder / "later ones")
    with source(quick_folder / "source") as keyspace:
        path, _ = KINDS[kind](keyspace, quick_folder)
        made = fjeld.inspect(path)
        with fjeld.open(path, create=False) as copy:
            assert copy.id == made.id != keyspace.id
            assert copy.parent is not None
            assert copy.parent[0] != copy.id, "nor is it what it was made of"
            assert copy.seqno >= copy.parent[1], "seqnos go on"
            later = [checkpoints.take(copy)]
            if not keyspace._engine.closed:
                later.append(checkpoints.take(keyspace))
    assert {info.id for info in checkpoints.list()} == {info.id for info in later}
    assert len({made.id, keyspace._engine.store.version.id, *(info.id for info in later)}) == 2 + len(later)


def test_two_restores_of_one_checkpoint_are_two_keyspaces(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """The same: equal seqnos, taken into one folder, and neither takes the other's place."""
    keyspace.backup_to(tmp_path / "checkpoint")
    checkpoints = fjeld.CheckpointFolder(tmp_path / "folder")
    taken = []
    for name in ("one", "two"):
        fjeld.restore(tmp_path / "checkpoint", tmp_path / name)
        with fjeld.open(tmp_path / name) as restored:
            restored.partition("a")[b"mine"] = name.encode()
            taken.append(checkpoints.take(restored))
    assert taken[0].seqno == taken[1].seqno
    assert len(checkpoints.list()) == 2
    assert [content_at(info.path)["a"][b"mine"] for info in taken] == [b"one", b"two"]


@pytest.mark.parametrize("link", ["auto", "never"])
def test_corruption_is_not_found_only_when_it_is_needed(
    keyspace: fjeld.Keyspace, tmp_path: Path, link: str
) -> None:
    """etcd 18340: a backup is proved when it is made, whenever one likes, and before a restore touches anything."""
    keyspace.flush()
    settle(keyspace)
    checkpoints = fjeld.CheckpointFolder(tmp_path / "folder")
    info = checkpoints.take(keyspace, link="never")
    victim = tables_of(info.path)[0]
    victim.chmod(0o644)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    (problem, *_) = fjeld.verify(info.path).problems
    assert problem.path == str(victim.relative_to(info.path))
    (verdict,) = checkpoints.verify()
    assert not verdict.ok
    keyspace.close()
    before = tree_of(Path(keyspace.path))
    with pytest.raises(fjeld.CorruptionError) as noticed:
        fjeld.restore(info.path, keyspace.path, replace=True, link=link)
    assert noticed.value.path == str(victim)
    assert tree_of(Path(keyspace.path)) == before
    assert sorted(os.listdir(tmp_path)) == ["folder", "keyspace"]


def test_what_is_corrupt_when_it_is_made_is_refused(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """The same: a link shares the damage of its source, and an export reads all of it."""
    keyspace.flush()
    settle(keyspace)
    victim = tables_of(Path(keyspace.path))[0]
    victim.chmod(0o644)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    for make in (
        lambda: keyspace.backup_to(tmp_path / "copy", verify=True),
        lambda: keyspace.backup_to(tmp_path / "copy", compact=True),
        lambda: keyspace.export_to(tmp_path / "copy"),
    ):
        with pytest.raises(fjeld.CorruptionError) as noticed:
            make()
        assert noticed.value.path == str(victim)
        assert os.listdir(tmp_path) == [Path(keyspace.path).name]


def test_a_damaged_export_is_not_imported(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """The same, wherever the damage is."""
    keyspace.export_to(tmp_path / "export")
    data = (tmp_path / "export").read_bytes()
    for at in range(0, len(data), len(data) // 40):
        with pytest.raises((fjeld.CorruptionError, fjeld.UnsupportedFormatError)):
            fjeld.import_from(
                io.BytesIO(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]), tmp_path / "new"
            )
        assert sorted(os.listdir(tmp_path)) == ["export", "keyspace"]


def test_an_expiry_takes_nothing_from_others(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    """Paimon 9867, 10883: branches share files; the expiry of one deleted those that others still had."""
    partition = keyspace.partition("a")
    ours, theirs = (fjeld.CheckpointFolder(tmp_path / name) for name in ("ours", "theirs"))
    kept = [ours.take(keyspace), theirs.take(keyspace)]
    expected = content_of(keyspace)
    fjeld.restore(kept[0].path, tmp_path / "branch")
    with fjeld.open(tmp_path / "branch") as branch:
        branch.partition("a")[b"branch"] = b"1"
        theirs.take(branch)
        in_branch = content_of(branch)
        partition.clear()
        keyspace.compact()
        settle(keyspace)
        ours.take(keyspace)
        assert [info.id for info in ours.expire(fjeld.RetentionPolicy(last=1)).removed] == [kept[0].id]
        assert content_of(branch) == in_branch
        branch.compact()
    assert content_at(tmp_path / "branch") == in_branch
    assert [content_at(info.path) for info in theirs.list()] == [expected, in_branch]
    assert fjeld.verify(keyspace.path).ok
    shutil.rmtree(theirs.path)
    shutil.rmtree(tmp_path / "branch")
    assert content_of(keyspace)["a"] == {} == content_at(ours.latest().path)["a"]
