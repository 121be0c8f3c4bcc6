"""Writing the tables that flush and compaction make."""

from __future__ import annotations

from contextlib import suppress

from fjeld.kernel import files
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.table_writer import TableWriter
from fjeld.manifest.state import TableMeta
from fjeld.manifest.store import VersionStore
from fjeld.options import CODECS, PartitionOptions
from fjeld.sync_points import sync_point

__all__ = ["write_tables"]

ZSTD_LEVEL = 3


def write_tables(
    store: VersionStore,
    options: PartitionOptions,
    compaction: Compaction,
    *,
    level: int,
    table_bytes: int,
) -> list[TableMeta]:
    """Drain the compaction into tables of about `table_bytes` each; they are on disk, name included, when
    this returns.

    On any failure nothing is left behind.
    """
    tables: list[TableMeta] = []
    more = True
    try:
        while more:
            number = store.next_file()
            writer = TableWriter(
                store.table_path(number),
                keyspace_id=store.version.id,
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
                    tables.append(TableMeta(number=number, **writer.finish()))
                else:
                    writer.abandon()
            except BaseException:
                with suppress(OSError):
                    writer.abandon()
                raise
        files.sync_directory(store.tables_directory)
    except BaseException:
        for table in tables:
            with suppress(OSError):  # what stays is deleted by the next recovery
                files.unlink(store.table_path(table.number))
        raise
    return tables
