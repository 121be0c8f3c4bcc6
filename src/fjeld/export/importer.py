"""The import: an export becomes a new keyspace (docs/FORMATS.md, *Export*).

It is built in a staging folder beside its path, straight into tables of the deepest level: no journal, no memtable, no
compaction. Each chunk is proved, digested and written by the kernel without the GIL; counts and digests are compared
where the export states them. Only what was found equal to the end is published, by rename: an export that is
cut short, at whatever byte, leaves nothing behind.

The new keyspace has an identity of its own, goes on from the export's seqno, and is, until it is opened, a checkpoint:
checkpoint.json tells where it comes from and keeps the metadata.

Considered and left: ingesting into an open keyspace (partitions can be merged with `Partition.ingest`; whoever
restores wants exactly what was exported, or nothing).
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType

from fjeld.backup.documents import write_documents
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.staging import Staging
from fjeld.backup.targets import new_path, require_outside
from fjeld.content_digest import ContentDigest
from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.export.documents import End, Header, PartitionEnd, PartitionHead
from fjeld.export.frames import CHUNK, END, HEADER, PARTITION_END, Frame, FrameReader, Readable
from fjeld.export.info import ImportInfo
from fjeld.kernel.checksum import Xxh128
from fjeld.kernel.export_decoder import ChunkDecoder
from fjeld.kernel.file_reader import ReadFile
from fjeld.kernel.table_writer import TableWriter
from fjeld.maintenance.blob_output import BlobOutput
from fjeld.manifest.blob_meta import BlobMeta
from fjeld.manifest.names import BLOBS_DIRECTORY, blob_path, table_path
from fjeld.manifest.state import NO_TABLES, FileRecord, Parent, PartitionState, TableMeta
from fjeld.manifest.version import Version
from fjeld.options import CODECS, LEVELS, Fifo, KeyspaceOptions, Leveled, PartitionOptions
from fjeld.sync_points import sync_point

__all__ = ["import_from"]

ZSTD_LEVEL = 3
# No table of these strategies is ever split: each is a whole run.
UNLIMITED_BYTES = 1 << 62
# Of first in, first out: what one drop takes away, about what a flush makes.
FIFO_TABLE_BYTES = 16 << 20


def import_from(
    source: str | os.PathLike[str] | Readable,
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> ImportInfo:
    """Make a new keyspace of an export. Open it with `fjeld.open`.

    source:    a path, or a binary file object that is read from where it stands to its end (a pipe too).
    path:      a folder that does not exist yet; its parent must exist. It appears whole or not at all.
    progress:  called as progress(done_partitions, all_partitions, done_bytes, total_bytes); the bytes are those
               of the export, and the total is 0 where it is not known.
    cancel:    set it and the call raises CancelledError and leaves nothing behind.

    CorruptionError: the export is damaged or cut short. UnsupportedFormatError: a newer Fjeld wrote it.
    FileExistsError: there is something at `path`. The age of entries (`Fifo(max_age_seconds=...)`) begins anew.
    """
    started = time.perf_counter()
    target = new_path(path, "an import")
    with ExitStack() as stack:
        stream, name, total_bytes = _open_source(source, stack)
        if name is not None:
            require_outside(name, target, "the target")
        reader = FrameReader(stream, name)
        staging = stack.enter_context(Staging(target))
        taken = _Import(
            reader,
            staging.path,
            lambda partitions: Meter(partitions, total_bytes, progress, cancel, what="import"),
        )
        header, end = taken.run()
        version, records = taken.version(header)
        sync_point("import:read")
        write_documents(staging.path, version, records, header.created_at, header.metadata)
        staging.publish()
    return ImportInfo(
        path=Path(target),
        id=version.id,
        keyspace_id=header.keyspace_id,
        created_at=header.created_at,
        seqno=header.seqno,
        partitions=tuple(head.name for head in header.partitions),
        entries=end.entries,
        size_bytes=reader.size_bytes,
        digest=end.digest,
        elapsed_seconds=time.perf_counter() - started,
        metadata=header.metadata,
    )


def _open_source(
    source: str | os.PathLike[str] | Readable, stack: ExitStack
) -> tuple[Readable, str | None, int]:
    """Something to read from, its name for messages, and its size (0: not known)."""
    if isinstance(source, str | os.PathLike):
        name = os.path.abspath(os.fsdecode(source))
        return stack.enter_context(ReadFile(name)), name, os.stat(name).st_size
    if not callable(getattr(source, "read", None)):
        raise TypeError(f"the source of an import is a path or a binary file, not {type(source).__name__}")
    found = getattr(source, "name", None)
    return source, found if isinstance(found, str) else None, 0


class _Import:
    """One import under way. For one thread."""

    def __init__(self, reader: FrameReader, folder: str, make_meter: Callable[[int], Meter]) -> None:
        """make_meter: for so many partitions."""
        self._reader = reader
        self._folder = folder
        self._make_meter = make_meter
        self._meter = make_meter(0)
        self._id = str(uuid.uuid4())
        self._created_ns = KeyspaceOptions().now_ns()
        self._decoder = ChunkDecoder()
        self._content = ContentDigest()
        self._entries = 0
        self._chunks = 0
        self._next_file = 1
        self._built: list[_Tables] = []

    def run(self) -> tuple[Header, End]:
        """Read all of it into tables, which are on disk then."""
        frame = self._reader.read()
        with self._blamed_on(frame):
            header = Header.decode(frame.document(HEADER))
        self._meter = self._make_meter(len(header.partitions))
        for head in header.partitions:
            self._partition(head)
        frame = self._reader.read()
        with self._blamed_on(frame):
            end = End.decode(frame.document(END))
            found = End(entries=self._entries, chunks=self._chunks, digest=self._content.hexdigest())
            if found != end:
                raise CorruptionError("the content is not what was exported")
        self._reader.finish()
        return header, end

    def version(self, header: Header) -> tuple[Version, tuple[FileRecord, ...]]:
        """What the new keyspace is: a version and its files."""
        states = {}
        for number, (head, built) in enumerate(zip(header.partitions, self._built, strict=True), start=1):
            levels = list(NO_TABLES)
            deep = isinstance(head.options.compaction, Leveled)
            levels[LEVELS - 1 if deep else 0] = tuple(built.tables if deep else reversed(built.tables))
            states[number] = PartitionState(
                id=number,
                name=head.name,
                options=head.options,
                flushed_seqno=header.seqno,
                levels=tuple(levels),
                blobs=built.blobs,
            )
        version = Version(
            id=self._id,
            parent=Parent(header.keyspace_id, header.seqno),
            partitions=MappingProxyType(states),
            next_file=self._next_file + 1,  # one for the manifest
            next_partition=len(states) + 1,
            seqno=header.seqno,
        )
        return version, tuple(version.files())

    def _partition(self, head: PartitionHead) -> None:
        """Its chunks and its end."""
        content = Xxh128()
        entries = 0
        self._decoder.begin(content)
        with _Tables(self, head.options) as tables:
            frame = self._read()
            while frame.kind == CHUNK:
                with self._blamed_on(frame):
                    self._decoder.load(frame.payload, frame.codec, frame.raw_bytes, frame.entries)
                tables.take(self._decoder)
                sync_point("import:chunk")
                entries += frame.entries
                self._chunks += 1
                frame = self._read()
            with self._blamed_on(frame):
                found = PartitionEnd(name=head.name, entries=entries, xxh128=content.hexdigest())
                if found != PartitionEnd.decode(frame.document(PARTITION_END)):
                    raise CorruptionError(
                        f"the content of the partition {head.name!r} is not what was exported"
                    )
            tables.finish()
            self._built.append(tables)
        self._content.add(head.name, entries, found.xxh128)
        self._entries += entries
        self._meter.add(1, 0)

    def _read(self) -> Frame:
        before = self._reader.size_bytes
        frame = self._reader.read()
        self._meter.add(0, self._reader.size_bytes - before)
        return frame

    @contextmanager
    def _blamed_on(self, frame: Frame) -> Iterator[None]:
        """Errors of the content name the file, and the frame's place in it."""
        try:
            yield
        except CorruptionError as error:
            raise self._reader.damaged(error.what, frame.offset) from error
        except UnsupportedFormatError as error:
            raise UnsupportedFormatError(f"{self._reader.name or 'the export'}: {error}") from error

    @property
    def blobs_directory(self) -> str:
        return os.path.join(self._folder, BLOBS_DIRECTORY)

    def next_file(self) -> int:
        """A number that no other file has."""
        number = self._next_file
        self._next_file += 1
        return number

    def blob_path(self, number: int) -> str:
        return os.path.join(self._folder, blob_path(number))

    def next_table(self, options: PartitionOptions) -> tuple[int, TableWriter]:
        """A number, and the table of this number, begun."""
        number = self.next_file()
        level = LEVELS - 1 if isinstance(options.compaction, Leveled) else 0
        return number, TableWriter(
            os.path.join(self._folder, table_path(number)),
            keyspace_id=self._id,
            number=number,
            block_bytes=options.block_bytes,
            filter_bits=options.filter_bits,
            codec=CODECS.index(options.codec(level)),
            level=ZSTD_LEVEL,
        )

    @property
    def created_ns(self) -> int:
        """The age of the tables counts from here."""
        return self._created_ns


