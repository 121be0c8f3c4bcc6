"""What a compaction strategy may choose.

Values: a worker carries them out, and shows them to the next call as running.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Choice", "Job", "Merge", "Move", "Nothing"]


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


Job = Move | Merge
Choice = Nothing | Job
