"""What the benchmark asks of an engine. Each runs with its defaults: journal on, no sync for each write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

__all__ = ["Engine", "Pair"]

Pair = tuple[bytes, bytes]


class Engine(ABC):
    """One store of one kind.

    `open` may bind the engine's own methods on the instance, so that nothing is added to a call.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    """What must be importable; the engine is skipped where it is not."""

    @abstractmethod
    def open(self, path: Path) -> None: ...

    @abstractmethod
    def insert(self, key: bytes, value: bytes, /) -> object: ...

    @abstractmethod
    def get(self, key: bytes, /) -> bytes | None: ...

    @abstractmethod
    def remove(self, key: bytes, /) -> object: ...

    @abstractmethod
    def insert_many(self, pairs: Sequence[Pair], /) -> None:
        """Atomically."""

    @abstractmethod
    def scan(self, start: bytes | None = None) -> Iterable[Pair]:
        """From a key on, in order."""

    @abstractmethod
    def scan_reverse(self) -> Iterable[Pair]: ...

    def get_many(self, keys: Sequence[bytes], /) -> Sequence[bytes | None]:
        return [self.get(key) for key in keys]

    def compact(self) -> None:  # noqa: B027 - optional
        """Everything into its final form, where the engine has that."""

    def checkpoint(self, target: Path) -> bool:
        """A consistent copy while the engine is open; False where it has no such thing."""
        return False

    @abstractmethod
    def close(self) -> None: ...