class _Tables:
    """The tables and blob files of one partition, being written. A context manager: what is not finished is closed."""

    def __init__(self, owner: _Import, options: PartitionOptions) -> None:
        self._owner = owner
        self._options = options
        self._table_bytes = _table_bytes(options)
        self._writer: TableWriter | None = None
        self._number = 0
        self._blobs = BlobOutput(owner, options, created_ns=owner.created_ns)
        self.tables: list[TableMeta] = []
        """In order of their keys."""

    def take(self, chunk: ChunkDecoder) -> None:
        """All entries of the chunk."""
        more = True
        while more:
            if self._writer is None:
                self._number, self._writer = self._owner.next_table(self._options)
            more = chunk.write(self._writer, self._table_bytes, self._blobs.sink)
            if more:
                self._finish_one(self._writer)

    def finish(self) -> None:
        """All of them are on disk when this returns."""
        if self._writer is not None:
            self._finish_one(self._writer)
        self._blobs.finish()

    @property
    def blobs(self) -> tuple[BlobMeta, ...]:
        """Once finished."""
        return self._blobs.metas

    def _finish_one(self, writer: TableWriter) -> None:
        facts = writer.finish()
        self._writer = None
        self.tables.append(TableMeta(number=self._number, created_ns=self._owner.created_ns, **facts))

    def __enter__(self) -> _Tables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.abandon()
        if error is not None:
            self._blobs.undo()


def _table_bytes(options: PartitionOptions) -> int:
    """The size at which a table ends."""
    if isinstance(options.compaction, Leveled):
        return options.compaction.table_bytes
    return FIFO_TABLE_BYTES if isinstance(options.compaction, Fifo) else UNLIMITED_BYTES
