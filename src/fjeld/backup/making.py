"""One checkpoint in the making: from a cut to a staging folder that can be published.

The steps are those of `checkpoint`; several keyspaces go through each of them together. Two kinds:

    files as they are     every file of the pinned version is moved, sealed journals too (a cut of files)
    rewritten             chosen partitions, a range of keys, merged: tables that fit are moved as they are, the
                          others, and what memtables hold, are written anew; no journals (a cut with memory)

`_moved` says which files are moved, `_portions` what is written: neither knows of the other.

Where files are as they are, journals are finished after everything else is there (`move`).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fjeld.backup.crew import carry_out
from fjeld.backup.documents import write_documents
from fjeld.backup.file_check import check_files
from fjeld.backup.info import CheckpointInfo, time_of
from fjeld.backup.linker import Linker
from fjeld.backup.progress import Meter
from fjeld.backup.request import Request
from fjeld.backup.selection import EVERYTHING, select
from fjeld.extraction import Portion, StagedFolder, assembled, can_merge, crossing, in_memory, merged
from fjeld.kernel.view import View
from fjeld.manifest.state import FileRecord, Parent, PartitionState
from fjeld.manifest.version import Version
from fjeld.sync_points import sync_point

__all__ = ["CutLike", "Making", "Source", "holding", "partitions_of"]

NO_TABLES = ((),)


class CutLike(Protocol):
    """One pinned moment."""

    seqno: int
    stall_seconds: float
    snapshot: Any
    version: Version
    views: Mapping[int, View]

    def files(self) -> Iterator[FileRecord]: ...
    def release(self) -> None: ...


C = TypeVar("C", bound=CutLike)


class Source(Protocol[C]):
    """What a checkpoint needs of a keyspace: versions and pins, nothing of memtables or levels."""

    @property
    def path(self) -> str: ...
    def check_open(self) -> None: ...
    def names(self) -> list[str]: ...
    def flush_all(self, names: tuple[str, ...] | None = None) -> None: ...
    def cut(self, make: Callable[..., Any] | None = None, *, memory: bool = False) -> C: ...
    def finish(self, cut: C) -> Version: ...
    def now_ns(self) -> int: ...


def partitions_of(names: list[str], wanted: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The wanted partitions; KeyError where there is none of a name."""
    for name in wanted or ():
        if name not in names:
            raise KeyError(f"there is no partition {name!r} (there is: {', '.join(names) or 'none'})")
    return wanted


@contextmanager
def holding(source: Source[C], cut: C) -> Iterator[None]:
    """The cut, let go at the end; on a failure its snapshot is closed as well."""
    try:
        yield
    except BaseException as error:
        if cut.snapshot is not None:
            cut.snapshot.close()
        if isinstance(error, OSError):
            source.check_open()  # closed meanwhile: files may have gone, and that is why
        raise
    finally:
        cut.release()


