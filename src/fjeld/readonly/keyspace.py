"""A keyspace that is only read: `fjeld.open_readonly`.

Any number of processes read a keyspace, live or closed, or a checkpoint, without its owner knowing of them:
nothing is written, locked or made, so read-only media and folders of others are fine. How a consistent state is
found while the owner goes on is in `recovery.moment`.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any

from fjeld.content_digest import content_digest
from fjeld.options import KeyspaceOptions
from fjeld.readonly.partition import ReadOnlyPartition
from fjeld.readonly.reading import Reading
from fjeld.snapshot import Snapshot
from fjeld.statistics.figures import KeyspaceFigures, to_json

__all__ = ["ReadOnlyKeyspace", "open_readonly"]

_readings: weakref.WeakSet[Reading] = weakref.WeakSet()


class ReadOnlyKeyspace:
    """One moment of a keyspace, to read from; `refresh` moves it on. A context manager; any thread may use it.

    It keeps every file of its moment open, one descriptor each, so that what it shows stays readable whatever
    the owner deletes: space is given back when it is refreshed or closed.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._lock = threading.Lock()
        self._partitions: weakref.WeakKeyDictionary[Any, weakref.ref[ReadOnlyPartition]] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        state = "closed" if self._reading.closed else f"seqno {self.seqno}"
        return f"<fjeld.ReadOnlyKeyspace {self.path} ({state})>"

    @property
    def path(self) -> Path:
        """The folder, absolute."""
        return Path(self._reading.path)

    @property
    def id(self) -> str:
        """The identity of the keyspace."""
        return self._reading.version.id

    @property
    def parent(self) -> tuple[str, int] | None:
        """Of a checkpoint: the id of the keyspace it was taken from, and the seqno at that moment."""
        parent = self._reading.version.parent
        return None if parent is None else (parent.id, parent.seqno)

    @property
    def seqno(self) -> int:
        """What was written up to this seqno is shown, and nothing later."""
        return self._reading.seqno

    def partitions(self) -> list[str]:
        """The names of all partitions, sorted."""
        return self._reading.names()

    def partition(self, name: str) -> ReadOnlyPartition:
        """The partition of this name; KeyError where there is none. After a refresh it shows the new moment; one
        that is not there any more raises ClosedError.
        """
        if not isinstance(name, str):
            raise TypeError(f"a partition's name is a str, not {type(name).__name__}")
        with self._lock:
            live = self._reading.find(name)
            known = self._partitions.get(live)
            partition = None if known is None else known()
            if partition is None:
                partition = ReadOnlyPartition(self._reading, live)
                self._partitions[live] = weakref.ref(partition)
            return partition

    def snapshot(self) -> Snapshot:
        """The moment that is shown now, to read from until it is closed, also after a refresh."""
        return self._reading.open_snapshot()

    def digest(self, *, snapshot: Snapshot | None = None) -> str:
        """As Keyspace.digest: equal content has an equal digest."""
        if snapshot is not None:
            if not isinstance(snapshot, Snapshot):
                raise TypeError(f"snapshot must be a Snapshot, not {type(snapshot).__name__}")
            if not snapshot.is_of(self._reading):
                raise ValueError("the snapshot is of another keyspace")
            return content_digest(snapshot)
        with self.snapshot() as now:
            return content_digest(now)

    def stats(self) -> dict[str, Any]:
        """Figures as JSON values, as Keyspace.stats: what is known without the owner."""
        return {"path": self._reading.path, "id": self.id, **to_json(self.figures())}

    def figures(self) -> KeyspaceFigures:
        """What `stats` gives, typed."""
        return self._reading.figures()

    def refresh(self) -> None:
        """Show what the keyspace holds now: all writes acknowledged so far. Tables that are still there stay open.

        Raises what `open_readonly` raises, and goes on showing the moment before then.
        """
        self._reading.refresh()

    def close(self) -> None:
        """Let go of the files. Closing twice is fine; all other use is a ClosedError then."""
        self._reading.close()

    def __enter__(self) -> ReadOnlyKeyspace:
        self._reading.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_readonly(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, cache_bytes: int | None = None
) -> ReadOnlyKeyspace:
    """Open the keyspace or checkpoint in the folder `path` to read from it, whoever else has it open, here or in
    other processes.

    It shows all writes that were acknowledged before the call. Nothing is written in the folder, or locked.
    cache_bytes: of the block cache; None: as `KeyspaceOptions`. The soft limit of open files is raised where there
    are more tables than it allows.

    NotAKeyspaceError: there is none. UnsupportedFormatError: a newer Fjeld wrote it. CorruptionError: a file is
    damaged. OSError (EMFILE): the hard limit of open files is too low. BlockingIOError: it was changed all the time.
    """
    options = KeyspaceOptions() if cache_bytes is None else KeyspaceOptions(cache_bytes=cache_bytes)
    reading = Reading(os.path.abspath(os.fsdecode(path)), options.cache_bytes)
    _readings.add(reading)
    return ReadOnlyKeyspace(reading)


def _after_fork() -> None:
    for reading in list(_readings):
        reading.abandon_after_fork()


os.register_at_fork(after_in_child=_after_fork)
