"""The export: everything that a snapshot sees, as one stream of frames (docs/FORMATS.md, *Export*).

    header, then per partition in order of name: its chunks, its end; then the end

It says nothing of files and levels, so any keyspace of any version that reads the format can take it in. A stream is
written once, from its beginning to its end, and never looked back at: a pipe will do. The kernel encodes,
compresses and digests a chunk at a time without the GIL; here a frame is put around each.

Considered and left: an index of the frames at the end (import reads all of it anyway, and a pipe cannot seek); keys
that share prefixes within a chunk (compression finds them); chunks in parallel (the merge is what takes time).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fjeld.backup.info import time_of
from fjeld.backup.metadata import check_metadata
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.targets import new_path, require_outside
from fjeld.content_digest import ContentDigest
from fjeld.errors import InvalidOptionError
from fjeld.export.documents import End, Header, PartitionEnd, PartitionHead
from fjeld.export.frames import CHUNK, END, HEADER, PARTITION_END, FrameWriter
from fjeld.export.info import ExportInfo
from fjeld.export.sink import FileObject, open_sink
from fjeld.kernel.checksum import Xxh128
from fjeld.kernel.core import Access
from fjeld.kernel.export_encoder import ChunkEncoder
from fjeld.options import CODECS, PartitionOptions
from fjeld.sync_points import sync_point

__all__ = ["Exportable", "export_snapshot"]

# Of zstd. Measured on 110-byte entries: level 3 takes nearly three times as long and saves nothing.
ZSTD_LEVEL = 1


class Exportable(Protocol):
    """A snapshot: what an export needs of it."""

    @property
    def seqno(self) -> int: ...
    def partitions(self) -> list[str]: ...
    def partition(self, name: str, /) -> Any: ...


def export_snapshot(
    snapshot: Exportable,
    target: str | os.PathLike[str] | FileObject,
    *,
    keyspace_path: str,
    keyspace_id: str,
    created_ns: int,
    partitions: Sequence[str] | None,
    metadata: Mapping[str, Any] | None,
    compression: str,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> ExportInfo:
    """See Keyspace.export_to. The snapshot stays open."""
    started = time.perf_counter()
    if compression not in CODECS:
        raise InvalidOptionError(f"compression must be of {', '.join(CODECS)}, not {compression!r}")
    header = _header(snapshot, keyspace_id, created_ns, partitions, check_metadata(metadata))
    path = None
    if isinstance(target, str | os.PathLike):
        path = new_path(target, "an export")
        require_outside(path, keyspace_path, "the keyspace")
    elif not callable(getattr(target, "write", None)):
        raise TypeError(f"the target of an export is a path or a binary file, not {type(target).__name__}")
    meter = Meter(len(header.partitions), 0, progress, cancel, what="export")
    meter.check()
    with open_sink(target if path is None else path) as sink:  # type: ignore[arg-type]  # it is no path
        export = _Export(snapshot, FrameWriter(sink), CODECS.index(compression), meter)
        digest = export.run(header)
        sync_point("export:written")
    return ExportInfo(
        path=None if path is None else Path(path),
        keyspace_id=keyspace_id,
        created_at=header.created_at,
        seqno=header.seqno,
        partitions=tuple(head.name for head in header.partitions),
        entries=export.entries,
        size_bytes=export.frames.size_bytes,
        raw_bytes=export.raw_bytes,
        digest=digest,
        elapsed_seconds=time.perf_counter() - started,
        metadata=header.metadata,
    )


def _header(
    snapshot: Exportable,
    keyspace_id: str,
    created_ns: int,
    partitions: Sequence[str] | None,
    metadata: Mapping[str, Any] | None,
) -> Header:
    names = snapshot.partitions()
    chosen = names if partitions is None else _chosen(names, partitions)
    heads: list[PartitionHead] = []
    for name in chosen:
        options = snapshot.partition(name).options
        assert isinstance(options, PartitionOptions)
        heads.append(PartitionHead(name, options))
    return Header(
        keyspace_id=keyspace_id,
        seqno=snapshot.seqno,
        created_at=time_of(created_ns),
        complete=chosen == names,
        metadata=metadata,
        partitions=tuple(heads),
    )


def _chosen(names: list[str], partitions: Sequence[str]) -> list[str]:
    if isinstance(partitions, str):
        raise TypeError('partitions is a list of names, such as ["users"], not a str')
    chosen = sorted(set(partitions))
    for name in chosen:
        if name not in names:
            raise KeyError(f"there is no partition {name!r} (there is: {', '.join(names) or 'none'})")
    return chosen


class _Export:
    """One export under way. For one thread."""

    def __init__(self, snapshot: Exportable, frames: FrameWriter, codec: int, meter: Meter) -> None:
        self.frames = frames
        self.entries = 0
        self.raw_bytes = 0
        self._snapshot = snapshot
        self._codec = codec
        self._meter = meter
        self._chunks = 0
        self._content = ContentDigest()

    def run(self, header: Header) -> str:
        """Write it all; the digest."""
        self.frames.write(HEADER, header.encode())
        for head in header.partitions:
            self._partition(head.name, self._snapshot.partition(head.name))
        digest = self._content.hexdigest()
        self.frames.write(END, End(entries=self.entries, chunks=self._chunks, digest=digest).encode())
        return digest

    def _partition(self, name: str, access: Access) -> None:
        content = Xxh128()
        entries = 0
        encoder = ChunkEncoder(access, content, codec=self._codec, level=ZSTD_LEVEL)
        while encoder.fill():
            sync_point("export:chunk")
            self.frames.write(
                CHUNK,
                encoder.payload(),
                codec=encoder.codec,
                raw_bytes=encoder.raw_bytes,
                entries=encoder.entries,
            )
            self._chunks += 1
            entries += encoder.entries
            self.raw_bytes += encoder.raw_bytes
            self._meter.add(0, encoder.raw_bytes)
        xxh128 = content.hexdigest()
        self.frames.write(PARTITION_END, PartitionEnd(name=name, entries=entries, xxh128=xxh128).encode())
        self._content.add(name, entries, xxh128)
        self.entries += entries
        self._meter.add(1, 0)
