"""Is every byte of an export what it was when it was written? For `fjeld.verify`.

    frames       the head of each, by the chain of checksums; the payload of each
    documents    header, end of each partition, end: what they say, and that they agree with the heads
    entries      (scan) every chunk decompressed, every length, the order of the keys, the digest of each partition
    digest       of the whole, as the end states it

It is read once, and nothing is written. A head that is damaged ends it: behind that the chain proves nothing, as behind the
end of a file that was cut short. A damaged payload does not, its head says where the next frame begins: so all
damage of that kind is in one report. What depends on a damaged payload (the digest) is not judged.

Considered and left: sharing the walk with the import. That one ends at the first damage, whatever it is, because
nothing half read may become a keyspace; this one is worth more if it goes on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fjeld.backup.file_checks import Problem
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.report import VerifyReport
from fjeld.content_digest import ContentDigest
from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.export.documents import End, Header, PartitionEnd, PartitionHead
from fjeld.export.frames import CHUNK, END, HEADER, PARTITION_END, Frame, FrameReader
from fjeld.kernel.checksum import Xxh128
from fjeld.kernel.export_decoder import ChunkDecoder
from fjeld.kernel.file_reader import ReadFile

__all__ = ["verify_export"]


def verify_export(
    path: str, *, scan: bool, progress: Progress | None, cancel: threading.Event | None
) -> VerifyReport:
    """As `fjeld.verify`, of the file of an export. OSError: it cannot be opened."""
    started = time.perf_counter()
    meter = Meter(1, os.stat(path).st_size, progress, cancel)
    with ReadFile(path) as file:
        check = _ExportCheck(_Source(file), path, scan, meter)
        check.run()
    meter.add(1, 0)
    header = check.header
    whole = scan and not check.problems
    return VerifyReport(
        path=Path(path),
        kind="export",
        in_use=None,
        id=None if header is None else header.keyspace_id,
        seqno=None if header is None else header.seqno,
        files_checked=1,
        bytes_checked=check.size_bytes,
        entries=check.entries if whole else None,
        digest=check.digest if whole else None,
        problems=tuple(check.problems),
        notes=tuple(check.notes),
        leftovers=(),
        elapsed_seconds=time.perf_counter() - started,
    )


class _Source:
    """A file in which what the disk does not read is damage like any other."""

    def __init__(self, file: ReadFile) -> None:
        self._file = file
        self._size_bytes = 0

    def read(self, size_bytes: int) -> bytes:
        try:
            data = self._file.read(size_bytes)
        except OSError as error:
            what = f"it cannot be read ({error.strerror or error})"
            raise CorruptionError(what, offset=self._size_bytes) from error
        self._size_bytes += len(data)
        return data


class _ExportCheck:
    """One check under way. For one thread."""

    def __init__(self, source: _Source, path: str, scan: bool, meter: Meter) -> None:
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self.header: Header | None = None
        self.entries = 0
        self.digest: str | None = None
        self._source = source
        self._path = path
        self._scan = scan
        self._meter = meter
        self._reader: FrameReader | None = None
        self._content = ContentDigest()
        self._content_known = True
        self._chunks = 0

    @property
    def size_bytes(self) -> int:
        """What was read."""
        return 0 if self._reader is None else self._reader.size_bytes

    def run(self) -> None:
        """Find all there is to find. UnsupportedFormatError: a newer Fjeld wrote it."""
        with self._noted(None):
            self._reader = FrameReader(self._source, self._path)
            self._meter.add(0, self._reader.size_bytes)
            self._walk(self._reader)
            self._reader.finish()

    def _walk(self, reader: FrameReader) -> None:
        """From the header to the end. Raises CorruptionError where nothing behind can be believed."""
        frame, intact = self._next(reader)
        if intact:
            with self._noted(frame):
                self.header = Header.decode(frame.document(HEADER))
        if self.header is None:  # its names are missing; the frames behind it are not
            while frame.kind != END:
                frame, _ = self._next(reader)
            return
        if not self.header.complete:
            self._note("it holds some of the partitions of its keyspace, not all")
        for head in self.header.partitions:
            self._partition(reader, head)
        frame, intact = self._next(reader)
        self._require(frame, END)
        self.digest = self._content.hexdigest()
        if intact:
            with self._noted(frame):
                self._compare_end(End.decode(frame.document(END)))

    def _partition(self, reader: FrameReader, head: PartitionHead) -> None:
        """Its chunks and its end."""
        content, entries, known = Xxh128(), 0, self._scan
        decoder = _decoder(content)
        frame, intact = self._next(reader)
        while frame.kind == CHUNK:
            self._chunks += 1
            entries += frame.entries  # its head is proved, whatever its payload is
            if self._scan and not (intact and self._chunk(decoder, frame)):
                known = False
                decoder = _decoder(content)
            frame, intact = self._next(reader)
        self._require(frame, PARTITION_END)
        self.entries += entries
        stated = None
        if intact:
            with self._noted(frame):
                stated = PartitionEnd.decode(frame.document(PARTITION_END))
        if stated is None:
            self._content_known = False
            return
        xxh128 = content.hexdigest() if known else stated.xxh128
        if stated != PartitionEnd(name=head.name, entries=entries, xxh128=xxh128):
            self._add(frame.offset, f"the content of the partition {head.name!r} is not what was exported")
        self._content.add(head.name, entries, xxh128)

    def _chunk(self, decoder: ChunkDecoder, frame: Frame) -> bool:
        """Every entry of it. False where it is damaged, which is noted."""
        before = len(self.problems)
        with self._noted(frame):
            decoder.load(frame.payload, frame.codec, frame.raw_bytes, frame.entries)
            decoder.skip()
        return len(self.problems) == before

    def _compare_end(self, end: End) -> None:
        digest = self.digest if self._content_known else end.digest
        if end != End(entries=self.entries, chunks=self._chunks, digest=digest or ""):
            raise CorruptionError("the content is not what was exported")

    def _next(self, reader: FrameReader) -> tuple[Frame, bool]:
        """The next frame, and whether its payload is what was written: where it is not, that is noted."""
        before = reader.size_bytes
        frame, intact = reader.read_any()
        if not intact:
            self._add(frame.offset, "the payload of a frame is damaged")
        self._meter.add(0, reader.size_bytes - before)
        return frame, intact

    def _require(self, frame: Frame, kind: int) -> None:
        if frame.kind != kind:
            what = f"a frame of kind {frame.kind} stands where {kind} belongs"
            raise CorruptionError(what, offset=frame.offset)

    # ---- what is found ----

    @contextmanager
    def _noted(self, frame: Frame | None) -> Iterator[None]:
        """Damage is kept, with its place: the error's own, or that of the frame."""
        try:
            yield
        except CorruptionError as error:
            self._add(error.offset if frame is None else frame.offset, error.what)
        except UnsupportedFormatError as error:
            if frame is None:
                raise
            raise UnsupportedFormatError(f"{self._path}: {error}") from error

    def _add(self, offset: int | None, what: str) -> None:
        self.problems.append(Problem(os.path.basename(self._path), offset, what))

    def _note(self, what: str) -> None:
        self.notes.append(Problem(os.path.basename(self._path), None, what))


def _decoder(content: Xxh128) -> ChunkDecoder:
    decoder = ChunkDecoder()
    decoder.begin(content)
    return decoder
