"""The blob files that one flush, compaction or ingestion makes, from the first to their edit or their end.

What comes with separation, at a glance. (Pages: FORMATS.md; invariants of a version: `manifest.blob_meta`.)

    flush, ingestion    values of at least the threshold go to blob files, the table gets pointers
    compaction          moves pointers; values of the files that are to be emptied are copied into new ones
    collection          a compaction in place, chosen for what it empties (`strategies.blobs`)

Considered and left: values straight into blob files instead of the journal (WiscKey's log: one write less, but a
batch would have two places, and a checkpoint two cuts; what made it tempting, copies on the way, memtables avoid by
pointing into the mapped journal); garbage counted by events (a crash between edit and count
needs a repair; sums by table need none); rewriting a blob file alone and putting the new places into the tree as
writes (needs seqnos, and meets snapshots). RocksDB's BlobDB and fjall's value log, in their newest forms, also
rewrite only the tables that point into what they collect.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Protocol

from fjeld.kernel import files
from fjeld.kernel.blob_sink import BlobSink
from fjeld.manifest.blob_meta import BlobMeta
from fjeld.options import CODECS, PartitionOptions

__all__ = ["BlobFolder", "BlobOutput"]

ZSTD_LEVEL = 3


class BlobFolder(Protocol):
    """Where blob files are written to: that of an open keyspace (`VersionStore`), or one that is being made."""

    @property
    def blobs_directory(self) -> str: ...
    def next_file(self) -> int: ...
    def blob_path(self, number: int) -> str: ...


class BlobOutput:
    """Owns the blob files it makes until `finish` has brought them to disk, or `undo` has removed them. One thread.

    created_ns: when the newest of the values were flushed. moved: files whose values are copied. Without separation
    there is no sink, and nothing happens.
    """

    def __init__(
        self,
        store: BlobFolder,
        options: PartitionOptions,
        *,
        created_ns: int,
        moved: Collection[int] = (),
    ) -> None:
        self._store = store
        self._created_ns = created_ns
        self.metas: tuple[BlobMeta, ...] = ()
        """Once finished."""
        self.sink: BlobSink | None = None
        separation = options.kv_separation
        if separation is not None:
            self.sink = BlobSink(
                self._next_file,
                threshold_bytes=separation.threshold_bytes,
                file_bytes=separation.file_size_bytes,
                codec=CODECS.index(options.blob_codec),
                level=ZSTD_LEVEL,
                moved=moved,
            )

    def _next_file(self) -> tuple[int, str]:
        number = self._store.next_file()
        return number, self._store.blob_path(number)

    @property
    def moved_bytes(self) -> int:
        """Of the records that were copied from other blob files."""
        return 0 if self.sink is None else self.sink.moved_bytes

    def finish(self) -> None:
        """All files are on disk, names included, when this returns."""
        if self.sink is None:
            return
        facts = self.sink.finish()
        if facts:
            files.sync_directory(self._store.blobs_directory)
        self.metas = tuple(BlobMeta(created_ns=self._created_ns, **fact) for fact in facts)

    def undo(self) -> None:
        """Remove all of them. What stays is deleted by the next recovery."""
        if self.sink is None:
            return
        self.metas = ()
        paths: list[str] = []
        with suppress(OSError):
            paths = self.sink.abandon()
        for path in paths or self.sink.abandon():
            with suppress(OSError):
                files.unlink(path)
