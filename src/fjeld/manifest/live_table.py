"""A table that is part of the current version: its reader, and the reference that keeps its file."""

from __future__ import annotations

from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.table import TableReader
from fjeld.manifest.live_file import LiveFile
from fjeld.manifest.state import TableMeta

__all__ = ["LiveTable"]


class LiveTable(TableReader):
    """Holding it (a view does) keeps the table's file on disk. Reads nothing before it is first used."""

    __slots__ = ("file", "meta")

    file: LiveFile
    meta: TableMeta

    def __new__(
        cls, meta: TableMeta, file: LiveFile, cache: BlockCache, descriptors: DescriptorPool
    ) -> LiveTable:
        table = super().__new__(
            cls,
            file.path,
            cache,
            descriptors,
            expected_bytes=meta.size_bytes,
            smallest=meta.smallest,
            largest=meta.largest,
            seqno=meta.max_seqno if meta.min_seqno == meta.max_seqno else 0,
            max_seqno=meta.max_seqno,
        )
        table.file = file
        table.meta = meta
        return table
