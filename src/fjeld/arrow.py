"""Entries as Apache Arrow record batches and Parquet files, and back: `pip install fjeld[arrow]`.

    import fjeld.arrow
    fjeld.arrow.to_parquet(ks.partition("users"), "users.parquet")
    fjeld.arrow.to_arrow(snapshot.partition("users"), prefix=b"2026-").read_pandas()
    fjeld.arrow.from_parquet(ks.partition("copy"), "users.parquet")

Two columns, `key` and `value`, both `large_binary`, in order of key. For what reads tables: dashboards, notebooks,
query engines. To move a keyspace, `Keyspace.export_to` carries options, counts and a digest, and is read back whole or
not at all.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from fjeld.backup.removal import delete_tree
from fjeld.backup.staging import STAGING_SUFFIX
from fjeld.backup.targets import new_path
from fjeld.kernel import files

if TYPE_CHECKING:
    import pyarrow

    from fjeld.keyspace import Keyspace
    from fjeld.partition import Partition

__all__ = ["export_parquet", "from_arrow", "from_parquet", "to_arrow", "to_parquet"]

# A batch ends at either: large enough for columnar readers, small beside any memory.
BATCH_ENTRIES = 65_536
BATCH_BYTES = 16 << 20


class Entries(Protocol):
    """A partition, or what a snapshot or a transaction shows of one."""

    def range(
        self, start: bytes | None = None, stop: bytes | None = None, /
    ) -> Iterable[tuple[bytes, bytes]]: ...
    def prefix(self, prefix: bytes, /) -> Iterable[tuple[bytes, bytes]]: ...


def to_arrow(
    entries: Entries,
    *,
    start: bytes | None = None,
    stop: bytes | None = None,
    prefix: bytes | None = None,
    batch_entries: int = BATCH_ENTRIES,
) -> pyarrow.RecordBatchReader:
    """The entries of a partition or a view, all or of a range of keys, as a reader of record batches. Lazy: a batch is made
    as it is asked for, of the state at this call.

    batch_entries: of one batch at most; large values make smaller ones. ImportError: pyarrow is not installed.
    """
    arrow = _pyarrow()
    if batch_entries < 1:
        raise ValueError(f"batch_entries must be at least 1, not {batch_entries}")
    if prefix is not None and (start is not None or stop is not None):
        raise ValueError("prefix goes without start and stop")
    found = entries.range(start, stop) if prefix is None else entries.prefix(prefix)
    schema = _schema(arrow)
    batches = _batches(arrow, schema, iter(found), batch_entries)
    reader: pyarrow.RecordBatchReader = arrow.RecordBatchReader.from_batches(schema, batches)
    return reader


def to_parquet(
    entries: Entries,
    path: str | os.PathLike[str],
    *,
    start: bytes | None = None,
    stop: bytes | None = None,
    prefix: bytes | None = None,
    compression: str = "zstd",
) -> int:
    """Write the entries to a Parquet file where nothing is yet; how many they were. It appears whole, on disk, or not
    at all.

    compression: one of Parquet's, for example "zstd", "snappy" or "none".
    """
    parquet = _parquet()
    target = new_path(path, "a Parquet file")
    parent, name = os.path.split(target)
    staged = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}")
    count = 0
    try:
        with to_arrow(entries, start=start, stop=stop, prefix=prefix) as reader:
            with parquet.ParquetWriter(staged, reader.schema, compression=compression) as writer:
                for batch in reader:
                    writer.write_batch(batch)
                    count += batch.num_rows
        files.sync_file(staged)
        files.rename_noreplace(staged, target)
    except BaseException:
        with suppress(OSError):
            files.unlink(staged)
        raise
    files.sync_directory(parent)
    return count


def export_parquet(
    keyspace: Keyspace,
    folder: str | os.PathLike[str],
    *,
    partitions: Sequence[str] | None = None,
    compression: str = "zstd",
) -> dict[str, Path]:
    """Write each partition, all as of one moment, to a Parquet file of its own in a new folder; the files by the names of
    the partitions (in names of files, what is not a plain character is %-escaped). The folder appears whole or not at
    all.
    """
    _parquet()
    target = new_path(folder, "an export")
    parent, name = os.path.split(target)
    staged = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}")
    with keyspace.snapshot() as snapshot:
        chosen = snapshot.partitions() if partitions is None else sorted(set(partitions))
        names = {each: f"{quote(each, safe=' ')}.parquet" for each in chosen}
        views = {each: snapshot.partition(each) for each in chosen}
        files.make_directory(staged)
        try:
            for each, view in views.items():
                to_parquet(view, os.path.join(staged, names[each]), compression=compression)
            files.sync_directory(staged)
            files.rename_noreplace(staged, target)
        except BaseException:
            with suppress(OSError):
                delete_tree(staged)
            raise
    files.sync_directory(parent)
    return {each: Path(target, file) for each, file in names.items()}


def from_arrow(
    partition: Partition,
    source: Any,
    *,
    key: str = "key",
    value: str = "value",
    presorted: bool = False,
) -> int:
    """Insert the rows of a table, of a reader, or of batches; how many they were.

    key, value:  the columns, of any binary or string type, without nulls. Of rows with one key the last one counts.
    presorted:   the keys strictly ascend: then everything is ingested at once, as tables (`Partition.ingest`), or
                 nothing. Otherwise each batch is atomic by itself, and an error leaves those before it.
    """
    arrow = _pyarrow()
    batches = _as_batches(arrow, source)
    if presorted:
        return partition.ingest(pair for batch in batches for pair in _pairs(arrow, batch, key, value))
    count = 0
    for batch in batches:
        pairs = _pairs(arrow, batch, key, value)
        for start in range(0, len(pairs), BATCH_ENTRIES):
            partition.insert_many(pairs[start : start + BATCH_ENTRIES])
        count += len(pairs)
    return count


def from_parquet(
    partition: Partition,
    path: str | os.PathLike[str],
    *,
    key: str = "key",
    value: str = "value",
    presorted: bool = False,
) -> int:
    """Insert the rows of a Parquet file: see `from_arrow`. A file that `to_parquet` wrote is presorted."""
    parquet = _parquet()
    with parquet.ParquetFile(os.fspath(path)) as file:
        return from_arrow(
            partition, file.iter_batches(columns=[key, value]), key=key, value=value, presorted=presorted
        )


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("fjeld.arrow needs pyarrow: pip install fjeld[arrow]") from error
    found: ModuleType = pyarrow
    return found


def _parquet() -> ModuleType:
    _pyarrow()
    import pyarrow.parquet

    found: ModuleType = pyarrow.parquet
    return found


def _schema(arrow: ModuleType) -> pyarrow.Schema:
    kind = arrow.large_binary()  # offsets of 64 bits: a column of values may have more than 2 GiB
    schema: pyarrow.Schema = arrow.schema(
        [arrow.field("key", kind, nullable=False), arrow.field("value", kind, nullable=False)]
    )
    return schema


def _batches(
    arrow: ModuleType, schema: pyarrow.Schema, entries: Iterator[tuple[bytes, bytes]], batch_entries: int
) -> Iterator[pyarrow.RecordBatch]:
    keys: list[bytes] = []
    values: list[bytes] = []
    size_bytes = 0
    for key, value in entries:
        keys.append(key)
        values.append(value)
        size_bytes += len(key) + len(value)
        if len(keys) >= batch_entries or size_bytes >= BATCH_BYTES:
            yield arrow.record_batch([keys, values], schema=schema)
            keys, values, size_bytes = [], [], 0
    if keys:
        yield arrow.record_batch([keys, values], schema=schema)


def _as_batches(arrow: ModuleType, source: Any) -> Iterable[Any]:
    """Record batches, of whatever holds some."""
    if isinstance(source, arrow.RecordBatch):
        return [source]
    if isinstance(source, arrow.Table):
        batches: list[Any] = source.to_batches()
        return batches
    if hasattr(source, "__arrow_c_stream__") and not isinstance(source, arrow.RecordBatchReader):
        reader: Iterable[Any] = arrow.RecordBatchReader.from_stream(source)
        return reader
    found: Iterable[Any] = source
    return found


def _pairs(arrow: ModuleType, batch: Any, key: str, value: str) -> list[tuple[bytes, bytes]]:
    """The rows of one batch as bytes."""
    columns = []
    for name in (key, value):
        if name not in batch.schema.names:
            raise ValueError(f"there is no column {name!r} (there is: {', '.join(batch.schema.names)})")
        column = batch.column(name)
        if column.null_count:
            raise ValueError(f"the column {name!r} has nulls: a key and a value are bytes")
        kinds = (arrow.binary(), arrow.large_binary(), arrow.string(), arrow.large_string())
        if column.type not in kinds and not arrow.types.is_fixed_size_binary(column.type):
            raise TypeError(f"the column {name!r} is of type {column.type}, not binary or string: cast it")
        columns.append(column.cast(arrow.large_binary()).to_pylist())
    return list(zip(*columns, strict=True))
