"""Fjeld itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import fjeld
from fjeld.cli.bench.engine import Engine, Pair

__all__ = ["FjeldEngine"]


class FjeldEngine(Engine):
    """One partition with default options; its methods bound directly."""

    name = "fjeld"
    module = "fjeld"

    def open(self, path: Path) -> None:
        self._keyspace = fjeld.open(path)
        self._partition = partition = self._keyspace.partition("kv")
        self.__dict__.update(insert=partition.insert, get=partition.get, remove=partition.remove)
        self.__dict__.update(insert_many=partition.insert_many, get_many=partition.get_many)

    def insert(self, key: bytes, value: bytes, /) -> None:
        self._partition.insert(key, value)

    def get(self, key: bytes, /) -> bytes | None:
        return self._partition.get(key)

    def remove(self, key: bytes, /) -> None:
        self._partition.remove(key)

    def insert_many(self, pairs: Sequence[Pair], /) -> None:
        self._partition.insert_many(pairs)

    def scan(self, start: bytes | None = None) -> Iterable[Pair]:
        return self._partition.range(start)

    def scan_reverse(self) -> Iterable[Pair]:
        return self._partition.range(reverse=True)

    def compact(self) -> None:
        self._keyspace.compact()

    def checkpoint(self, target: Path) -> bool:
        self._keyspace.backup_to(target)
        return True

    def close(self) -> None:
        self._keyspace.close()
