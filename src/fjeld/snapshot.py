"""A snapshot: the whole keyspace as it was at one seqno."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol
from weakref import WeakValueDictionary

from fjeld.errors import ClosedError
from fjeld.kernel.reader import Reader
from fjeld.kernel.view import View
from fjeld.maintenance.live_partition import LivePartition
from fjeld.mapping import ReaderMapping
from fjeld.options import PartitionOptions

__all__ = ["Snapshot", "SnapshotPartition"]


class SnapshotPartition(Reader, ReaderMapping, Mapping[bytes, bytes]):
    """One partition as of a snapshot: a read-only Mapping with a partition's reading methods. Any thread may
    use it.
    """

    name: str
    options: PartitionOptions
    """How the partition is stored."""
    _snapshot: Snapshot

    def __new__(cls, snapshot: Snapshot, live: LivePartition) -> SnapshotPartition:
        view = super().__new__(cls, live.core)
        view.fix(snapshot.seqno)
        view.name = live.name
        view.options = live.options
        view._snapshot = snapshot  # whoever reads keeps the snapshot open
        return view


class SnapshotSource(Protocol):
    """What a snapshot is of: an engine, or a keyspace that is only read."""

    def check_open(self) -> None: ...
    def check_partition(self, live: LivePartition, /) -> None: ...
    def close_snapshot(self, seqno: int, /) -> None: ...


class Snapshot:
    """The keyspace as of `seqno`. A context manager; close it, else what it sees is never cleaned away.

    Any thread may use it. After `close`, reads through it raise ClosedError. One that nobody holds any more
    closes itself; its partitions and their iterators hold it.
    """

    def __init__(self, engine: SnapshotSource, seqno: int, partitions: dict[str, LivePartition]) -> None:
        """For Engine.open_snapshot: the seqno is entered among its open ones. partitions: those there are, by
        name.
        """
        self._engine = engine
        self._seqno = seqno
        self._partitions = partitions
        self._views: WeakValueDictionary[int, SnapshotPartition] = WeakValueDictionary()
        self._kept: dict[int, View] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def seqno(self) -> int:
        """What was written up to this seqno is seen."""
        return self._seqno

    def partition(self, name: str) -> SnapshotPartition:
        """The partition of this name as of the snapshot; KeyError where there was none. Once dropped, it is a
        ClosedError.
        """
        if not isinstance(name, str):
            raise TypeError(f"a partition's name is a str, not {type(name).__name__}")
        live = self._partitions.get(name)
        with self._lock:
            self._check_open()
            if live is None:
                raise KeyError(name)
            self._engine.check_partition(live)
            view = self._views.get(live.id)
            if view is None:
                view = SnapshotPartition(self, live)
                if live.id in self._kept:
                    view.keep_view(self._kept[live.id])
                self._views[live.id] = view
            return view

    def keep(self, live: LivePartition, kept: View) -> None:
        """The partition is being cleared: what the snapshot sees of it is in `kept`."""
        with self._lock:
            if live.id not in self._kept:
                self._kept[live.id] = kept
                view = self._views.get(live.id)
                if view is not None:
                    view.keep_view(kept)

    def partitions(self) -> list[str]:
        """The names of the partitions there were, sorted."""
        self._check_open()
        return sorted(self._partitions)

    def is_of(self, engine: SnapshotSource) -> bool:
        """Was it taken of this engine's keyspace?"""
        return self._engine is engine

    def _check_open(self) -> None:
        self._engine.check_open()
        if self._closed:
            raise ClosedError("this snapshot was closed: open a new one")

    def close(self) -> None:
        """Let go of it. Closing twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for view in list(self._views.values()):
                view.release()
            self._kept.clear()
        self._engine.close_snapshot(self._seqno)

    def __enter__(self) -> Snapshot:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            if not self._closed:
                self.close()
        except BaseException:
            pass
