"""What a caller wants of a backup: checked once, before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fjeld.backup.metadata import check_metadata
from fjeld.backup.targets import new_path, require_outside
from fjeld.errors import InvalidOptionError
from fjeld.extraction import KeyRange

__all__ = ["Request", "check_request", "check_target"]

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of one backup, sound."""

    flush: bool = False
    link: bool = True
    """False: an independent copy of each file."""
    partitions: tuple[str, ...] | None = None
    """Sorted. None: all that there are at the cut."""
    key_range: KeyRange | None = None
    compact: bool = False
    verify: bool = False
    metadata: Mapping[str, Any] | None = None
    snapshot: Callable[..., Any] | None = None
    """Makes a snapshot of the moment of the cut."""

    @property
    def rewrites(self) -> bool:
        """Whether the backup is more than the files as they are: what memtables hold is written to tables then,
        and there are no journals in it.
        """
        return self.partitions is not None or self.key_range is not None or self.compact


def check_request(
    *,
    flush: bool = False,
    link: str = "auto",
    partitions: Iterable[str] | None = None,
    key_range: tuple[Buffer | None, Buffer | None] | None = None,
    compact: bool = False,
    verify: bool = False,
    metadata: Mapping[str, Any] | None = None,
    snapshot: Callable[..., Any] | None = None,
) -> Request:
    """The request; what makes no sense is a TypeError, a ValueError or an InvalidOptionError."""
    if link not in ("auto", "never"):
        raise InvalidOptionError(f'link must be "auto" or "never", not {link!r}')
    return Request(
        flush=bool(flush),
        link=link == "auto",
        partitions=None if partitions is None else _check_partitions(partitions),
        key_range=None if key_range is None else _check_key_range(key_range),
        compact=bool(compact),
        verify=bool(verify),
        metadata=check_metadata(metadata),
        snapshot=snapshot,
    )


def _check_partitions(partitions: object) -> tuple[str, ...]:
    if isinstance(partitions, str | bytes | bytearray | memoryview) or not isinstance(partitions, Iterable):
        raise TypeError(
            f"partitions must be a list of names, not {type(partitions).__name__}: "
            "put a single name in a list"
        )
    names = list(partitions)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a partition's name is a str, not {type(name).__name__}")
    if not names:
        raise ValueError("partitions is empty: name at least one, or leave it out for all")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the partition {twice[0]!r} is named twice")
    return tuple(sorted(names))


def _check_key_range(key_range: object) -> KeyRange:
    if not isinstance(key_range, tuple | list) or len(key_range) != 2:
        raise TypeError("key_range must be a pair (start, stop) of bytes, None for an open end")
    start, stop = (_check_end(end) for end in key_range)
    if start is not None and stop is not None and start >= stop:
        what = "empty" if start == stop else "inverted"
        raise ValueError(f"the key range is {what}: it begins with {start!r} and stops before {stop!r}")
    if stop == b"":
        raise ValueError("the key range is empty: no key lies before b''")
    return start, stop


def _check_end(end: object) -> bytes | None:
    if end is None:
        return None
    if not isinstance(end, bytes | bytearray | memoryview):
        hint = ": encode it" if isinstance(end, str) else ""
        raise TypeError(f"an end of a key range is bytes or None, not {type(end).__name__}{hint}")
    return bytes(end)


def check_target(source: str, target: str | os.PathLike[str]) -> str:
    """Step 1: the absolute path of the target, which does not exist, has a parent, and is outside of the
    source.
    """
    path = new_path(target, "a checkpoint")
    require_outside(path, source, "the keyspace")
    return path
