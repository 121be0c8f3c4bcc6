"""What the commands of this folder ask of a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

__all__ = ["Engine", "Pair"]

Pair = tuple[bytes, bytes]


class Engine(ABC):
    """One store. `open` binds the store's own methods where they fit, so that a call costs nothing more."""

    name: ClassVar[str]
    module: ClassVar[str]
    """What must be importable."""
    has_checkpoint: ClassVar[bool] = False
    """Copies of a running store by hard links, and `table_bytes` in `open`."""

    insert: Callable[[bytes, bytes], object]
    get: Callable[[bytes], bytes | None]

    @abstractmethod
    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        """Open the store in the folder, or make one. table_bytes: make files of this size and leave them
        alone.
        """

    @abstractmethod
    def insert_many(self, pairs: Sequence[Pair]) -> object:
        """Atomically."""

    @abstractmethod
    def scan(self, start: bytes) -> Iterable[Pair]:
        """From a key on, in order."""

    @abstractmethod
    def close(self) -> None: ...

    def get_many(self, keys: Sequence[bytes]) -> object:
        get = self.get
        return [get(key) for key in keys]

    def session(self) -> Engine:
        """What another thread is to use."""
        return self

    def compact(self) -> bool:
        """Everything into its final form; False where the engine has no such thing."""
        return False

    def checkpoint(self, target: Path) -> None:
        raise ValueError(f"{self.name} has no checkpoint")
