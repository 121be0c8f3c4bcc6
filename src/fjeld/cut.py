"""A cut: one moment of an open keyspace, pinned. What checkpoints and pins are made of.

There are two kinds. One *of files* seals the active journal: everything up to its seqno is in files then, and
it costs the writers the switch. One *with memory* seals nothing and switches nothing: it holds the views of the
partitions, memtables included, for whoever writes tables of his own from them (`extraction`); what is newer
than its seqno is passed over there.

A cut over several keyspaces holds all their commit locks at once, so whoever writes to one and then to
another is never seen in the second alone. The locks are taken in the order of identity and path, journals are
made ready before: two such cuts cannot wait for each other, and writers wait for microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

from fjeld.journal.rotation import JournalRotation, Sealed
from fjeld.kernel.commit import Commit
from fjeld.kernel.view import View
from fjeld.maintenance.live_partition import LivePartition
from fjeld.manifest.state import FileRecord, JournalMeta
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from fjeld.shield import shielded

__all__ = [
    "Cut",
    "Cuttable",
    "SnapshotLike",
    "cut_files",
    "cut_memory",
    "cut_still",
    "cut_together",
]


class SnapshotLike(Protocol):
    """What the engine knows of a snapshot."""

    def keep(self, live: LivePartition, kept: View) -> None: ...


class Cuttable(Protocol):
    """What a cut needs of an open keyspace."""

    @property
    def path(self) -> str: ...
    @property
    def store(self) -> VersionStore: ...
    @property
    def commit(self) -> Commit: ...
    @property
    def rotation(self) -> JournalRotation: ...
    @property
    def partitions(self) -> Mapping[str, LivePartition]: ...
    def enter_snapshot_at(self, seqno: int, make: Callable[..., Any]) -> Any: ...


class Cut:
    """One moment of a keyspace: its version and seqno, and references that keep every file of it."""

    def __init__(
        self,
        version: Version,
        seqno: int,
        oldest_seqno: int | None,
        held: list[object],
        unfinished: list[Sealed],
        views: Mapping[int, View] | None = None,
    ) -> None:
        """oldest_seqno: of the entries that are in no table; None: there is none."""
        self.seqno = seqno
        self.stall_seconds = 0.0
        """How long the commit lock was held."""
        self.snapshot: SnapshotLike | None = None
        """Of the same moment, where one was asked for. Whoever has the cut closes it."""
        self.version = version
        """Of that moment; its journals may not be finished."""
        self.views: Mapping[int, View] = {} if views is None else views
        """Of a cut with memory: what each partition holds, by id. Entries beyond `seqno` are not part of it."""
        self._oldest_seqno = oldest_seqno
        self._held = held
        self._unfinished = {sealed.writer.number: sealed for sealed in unfinished}

    def files(self) -> Iterator[FileRecord]:
        """What `finish` will give, with the size of each; of a journal that is not finished, without the checksum."""
        yield from self.version.data_files()
        for journal in self._needed():
            size_bytes = (
                journal.size_bytes if journal.finished else self._unfinished[journal.number].writer.position
            )
            yield FileRecord(journal.path, size_bytes, journal.xxh128)

    def _needed(self) -> Iterator[JournalMeta]:
        """Not those that only wait to be retired, because all of them is in tables."""
        for journal in self.version.journals:
            if self._oldest_seqno is not None and journal.last_seqno >= self._oldest_seqno:
                yield journal

    def finish(self, rotation: JournalRotation) -> Version:
        """The version, its journals in their last form (synced, truncated), which they are brought into,
        oldest first. Those that only wait to be retired are left out.

        Lets go of the GIL; nobody waits for it. PoisonedError where a sync fails.
        """

        def finished(journal: JournalMeta) -> JournalMeta:
            if journal.finished:
                return journal
            return replace(journal, **rotation.finish(self._unfinished[journal.number]))

        return replace(self.version, journals=tuple(map(finished, self._needed())))

    def release(self) -> None:
        """Let the files go. Releasing twice is fine."""
        self._held = []
        self.views = {}
        self._unfinished = {}


def _take(source: Cuttable, make: Callable[..., Any] | None, *, memory: bool) -> Cut:
    """Requires: commit lock."""
    store = source.store
    with store.install_lock:
        version = store.version
        seqno = source.commit.last_seqno
        live = source.partitions.values()
        if memory:
            views = {one.id: one.core.current_view() for one in live}
            cut = Cut(version, seqno, None, [], [], views)
        else:
            # The tuples of live tables that the views have: the cost does not grow with the number of tables.
            held: list[object] = [one.core.current_view().files for one in live]
            held += store.live_journals()
            found = (one.oldest_seqno() for one in live)
            oldest = min((first for first in found if first is not None), default=None)
            cut = Cut(version, seqno, oldest, held, source.rotation.unfinished())
        if make is not None:
            cut.snapshot = source.enter_snapshot_at(seqno, make)
        return cut


def cut_files(source: Cuttable, make: Callable[..., Any] | None = None) -> Cut:
    """A cut of files. make: makes a snapshot of the same moment too."""
    taken: list[Cut] = []
    held_seconds = source.rotation.cut(lambda: taken.append(_take(source, make, memory=False)))
    taken[0].stall_seconds = held_seconds
    return taken[0]


def cut_memory(source: Cuttable, make: Callable[..., Any] | None = None) -> Cut:
    """A cut with memory. make: makes a snapshot of the same moment too."""
    with source.commit:
        started = time.perf_counter()
        cut = _take(source, make, memory=True)
        cut.stall_seconds = time.perf_counter() - started
    return cut


def cut_still(source: Cuttable) -> Cut:
    """A cut of files where nobody writes: there is no active journal to seal."""
    with source.commit:
        return _take(source, None, memory=False)


@shielded
def cut_together(sources: Sequence[Cuttable]) -> list[Cut]:
    """Cuts of files of one moment over all keyspaces, in the order given. Requires: no keyspace twice."""
    in_order = sorted(sources, key=lambda source: (source.store.version.id, source.path))
    with ExitStack() as stack:
        seals = [stack.enter_context(source.rotation.cutting()) for source in in_order]
        with ExitStack() as locks:
            started = time.perf_counter()
            for source in in_order:
                locks.enter_context(source.commit)
            for seal in seals:
                seal()
            taken = {id(source): _take(source, None, memory=False) for source in in_order}
        held_seconds = time.perf_counter() - started
    for cut in taken.values():
        cut.stall_seconds = held_seconds
    return [taken[id(source)] for source in sources]
