"""A snapshot for an event loop."""

from __future__ import annotations

from types import TracebackType

from fjeld.aio.bridge import Bridge
from fjeld.aio.reader import AsyncReader
from fjeld.snapshot import Snapshot

__all__ = ["AsyncSnapshot"]


class AsyncSnapshot:
    """The whole keyspace as of `seqno`, to read from until it is closed. An async context manager."""

    def __init__(self, bridge: Bridge, snapshot: Snapshot) -> None:
        self._bridge = bridge
        self._snapshot = snapshot

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot itself, whose reads may wait."""
        return self._snapshot

    @property
    def seqno(self) -> int:
        """What was written up to this seqno is seen."""
        return self._snapshot.seqno

    def partition(self, name: str) -> AsyncReader:
        """The partition of this name as of the snapshot; KeyError where there was none."""
        return AsyncReader(self._bridge, self._snapshot.partition(name))

    def partitions(self) -> list[str]:
        """The names of the partitions there were, sorted."""
        return self._snapshot.partitions()

    def close(self) -> None:
        """Let go of it. Closing twice is fine."""
        self._snapshot.close()

    async def __aenter__(self) -> AsyncSnapshot:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
