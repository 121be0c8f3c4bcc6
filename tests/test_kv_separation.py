"""Key-value separation through the public face: what lies where, what goes when, and what damage costs."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
from pathlib import Path

import pytest

import fjeld
from fjeld.errors import InvalidOptionError, UnsupportedFormatError
from fjeld.kernel.reader import NOT_READY
from fjeld.maintenance.strategies.blobs import JOINED_AT_ONCE
from fjeld.options import PartitionOptions
from tests.small import KIB, SMALL_PARTITION
from tests.support import Gate, Task, abandon, content_of, crash_copy, digest_at, opened, settle, traced

SEPARATED = dataclasses.replace(
    SMALL_PARTITION,
    kv_separation=fjeld.KvSeparation(threshold_bytes=100, file_size_bytes=8 * KIB, garbage_ratio=0.3),
)


def blobs_of(path: Path) -> list[Path]:
    return sorted((path / "blobs").glob("*.blb"))


def load(partition: fjeld.Partition, count: int, *, seed: int = 0, start: int = 0) -> dict[bytes, bytes]:
    """Every third value is small."""
    chance = random.Random(seed)
    made = {
        b"%06d" % number: chance.randbytes(400 if number % 3 else 20)
        for number in range(start, start + count)
    }
    for key, value in made.items():
        partition.insert(key, value)
    return made


def figures(partition: fjeld.Partition) -> dict[str, int]:
    found: dict[str, int] = partition.stats()["blobs"]
    return found


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


# ---- options ----


def test_options_are_kept(path: Path) -> None:
    with opened(path) as keyspace:
        keyspace.partition("a", options=SEPARATED)
        keyspace.partition("b")
    with opened(path) as keyspace:
        assert keyspace.partition("a").options == SEPARATED
        assert keyspace.partition("b").options.kv_separation is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"threshold_bytes": 0}, InvalidOptionError),
        ({"threshold_bytes": "1"}, TypeError),
        ({"file_size_bytes": 1}, InvalidOptionError),
        ({"garbage_ratio": 0}, InvalidOptionError),
        ({"garbage_ratio": float("nan")}, InvalidOptionError),
        ({"age_cutoff": 1.1}, InvalidOptionError),
        ({"compression": "brotli"}, InvalidOptionError),
        ({"compression": 1}, TypeError),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        fjeld.KvSeparation(**options)  # type: ignore[arg-type]


def test_options_as_json() -> None:
    assert PartitionOptions.from_json(SEPARATED.to_json()) == SEPARATED
    assert "kv_separation" not in PartitionOptions().to_json(), "an older version can read it"
    newer = SEPARATED.to_json() | {"kv_separation": {"threshold_bytes": 1, "tiers": 2}}
    with pytest.raises(UnsupportedFormatError, match="tiers"):
        PartitionOptions.from_json(newer)
    with pytest.raises(TypeError, match="kv_separation"):
        PartitionOptions(kv_separation=1024)  # type: ignore[arg-type]
    assert SEPARATED.blob_codec == "lz4"
    assert PartitionOptions(compression=("none", "zstd")).blob_codec == "zstd"
    chosen = fjeld.KvSeparation(compression="none")
    assert PartitionOptions(kv_separation=chosen).blob_codec == "none"


# ---- what lies where ----


def test_large_values_lie_apart_once_they_are_flushed(path: Path) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        expected = load(partition, 90)
        assert not blobs_of(path), "they are in the journal and in memory"
        partition.flush()
        assert figures(partition)["entries"] == sum(len(value) >= 100 for value in expected.values()) == 60
        assert sum(file.stat().st_size for file in blobs_of(path)) == figures(partition)["bytes"]
        assert partition.disk_space() == partition.stats()["bytes"] + figures(partition)["bytes"]
        assert dict(partition.items()) == expected
        assert blobs_of(path)[0].stat().st_mode & 0o777 == 0o444


def test_no_large_value_no_blob_file(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        partition[b"k"] = b"v" * 99
        partition.compact()
        assert not blobs_of(path)
        assert figures(partition)["files"] == 0


def test_what_needs_no_value_opens_no_blob_file(path: Path) -> None:
    with opened(path) as keyspace:
        expected = load(keyspace.partition("a", options=SEPARATED), 200)
    with opened(path) as keyspace:
        partition = keyspace.partition("a")
        with traced() as events:
            assert list(partition) == sorted(expected)
            assert list(reversed(partition.keys())) == sorted(expected, reverse=True)
            assert len(partition) == len(expected)
            assert [partition.size_of(key) for key in expected] == list(map(len, expected.values()))
            assert all(key in partition for key in expected)
            with partition.cursor() as cursor:
                assert cursor.seek(b"000100")
                assert cursor.key == b"000100"
        assert events
        assert not [event for event in events if ".blb" in str(event)]
        with traced() as events:
            assert partition[b"000100"] == expected[b"000100"]
        assert [event for event in events if ".blb" in str(event)]


def test_a_merge_moves_pointers_and_no_values(path: Path) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        for start in range(0, 400, 100):
            load(partition, 100, start=start)
            partition.flush()
        before = blobs_of(path)
        partition.compact()
        assert partition.stats()["levels"][0]["tables"] == 0
        assert blobs_of(path) == before


def test_few_descriptors_serve_many_files(path: Path) -> None:
    with opened(path, max_open_files=8) as keyspace:
        expected = load(keyspace.partition("a", options=SEPARATED), 500)
        partition = keyspace.partition("a")
        partition.flush()
        settle(keyspace)
        assert len(blobs_of(path)) > 12
        assert dict(partition.items()) == expected
        assert keyspace.stats()["open_files"] <= 8


# ---- what goes when ----


@pytest.mark.parametrize("compaction", [SMALL_PARTITION.compaction, fjeld.SizeTiered(min_runs=2, max_runs=3)])
def test_garbage_is_collected(path: Path, compaction: fjeld.Leveled | fjeld.SizeTiered) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=dataclasses.replace(SEPARATED, compaction=compaction))
        for seed in range(12):
            expected = load(partition, 150, seed=seed)
        partition.flush()
        settle(keyspace)
        assert figures(partition)["collectable_files"] == 0
        live_bytes = sum(map(len, expected.values()))
        assert figures(partition)["bytes"] < 4 * live_bytes, "of twelve times as much"
        partition.compact()
        assert figures(partition)["garbage_bytes"] == 0
        assert figures(partition)["entries"] == 100
        assert dict(partition.items()) == expected
        settle(keyspace)
        assert len(blobs_of(path)) == figures(partition)["files"]
    assert len(blobs_of(path)) == len(set(blobs_of(path)))


@pytest.mark.parametrize("compaction", [SMALL_PARTITION.compaction, fjeld.SizeTiered(min_runs=2, max_runs=3)])
def test_small_files_are_joined(path: Path, compaction: fjeld.Leveled | fjeld.SizeTiered) -> None:
    options = dataclasses.replace(
        SEPARATED,
        compaction=compaction,
        kv_separation=fjeld.KvSeparation(threshold_bytes=100, file_size_bytes=1 << 20),
    )
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=options)
        expected = {}
        for number in range(200):
            pairs = {b"%03d" % key: b"%d" % number * 200 for key in (number, number + 300, number + 600)}
            partition.insert_many(pairs.items())
            expected |= pairs
            partition.flush()
        settle(keyspace)
        assert figures(partition)["garbage_bytes"] == 0
        assert figures(partition)["files"] < 40, "of two hundred flushes"
        assert dict(partition.items()) == expected
        partition.compact()
        assert figures(partition)["files"] < JOINED_AT_ONCE
        settle(keyspace)
        assert len(blobs_of(path)) == figures(partition)["files"]
    with opened(path) as keyspace:
        assert dict(keyspace.partition("a").items()) == expected


def test_a_snapshot_keeps_what_it_sees(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        before = load(partition, 100, seed=1)
        snapshot = keyspace.snapshot()
        after = load(partition, 100, seed=2)
        partition.compact()
        assert dict(snapshot.partition("a").items()) == before
        assert dict(partition.items()) == after
        assert figures(partition)["entries"] == 2 * sum(len(value) >= 100 for value in after.values())
        snapshot.close()
        partition.compact()
        assert figures(partition)["entries"] == sum(len(value) >= 100 for value in after.values())


def test_an_iterator_keeps_the_files_it_reads(path: Path) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        expected = load(partition, 100)
        partition.flush()
        iterator = iter(partition.items())
        first = next(iterator)
        load(partition, 100, seed=9)
        partition.compact()
        assert [first, *iterator] == sorted(expected.items())


@pytest.mark.parametrize("how", ["clear", "drop", "remove"])
def test_files_go_with_what_pointed_into_them(path: Path, how: str) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        expected = load(partition, 100)
        partition.flush()
        assert blobs_of(path)
        if how == "clear":
            partition.clear()
        elif how == "drop":
            keyspace.drop_partition("a")
        else:
            for key in expected:
                partition.remove(key)
            partition.compact()
        settle(keyspace)
        assert not blobs_of(path)


def test_first_in_first_out_counts_the_values_and_drops_their_files(path: Path) -> None:
    options = dataclasses.replace(SEPARATED, compaction=fjeld.Fifo(max_bytes=40 * KIB))
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=options)
        load(partition, 600)
        partition.flush()
        settle(keyspace)
        assert partition.disk_space() <= 42 * KIB
        assert figures(partition)["bytes"] > 0
        assert sum(file.stat().st_size for file in blobs_of(path)) == figures(partition)["bytes"]
        kept = dict(partition.items())
        assert max(kept) == b"000599"


def test_a_filter_is_shown_the_values(path: Path) -> None:
    shown: dict[bytes, bytes] = {}

    def odd(pairs: list[tuple[bytes, bytes]]) -> list[bool]:
        shown.update(pairs)
        return [int(key) % 2 == 1 for key, _ in pairs]

    with opened(path, compaction_filters={"a": odd}) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        expected = load(partition, 200)
        partition.compact()
        assert dict(partition.items()) == {key: value for key, value in expected.items() if int(key) % 2}
        assert shown == expected
        assert figures(partition)["garbage_bytes"] == 0


def test_ingestion_separates_too(path: Path) -> None:
    chance = random.Random(1)
    pairs = [(b"%06d" % number, chance.randbytes(400 if number % 2 else 9)) for number in range(300)]
    with opened(path) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        assert partition.ingest(iter(pairs)) == 300
        assert figures(partition)["entries"] == 150
        assert figures(partition)["files"] > 1
        assert list(partition.items()) == pairs
        before = blobs_of(path)
        with pytest.raises(ValueError, match="ascend"):
            partition.ingest([*pairs, pairs[0]])
        assert blobs_of(path) == before, "nothing is left of one that fails"
        partition.compact()
        assert blobs_of(path) == before
    with opened(path) as keyspace:
        assert list(keyspace.partition("a").items()) == pairs


# ---- checkpoint and recovery ----


def test_a_checkpoint_links_blob_files(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        expected = load(keyspace.partition("a", options=SEPARATED), 150)
        keyspace.flush()
        settle(keyspace)
        info = keyspace.backup_to(tmp_path / "copy")
        linked = {Path(record.path).name for record in info.files if record.path.endswith(".blb")}
        assert linked == {file.name for file in blobs_of(path)}
        assert all(
            os.path.samefile(path / "blobs" / name, tmp_path / "copy" / "blobs" / name) for name in linked
        )
        with keyspace.pin() as pin:
            assert {file.path.name for file in pin.files} >= linked
            load(keyspace.partition("a"), 150, seed=5)
            keyspace.compact()
            assert all(file.path.exists() for file in pin.files)
        digest = keyspace.digest()
    with opened(tmp_path / "copy") as copy:
        assert dict(copy.partition("a").items()) == expected
        copy.partition("a").clear()
        copy.compact()
    assert digest_at(path) == digest


def test_left_over_files_are_deleted_and_their_numbers_not_given_again(path: Path) -> None:
    with opened(path) as keyspace:
        expected = load(keyspace.partition("a", options=SEPARATED), 60)
    stray, foreign = path / "blobs" / "000000009000.blb", path / "blobs" / "mine.blb"
    for file in (stray, foreign):
        file.write_bytes(b"?")
    with opened(path) as keyspace:
        settle(keyspace)
        assert not stray.exists()
        assert foreign.exists()
        partition = keyspace.partition("a")
        assert dict(partition.items()) == expected
        load(partition, 10, seed=2)
        partition.flush()
        assert max(int(file.stem) for file in blobs_of(path) if file != foreign) > 9000


def test_a_killed_process_loses_no_value(path: Path, tmp_path: Path) -> None:
    keyspace = opened(path)
    expected = load(keyspace.partition("a", options=SEPARATED), 300)
    settle(keyspace)
    copy = crash_copy(path, tmp_path / "killed")
    abandon(keyspace)
    with opened(copy) as keyspace:
        assert dict(keyspace.partition("a").items()) == expected


def test_a_keyspace_of_an_older_version_has_no_folder_for_them(path: Path) -> None:
    with opened(path) as keyspace:
        keyspace.partition("a")[b"k"] = b"v"
    (path / "blobs").rmdir()
    with opened(path) as keyspace:
        partition = keyspace.partition("b", options=SEPARATED)
        partition[b"k"] = b"v" * 500
        partition.flush()
        assert partition[b"k"] == b"v" * 500


# ---- damage ----


@pytest.mark.parametrize("how", ["missing", "damaged", "folder"])
def test_damage_costs_the_keys_in_the_file_and_no_others(path: Path, how: str) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        expected = load(partition, 60)
        partition.flush()
        expected |= load(partition, 60, start=60)
        partition.flush()
        settle(keyspace)
    victim = blobs_of(path)[0]
    if how == "missing":
        victim.unlink()
    elif how == "folder":
        shutil.rmtree(path / "blobs")
    else:
        damage(victim, bytes(victim.stat().st_size))
    with opened(path) as keyspace:
        partition = keyspace.partition("a")
        lost = 0
        for key, value in expected.items():
            try:
                assert partition[key] == value
            except fjeld.CorruptionError as error:
                assert how == "folder" or Path(str(error.path)) == victim
                assert victim.name in str(error) or how == "folder"
                lost += 1
        large = sum(len(value) >= 100 for value in expected.values())
        assert lost == large if how == "folder" else 0 < lost < large
        assert list(partition) == sorted(expected)
        with pytest.raises(fjeld.CorruptionError):
            list(partition.items())
        with pytest.raises(fjeld.CorruptionError):
            keyspace.digest()
        partition[b"writing"] = b"goes on" * 100
        partition.flush()
        assert partition[b"writing"] == b"goes on" * 100


def test_collection_that_meets_damage_stops_and_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        expected = load(partition, 60)
        partition.flush()
        victim = blobs_of(path)[0]
        data = victim.read_bytes()
        damage(victim, data[:50] + b"?" + data[51:])
        for key in list(expected)[20:]:
            partition.remove(key)
            del expected[key]
        with pytest.raises(fjeld.CorruptionError, match=victim.name):
            partition.compact()
        settle(keyspace)
        assert victim.name in str(partition.stats()["failure"])
        assert f"compaction of partition 'a' stops: {victim}" in caplog.text
        assert set(blobs_of(path)) == {victim}, "what was begun is gone"
        assert partition[b"000019"] == expected[b"000019"]
        damage(victim, data)
        partition.compact()
        assert partition.stats()["failure"] is None
        assert dict(partition.items()) == expected


# ---- collection and backup in each other's way ----


@pytest.mark.parametrize(
    "point", ["backup:staged", "backup:cut", "backup:finished", "backup:linked", "backup:written"]
)
def test_collection_while_a_backup_stands_still(path: Path, tmp_path: Path, point: str) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        load(partition, 100, seed=1)
        partition.flush()
        expected = load(partition, 60, seed=2)
        before = content_of(keyspace)
        gate = Gate(point)
        backup = Task(lambda: keyspace.backup_to(tmp_path / "copy"))
        gate.wait()
        old = blobs_of(path)
        partition.compact()
        assert figures(partition)["moved_bytes"] > 0
        assert figures(partition)["garbage_bytes"] == 0
        if point not in ("backup:staged", "backup:written"):
            assert set(old) < set(blobs_of(path)), "what the backup has not linked yet stays"
        gate.open()
        backup.result()
        settle(keyspace)
        assert len(blobs_of(path)) == figures(partition)["files"]
        assert {key: partition[key] for key in expected} == expected
        with opened(tmp_path / "copy") as copy:
            assert content_of(copy) == before


@pytest.mark.parametrize(
    "point", ["compaction:start", "table:written", "compaction:written", "manifest:synced"]
)
def test_a_backup_while_collection_stands_still(path: Path, tmp_path: Path, point: str) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        partition = keyspace.partition("a", options=SEPARATED)
        load(partition, 100, seed=1)
        partition.flush()
        load(partition, 60, seed=2)
        partition.flush()
        keyspace._engine.maintainer.pause_compaction()
        settle(keyspace)
        before = content_of(keyspace)
        gate = Gate(point)
        collection = Task(partition.compact)
        gate.wait()
        keyspace.backup_to(tmp_path / "copy")
        gate.open()
        collection.result()
        assert figures(partition)["garbage_bytes"] == 0
        assert content_of(keyspace) == before
    with opened(tmp_path / "copy") as copy:
        assert content_of(copy) == before
        copy.compact()
        assert content_of(copy) == before


# ---- without waiting ----


def test_what_an_event_loop_gets_at_once(path: Path) -> None:
    """Values that have to be waited for are not, one by one or in a scan; then they are."""
    with opened(path) as keyspace:
        expected = load(keyspace.partition("a", options=SEPARATED), 60)
    with opened(path) as keyspace:
        partition = keyspace.partition("a")
        large = b"000001"
        assert list(partition) == sorted(expected), "the tables are in memory"
        assert partition.get_now(large) is NOT_READY, "its file was never opened"
        assert partition.get_many_now([large]) is NOT_READY
        assert partition.size_now(large) == len(expected[large])
        scan = partition.scan_items()
        assert scan.take(10, False) == ([(b"000000", expected[b"000000"])], False)
        assert scan.take(10, False) == ([], False)
        found, _ = scan.take(5)
        while True:
            more, ended = scan.take(7, False)
            if not more and not ended:
                more, ended = scan.take(1)
            found += more
            if ended:
                break
        assert found == sorted(expected.items())[1:]
        assert partition.get_now(large) == expected[large]
        assert partition.get_many_now(list(expected)) == list(expected.values())
        assert partition.scan_values().take(100, False) == (
            [value for _, value in sorted(expected.items())],
            True,
        )


# ---- the variants of backups ----


@pytest.mark.parametrize(
    "variant",
    [
        {"partitions": ["a"]},
        {"key_range": (b"000020", b"000077")},
        {"key_range": (b"000020", None), "partitions": ["a"]},
        {"compact": True},
        {"compact": True, "key_range": (None, b"000050")},
        {"link": "never", "verify": True},
        {"flush": True},
    ],
)
@pytest.mark.parametrize("flushed", [True, False])
def test_every_variant_of_a_backup(path: Path, tmp_path: Path, variant: dict, flushed: bool) -> None:
    """Exactly the entries that were asked for, with their values; of a compacting one, without garbage."""
    start, stop = variant.get("key_range", (None, None))
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        for name in ("a", "b"):
            partition = keyspace.partition(name, options=SEPARATED)
            load(partition, 100, seed=1)
            partition.flush()
            load(partition, 70, seed=2)
            if flushed:
                partition.flush()
        settle(keyspace)
        expected = {
            name: {
                key: value
                for key, value in content.items()
                if (start is None or key >= start) and (stop is None or key < stop)
            }
            for name, content in content_of(keyspace).items()
            if name in variant.get("partitions", [name])
        }
        keyspace.backup_to(tmp_path / "copy", **variant)
        before = content_of(keyspace)
        keyspace.compact()
        assert content_of(keyspace) == before
    assert not [name for name in os.listdir(tmp_path) if name.endswith("staging")]
    with opened(tmp_path / "copy") as copy:
        assert content_of(copy) == expected
        if variant.get("compact"):
            assert all(figures(copy.partition(name))["garbage_bytes"] == 0 for name in copy.partitions())
        for name in copy.partitions():
            stored = sum(len(value) >= 100 for value in expected[name].values())
            assert figures(copy.partition(name))["entries"] >= (stored if flushed else 0)
        copy.compact()
        assert content_of(copy) == expected
    named = {file.name for file in blobs_of(tmp_path / "copy")}
    assert len(named) == len(set(named))


def test_an_offline_backup_brings_the_values(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        expected = load(keyspace.partition("a", options=SEPARATED), 100)
    fjeld.backup_offline(path, tmp_path / "copy")
    (path / "blobs").rename(path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        fjeld.backup_offline(path, tmp_path / "incomplete")
    assert not (path / "blobs").exists(), "an offline backup changes nothing"
    with opened(tmp_path / "copy") as copy:
        assert dict(copy.partition("a").items()) == expected


def test_restore_export_and_import_bring_the_values(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        expected = load(keyspace.partition("a", options=SEPARATED), 200)
        keyspace.flush()
        digest = keyspace.digest()
        keyspace.backup_to(tmp_path / "copy")
        keyspace.export_to(tmp_path / "stream")
    fjeld.restore(tmp_path / "copy", tmp_path / "restored")
    fjeld.import_from(tmp_path / "stream", tmp_path / "imported")
    for made in ("restored", "imported"):
        with opened(tmp_path / made) as keyspace:
            partition = keyspace.partition("a")
            assert keyspace.digest() == digest
            assert partition.options == SEPARATED
            assert dict(partition.items()) == expected
            load(partition, 200, seed=7)
            partition.compact()
            assert figures(partition)["garbage_bytes"] == 0
