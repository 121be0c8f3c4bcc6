"""The moment that an optimistic transaction sees, and what it has read of it."""

from __future__ import annotations

import threading

from fjeld.engine import Engine
from fjeld.kernel.read_set import ReadSet
from fjeld.kernel.view import View
from fjeld.maintenance.live_partition import LivePartition

__all__ = ["Moment"]


class Moment:
    """A seqno that stays readable until it is closed. Made by `Engine.open_snapshot`.

    `keep` is called from any thread, the rest from that of the transaction.
    """

    __slots__ = (
        "__weakref__",
        "_by_id",
        "_closed",
        "_engine",
        "_kept",
        "_lock",
        "partitions",
        "read_sets",
        "seqno",
    )

    def __init__(self, engine: Engine, seqno: int, partitions: dict[str, LivePartition]) -> None:
        self._engine = engine
        self.seqno = seqno
        self.partitions = partitions
        """Those there were, by name."""
        self.read_sets: list[ReadSet] = []
        """Of the partitions that were touched."""
        self._by_id: dict[int, ReadSet] = {}
        self._kept: dict[int, View] = {}
        """What there was in partitions that lost entries since, by clear for example."""
        self._lock = threading.Lock()
        self._closed = False

    def reads_of(self, live: LivePartition) -> ReadSet:
        """The read set of a partition."""
        reads = self._by_id.get(live.id)
        if reads is None:
            reads = ReadSet(live.core)
            with self._lock:
                if live.id in self._kept:
                    reads.keep(self._kept[live.id])
                self._by_id[live.id] = reads
            self.read_sets.append(reads)
        return reads

    def keep(self, live: LivePartition, kept: View) -> None:
        """Entries of the partition are about to go without a trace: they are in `kept`."""
        with self._lock:
            self._kept.setdefault(live.id, kept)
            reads = self._by_id.get(live.id)
            if reads is not None:
                reads.keep(kept)

    def close(self) -> None:
        """Let go of the seqno. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._engine.close_snapshot(self.seqno)

    def __del__(self) -> None:
        try:
            self.close()
        except BaseException:
            pass
