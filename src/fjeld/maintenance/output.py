"""Writing the tables that flush and compaction make."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from fjeld.kernel import files
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.table_writer import TableWriter
from fjeld.manifest.state import TableMeta
from fjeld.options import CODECS, PartitionOptions
from fjeld.sync_points import sync_point

__all__ = ["TableFolder", "delete_tables", "write_tables"]

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
) -> list[TableMeta]:
    """Drain the compaction into tables of about `table_bytes` each; they are on disk, name included, when
    this returns.

    created_ns: when the newest of the entries were flushed.

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
    except BaseException:
        delete_tables(store, tables)
        raise
    return tables


def delete_tables(store: TableFolder, tables: Iterable[TableMeta]) -> None:
    """Delete tables that no edit has named."""
    for table in tables:
        with suppress(OSError):  # what stays is deleted by the next recovery
            files.unlink(store.table_path(table.number))
