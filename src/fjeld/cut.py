"""A cut: one moment of an open keyspace, pinned. What a checkpoint and a pin are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from fjeld.journal.rotation import JournalRotation, Sealed
from fjeld.kernel.view import View
from fjeld.maintenance.live_partition import LivePartition
from fjeld.manifest.state import JournalMeta
from fjeld.manifest.version import Version

__all__ = ["Cut", "SnapshotLike"]


class SnapshotLike(Protocol):
    """What the engine knows of a snapshot."""

    def keep(self, live: LivePartition, kept: View) -> None: ...


class Cut:
    """One moment of a keyspace: its version and seqno, and references that keep every file of it."""

    def __init__(
        self,
        version: Version,
        seqno: int,
        oldest_seqno: int | None,
        held: list[object],
        unfinished: list[Sealed],
    ) -> None:
        """oldest_seqno: of the entries that are in no table; None: there is none."""
        self.seqno = seqno
        self.stall_seconds = 0.0
        """How long the commit lock was held."""
        self.snapshot: SnapshotLike | None = None
        """Of the same moment, where one was asked for. Whoever has the cut closes it."""
        self._version = version
        self._oldest_seqno = oldest_seqno
        self._held = held
        self._unfinished = {sealed.writer.number: sealed for sealed in unfinished}

    def finish(self, rotation: JournalRotation) -> Version:
        """The version, its journals in their last form (synced, truncated), which they are brought into,
        oldest first.

        Journals that only wait to be retired, because all of them is in tables, are left out.
        Lets go of the GIL; nobody waits for it. PoisonedError where a sync fails.
        """
        needed = (
            journal
            for journal in self._version.journals
            if self._oldest_seqno is not None and journal.last_seqno >= self._oldest_seqno
        )

        def finished(journal: JournalMeta) -> JournalMeta:
            if journal.finished:
                return journal
            return replace(journal, **rotation.finish(self._unfinished[journal.number]))

        return replace(self._version, journals=tuple(map(finished, needed)))

    def release(self) -> None:
        """Let the files go. Releasing twice is fine."""
        self._held = []
        self._unfinished = {}
