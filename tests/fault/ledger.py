"""What an operation that may fail was acknowledged to have done."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import fjeld
from tests.support import Content


class Ledger:
    """What was acknowledged, and what the write that failed may have left."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.maybe: list[Content] = []
        self.checkpoint: tuple[Path, Content] | None = None
        """One that was taken, restored or imported, or an export, and what is in it."""
        self.lasting = False
        """The fault lasts: what is left over cannot be removed either."""
        self.newest = ""
        """The newest checkpoint of a folder."""
        self.afterwards: list[Callable[[], object]] = []
        """What must be so when the fault is over."""

    def change(self, write: Callable[[], object], after: Content) -> None:
        """`write` leads to `after`, if it is acknowledged."""
        self.maybe.append(after)
        write()
        self.content = after
        self.maybe.clear()

    def allows(self, content: Content) -> bool:
        return content == self.content or content in self.maybe


def with_entry(content: Content, name: str, key: bytes, value: bytes) -> Content:
    return content | {name: content[name] | {key: value}}


def value_of(number: int) -> bytes:
    return random.Random(number).randbytes(300)


def put_some(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    for name in ("a", "b"):
        key, value = b"new", value_of(0)
        ledger.change(
            lambda name=name: keyspace.partition(name).insert(key, value),
            with_entry(ledger.content, name, key, value),
        )