class Making:
    """Owns what is known of one checkpoint while it is made. One thread."""

    def __init__(self, source: Source[C], staging: str, cut: C, request: Request) -> None:
        now_ns = source.now_ns()
        self._source = source
        self._staging = staging
        self._cut = cut
        self._request = request
        self._now_ns = now_ns
        self._created_at = time_of(now_ns)
        self._folder = StagedFolder(staging, str(uuid.uuid4()), cut.version.next_file)
        self._linker: Linker | None = None
        self._kept: dict[int, PartitionState] = {}
        """The partitions with the tables that are moved, where anything is rewritten."""
        self._portions: list[Portion] = []
        self._version = cut.version
        self._moved: tuple[FileRecord, ...] = ()
        self._records: tuple[FileRecord, ...] = ()
        """All files of the checkpoint, once they are there. Made once: there may be very many."""

    # ---- what is to be done ----

    def plan(self) -> None:
        """What is moved and what is written anew."""
        if self._request.rewrites:
            self._choose()
            self._version = replace(self._cut.version, partitions=self._kept, journals=())
            self._moved = tuple(self._version.files())
        else:
            self._moved = tuple(self._cut.files())

    def _choose(self) -> None:
        wanted = self._request.partitions
        states = self._cut.version.partitions
        partitions_of(sorted(state.name for state in states.values()), wanted)
        for state in states.values():
            if wanted is None or state.name in wanted:
                self._choose_of(state)

    def _choose_of(self, state: PartitionState) -> None:
        keys = self._request.key_range or EVERYTHING
        seqno, view = self._cut.seqno, self._cut.views[state.id]
        if self._request.compact and can_merge(state):
            self._portions += merged(
                self._folder, state, view, seqno=seqno, keys=keys, created_ns=self._now_ns
            )
            self._kept[state.id] = replace(state, levels=NO_TABLES * len(state.levels), blobs=())
            return
        chosen = select(state, keys)
        self._kept[state.id] = chosen.kept
        self._portions += crossing(self._folder, state, view, chosen.crossing, seqno=seqno, keys=keys)
        self._portions += in_memory(
            self._folder, state, view, seqno=seqno, keys=keys, created_ns=self._now_ns
        )

    @property
    def total(self) -> tuple[int, int]:
        """Files and bytes, for the progress: those that are moved, those that are read to be written anew, and
        with `verify` all of them once more.
        """
        passes = 2 if self._request.verify else 1
        read_bytes = sum(portion.size_bytes for portion in self._portions)
        moved_bytes = sum(record.size_bytes or 0 for record in self._moved)
        return (len(self._moved) + len(self._portions)) * passes, (moved_bytes + read_bytes) * passes

    # ---- doing it ----

    def move(self, meter: Meter) -> None:
        """Steps 3 and 4: every file of the checkpoint is in the staging folder, on disk. PoisonedError: the sync of a
        journal failed.
        """
        self._linker = Linker(self._source.path, self._staging, meter, link=self._request.link)
        if not self._request.rewrites:
            self._move_all(self._linker)
        else:
            sync_point("backup:finished")  # there are no journals
            self._linker.move(self._moved)
            carry_out(self._portions, meter)
            version = self._as_copy(self._version)
            self._version = replace(
                version, partitions=self._assembled(), journal_floor=version.next_file, journals=()
            )
            self._version.check()
            self._records = tuple(self._version.files())

    def _move_all(self, linker: Linker) -> None:
        """Links of tables and blob files, then the rest, with the journals, which are finished in between."""
        linked = tuple(self._cut.version.data_files()) if self._request.link else ()
        linker.move(linked)
        version = self._source.finish(self._cut)
        sync_point("backup:finished")
        self._moved = self._records = tuple(version.files())
        linker.move(self._moved[len(linked) :])
        self._version = self._as_copy(version)

    def _as_copy(self, version: Version) -> Version:
        """With the identity of the checkpoint, of the moment of the cut; one number more, for the manifest."""
        return replace(
            version,
            id=self._folder.keyspace_id,
            parent=Parent(self._cut.version.id, self._cut.seqno),
            seqno=self._cut.seqno,
            next_file=self._folder.next_file() + 1,
        )

    def _assembled(self) -> dict[int, PartitionState]:
        added = {number: list[Any]() for number in self._kept}
        blobs = {number: list[Any]() for number in self._kept}
        for portion in self._portions:
            added[portion.partition] += [(portion.level, table) for table in portion.tables]
            blobs[portion.partition] += portion.blobs
        return {
            number: assembled(state, added[number], blobs[number], seqno=self._cut.seqno)
            for number, state in self._kept.items()
        }

    def verify(self, meter: Meter) -> None:
        """Compare every file with its record. A link is the source's file: damage in it is found here."""
        if not self._request.verify:
            return
        moved = {record.path for record in self._moved}

        def named(record: FileRecord) -> str:
            return os.path.join(self._source.path if record.path in moved else self._staging, record.path)

        records = self._records
        planned_files, planned_bytes = self.total
        meter.correct(
            len(records) - planned_files // 2,
            sum(record.size_bytes or 0 for record in records) - planned_bytes // 2,
        )
        check_files(self._staging, records, meter, named=named)

    def write(self) -> None:
        """Step 5: the documents."""
        write_documents(
            self._staging,
            self._version,
            self._records,
            self._created_at,
            self._request.metadata,
            chosen=self._request.partitions,
            key_range=self._request.key_range,
            compacted=self._request.compact,
        )

    def info(self, target: str, elapsed_seconds: float) -> CheckpointInfo:
        """What was made, once it is published at the target."""
        assert self._linker is not None
        assert self._version.parent is not None
        return CheckpointInfo(
            path=Path(target),
            id=self._version.id,
            keyspace_id=self._version.parent.id,
            created_at=self._created_at,
            seqno=self._cut.seqno,
            partitions=tuple(sorted(state.name for state in self._version.partitions.values())),
            chosen=self._request.partitions,
            key_range=self._request.key_range,
            compacted=self._request.compact,
            files=self._records,
            linked_bytes=self._linker.linked_bytes,
            reflinked_bytes=self._linker.reflinked_bytes,
            copied_bytes=self._linker.copied_bytes,
            written_bytes=sum(portion.written_bytes for portion in self._portions),
            stall_seconds=self._cut.stall_seconds,
            elapsed_seconds=elapsed_seconds,
            metadata=self._request.metadata,
            snapshot=self._cut.snapshot,
        )
