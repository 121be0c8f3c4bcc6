"""What a compaction strategy may choose.

Values: a worker carries them out, and shows them to the next call as running.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fjeld.manifest.version import TableMeta

__all__ = ["Choice", "Drop", "Job", "Merge", "Move", "Nothing", "Tables", "busy", "clash", "key_range"]

Tables = Sequence[TableMeta]


@dataclass(frozen=True, slots=True)
class Nothing:
    """The partition is in shape, or what it needs must wait for a job that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A table goes down a level as it is: an edit, no bytes."""

    inputs: tuple[tuple[int, int], ...]
    """(level, number): one table."""
    output_level: int
    smallest: bytes
    largest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Tables become one run in `output_level`, in tables of about `table_bytes`."""

    inputs: tuple[tuple[int, int], ...]
    """(level, number), upper levels first; within level 0 the newest first."""
    output_level: int
    table_bytes: int
    drop_tombstones: bool
    """Whether nothing lies beneath that a tombstone could still hide."""
    smallest: bytes
    """The output lies between these keys, both included."""
    largest: bytes
    split_keys: tuple[bytes, ...] = ()
    """Ascending: no output table holds both a key below one of these and one that is not."""
    moved: frozenset[int] = frozenset()
    """Blob files: values in them that the inputs point to are copied into new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Tables go, with what is in them: an edit, no bytes. Open snapshots keep what they see."""

    inputs: tuple[tuple[int, int], ...]
    """(level, number)"""


Job = Move | Merge | Drop
Choice = Nothing | Job


def clash(job: Job, other: Job) -> bool:
    """Whether two jobs must not run side by side: they share a table, or write keys that meet to one level.

    In level 0 runs may overlap.
    """
    if not set(job.inputs).isdisjoint(other.inputs):
        return True
    if isinstance(job, Drop) or isinstance(other, Drop):
        return False
    meet = job.smallest <= other.largest and other.smallest <= job.largest
    return meet and job.output_level == other.output_level > 0


def busy(running: Collection[Job]) -> set[int]:
    """The numbers of all tables that jobs work on."""
    return {number for job in running for _, number in job.inputs}


def key_range(tables: Tables) -> tuple[bytes, bytes]:
    """The smallest and the largest key of tables, at least one."""
    return min(table.smallest for table in tables), max(table.largest for table in tables)
