"""Writing the tables that flush and compaction make."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from fjeld.kernel import files
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.table_writer import TableWriter
from fjeld.maintenance.blob_output import BlobOutput
from fjeld.manifest.blob_meta import BlobMeta
from fjeld.manifest.state import TableMeta
from fjeld.manifest.store import VersionStore
from fjeld.options import CODECS, PartitionOptions
from fjeld.sync_points import sync_point

__all__ = ["TableFolder", "Written", "delete_tables", "write_tables"]

ZSTD_LEVEL = 3


class TableFolder(Protocol):
    """Where tables are written to: that of an open keyspace (`VersionStore`), or one that is being made."""

    @property
    def keyspace_id(self) -> str: ...
    @property
    def tables_directory(self) -> str: ...
    def next_file(self) -> int: ...
    def table_path(self, number: int) -> str: ...


def write_tables(
    store: TableFolder,
    options: PartitionOptions,
    compaction: Compaction,
    *,
    level: int,
    table_bytes: int,
    created_ns: int,
    blobs: BlobOutput | None = None,
) -> list[TableMeta]:
    """Drain the compaction into tables of about `table_bytes` each; they are on disk, name included, when
    this returns.

    created_ns: when the newest of the entries were flushed. blobs: where the compaction's sink puts large values;
    its files are on disk too.

    On any failure nothing is left behind.
    """
    tables: list[TableMeta] = []
    more = True
    try:
        while more:
            number = store.next_file()
            writer = TableWriter(
                store.table_path(number),
                keyspace_id=store.keyspace_id,
                number=number,
                block_bytes=options.block_bytes,
                filter_bits=options.filter_bits,
                codec=CODECS.index(options.codec(level)),
                level=ZSTD_LEVEL,
            )
            try:
                more = compaction.run(writer, table_bytes)
                sync_point("table:written")
                if writer.entries:
                    tables.append(TableMeta(number=number, created_ns=created_ns, **writer.finish()))
                else:
                    writer.abandon()
            except BaseException:
                with suppress(OSError):
                    writer.abandon()
                raise
        files.sync_directory(store.tables_directory)
        if blobs is not None:
            blobs.finish()
    except BaseException:
        delete_tables(store, tables)
        if blobs is not None:
            blobs.undo()
        raise
    return tables


@dataclass(frozen=True, slots=True)
class Written:
    """Files that are on disk, in no version yet."""

    tables: tuple[TableMeta, ...]
    blobs: tuple[BlobMeta, ...] = ()
    moved_bytes: int = 0
    """Of records that were copied from other blob files."""

    def paths(self, store: VersionStore) -> list[str]:
        tables = [store.table_path(table.number) for table in self.tables]
        return tables + [store.blob_path(blob.number) for blob in self.blobs]

    def delete(self, store: VersionStore) -> None:
        """No edit has named them."""
        for path in self.paths(store):
            with suppress(OSError):  # what stays is deleted by the next recovery
                files.unlink(path)


def delete_tables(store: TableFolder, tables: Iterable[TableMeta]) -> None:
    """Delete tables that no edit has named."""
    for table in tables:
        with suppress(OSError):  # what stays is deleted by the next recovery
            files.unlink(store.table_path(table.number))
