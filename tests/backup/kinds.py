"""Every kind of backup that there is: each made of an open keyspace, in a folder beside it.

A new kind is one entry of KINDS. It gives where the backup is, and what of the source's content is in it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fjeld
from tests.small import SMALL_PARTITION
from tests.support import Content, content_of, fill, opened, settle

Made = tuple[Path, Content]
Kind = Callable[[fjeld.Keyspace, Path], Made]

OPTIONS = {
    "a": SMALL_PARTITION,
    "b": fjeld.PartitionOptions(
        block_bytes=1024,
        filter_bits=14,
        compression=("none", "zstd"),
        compaction=fjeld.SizeTiered(min_runs=3),
    ),
    "large": replace(
        SMALL_PARTITION, kv_separation=fjeld.KvSeparation(threshold_bytes=100, file_size_bytes=8 << 10)
    ),
    "empty": fjeld.PartitionOptions(compaction=fjeld.Leveled(level_ratio=7)),
}
REMOVED = [b"%08d" % number for number in range(0, 300, 3)]


def source(path: Path) -> fjeld.Keyspace:
    """Tables at several levels, removals of what is in them, and what only journals hold."""
    keyspace = opened(path)
    a, b, large, _ = (keyspace.partition(name, options=options) for name, options in OPTIONS.items())
    fill(a, 300)
    fill(b, 100, seed=1)
    fill(large, 100, seed=2, value_bytes=300)
    keyspace.compact()
    for key in REMOVED:
        a.remove(key)
        b.remove_weak(key)
        large.remove(key)
    a.ingest([(b"ingested %d" % number, b"1") for number in range(5)])
    b.flush()
    settle(keyspace)
    with keyspace.batch() as batch:
        batch.insert(a, b"in the journal", b"1")
        batch.insert(b, b"in the journal", b"2")
        batch.insert(large, b"in the journal", b"3" * 300)
    return keyspace


def whole(**options: object) -> Kind:
    def make(keyspace: fjeld.Keyspace, folder: Path) -> Made:
        return keyspace.backup_to(folder / "backup", **options).path, content_of(keyspace)

    return make


def chosen(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    info = keyspace.backup_to(folder / "backup", partitions=["b"])
    return info.path, {"b": content_of(keyspace)["b"]}


def a_range(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    start, stop = b"00000050", b"00000211"
    info = keyspace.backup_to(folder / "backup", key_range=(start, stop))
    return info.path, {
        name: {key: value for key, value in entries.items() if start <= key < stop}
        for name, entries in content_of(keyspace).items()
    }


def offline(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    expected = content_of(keyspace)
    keyspace.close()
    return fjeld.backup_offline(keyspace.path, folder / "backup").path, expected


def together(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    with fjeld.open(folder / "other") as other:
        fjeld.backup_together({folder / "backup": keyspace, folder / "backup of the other": other})
    return folder / "backup", content_of(keyspace)


def in_a_folder(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    """Those before and behind it are expired."""
    checkpoints = fjeld.CheckpointFolder(folder / "checkpoints")
    keyspace.partition("a")[b"k"] = b"1"
    checkpoints.take(keyspace)
    keyspace.partition("a")[b"k"] = b"2"
    info = checkpoints.take(keyspace)
    checkpoints.expire(fjeld.RetentionPolicy(last=1))
    return info.path, content_of(keyspace)


def pinned(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    """A tar of what a pin holds, unpacked."""
    with keyspace.pin() as pin, tarfile.open(folder / "backup.tar", "w") as tar:
        pin.write_metadata(folder / "metadata")
        tar.add(folder / "metadata", arcname=".")
        for file in pin.files:
            tar.add(file.path, arcname=file.path.relative_to(keyspace.path))
    with tarfile.open(folder / "backup.tar") as tar:
        # The filter came with 3.11.4; the archive is our own.
        tar.extractall(folder / "backup", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / "backup", content_of(keyspace)


def restored(**options: object) -> Kind:
    def make(keyspace: fjeld.Keyspace, folder: Path) -> Made:
        checkpoint = keyspace.backup_to(folder / "checkpoint").path
        return fjeld.restore(checkpoint, folder / "backup", **options).path, content_of(keyspace)

    return make


def restored_over(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    """Over another keyspace."""
    checkpoint = keyspace.backup_to(folder / "checkpoint").path
    with fjeld.open(folder / "backup") as other:
        other.partition("other")[b"k"] = b"1"
    info = fjeld.restore(checkpoint, folder / "backup", replace=True)
    fjeld.discard_replaced(info.path)
    return info.path, content_of(keyspace)


def imported(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    keyspace.export_to(folder / "export")
    return fjeld.import_from(folder / "export", folder / "backup").path, content_of(keyspace)


def of_a_backup(keyspace: fjeld.Keyspace, folder: Path) -> Made:
    with fjeld.open(keyspace.backup_to(folder / "first").path) as first:
        return first.backup_to(folder / "backup").path, content_of(keyspace)


KINDS: dict[str, Kind] = {
    "plain": whole(),
    "flushed": whole(flush=True),
    "copied": whole(link="never"),
    "verified": whole(verify=True),
    "compacted": whole(compact=True),
    "chosen": chosen,
    "range": a_range,
    "offline": offline,
    "together": together,
    "folder": in_a_folder,
    "pinned": pinned,
    "restored": restored(),
    "restored by copies": restored(link="never"),
    "restored over another": restored_over,
    "imported": imported,
    "of a backup": of_a_backup,
}
