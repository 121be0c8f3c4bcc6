"""Histories of transactions, and whether any order of them explains what they have seen.

Every write appends its transaction's number to the list under a key, so a value tells all versions before it
(Kingsbury, Alvaro, *Elle*, 2020). From what was read the direct serialization graph follows (Adya, 1999):

    ww    wrote the version after that of
    wr    has read what was written by
    rw    has read what was overwritten by

Serializable: the graph has no cycle.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

Versions = tuple[int, ...]
"""Of one key: the numbers of the transactions that appended to it."""


def encoded(versions: Versions) -> bytes:
    return b",".join(b"%d" % number for number in versions)


def decoded(value: bytes | None) -> Versions:
    return tuple(int(part) for part in value.split(b",")) if value else ()


@dataclass
class Record:
    """What one committed transaction has read of each key first, and to which it has appended."""

    number: int
    reads: dict[bytes, Versions] = field(default_factory=dict)
    writes: set[bytes] = field(default_factory=set)


class Anomaly(AssertionError):
    """The history is not serializable."""


def check(records: list[Record], final: dict[bytes, Versions]) -> None:
    """Anomaly where no order of the transactions explains what they have read and what there is at the end."""
    writers = {record.number for record in records}
    after: dict[int, set[int]] = defaultdict(set)
    for key, versions in final.items():
        if len(set(versions)) != len(versions) or not writers.issuperset(versions):
            raise Anomaly(f"{key!r} holds {versions}: something was written twice or by nobody who committed")
        for before, later in itertools.pairwise(versions):
            after[later].add(before)
    for record in records:
        for key, seen in record.reads.items():
            versions = final.get(key, ())
            if versions[: len(seen)] != seen:
                raise Anomaly(f"{record.number} has read {seen} of {key!r}, which ended as {versions}")
            if seen and seen[-1] != record.number:
                after[record.number].add(seen[-1])
            if len(seen) < len(versions) and versions[len(seen)] != record.number:
                after[versions[len(seen)]].add(record.number)
        for key in record.writes:
            if record.number not in final.get(key, ()):
                raise Anomaly(f"{record.number} has committed, and its write of {key!r} is lost")
    try:
        list(TopologicalSorter(after).static_order())
    except CycleError as error:
        raise Anomaly(f"a cycle: {' after '.join(map(str, error.args[1]))}") from None
