"""Compaction filters: a user's say in what compaction keeps.

A filter is called with a list of entries, a thousand or so at a time, and answers for each whether it stays. It
is asked about the newest value of a key, if no open snapshot sees it, whenever a merge rewrites it; nothing says
when that will be, and a value may be asked about many times. `Partition.compact()` asks about all of them. A
value that goes is deleted for good: there is no undo.

A filter runs in a background thread with the GIL, maybe in several threads at once, while writers go on; it must
be quick and must not use the keyspace. If it raises, the merge is given up, nothing is dropped, `stats()` says so,
and it is tried again later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

__all__ = ["CompactionFilter", "expiring"]

CompactionFilter: TypeAlias = Callable[[list[tuple[bytes, bytes]]], Iterable[object]]
"""Gets [(key, value), ...]; gives as many answers: true keeps the entry, false deletes it."""


def expiring(
    expires_at: Callable[[bytes, bytes], float | None], *, clock: Callable[[], float] = time.time
) -> CompactionFilter:
    """A filter for entries that have a time to live.

    expires_at(key, value): when the entry expires, in seconds since the epoch as `time.time` gives them; None:
    never. Until a merge has met it an expired entry can still be read: compare the time where that matters.

        filters = {"sessions": fjeld.expiring(lambda key, value: struct.unpack_from("<d", value)[0])}
        fjeld.open("data", options=fjeld.KeyspaceOptions(compaction_filters=filters))
    """

    def keep(entries: list[tuple[bytes, bytes]]) -> list[bool]:
        now = clock()
        times = [expires_at(key, value) for key, value in entries]
        return [at is None or at > now for at in times]

    return keep
