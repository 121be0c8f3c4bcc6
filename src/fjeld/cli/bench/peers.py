"""The peers: sqlite3 is always there, the others where they are installed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fjeld.cli.bench.engine import Engine, Pair

__all__ = ["Lmdb", "Plyvel", "RocksDict", "Sqlite"]


class Sqlite(Engine):
    """WAL mode, synchronous=NORMAL (no sync for each commit), 64 MiB of page cache, a table WITHOUT ROWID."""

    name = "sqlite"
    module = "sqlite3"

    _PUT = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"

    def open(self, path: Path) -> None:
        path.mkdir()
        self._db = sqlite3.connect(path / "kv.sqlite", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")

    def insert(self, key: bytes, value: bytes, /) -> object:
        return self._db.execute(self._PUT, (key, value))

    def get(self, key: bytes, /) -> bytes | None:
        row = self._db.execute("SELECT v FROM kv WHERE k = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def remove(self, key: bytes, /) -> object:
        return self._db.execute("DELETE FROM kv WHERE k = ?", (key,))

    def insert_many(self, pairs: Sequence[Pair], /) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(self._PUT, pairs)
        self._db.execute("COMMIT")

    def scan(self, start: bytes | None = None) -> Iterable[Pair]:
        return self._db.execute("SELECT k, v FROM kv WHERE k >= ? ORDER BY k", (start or b"",))

    def scan_reverse(self) -> Iterable[Pair]:
        return self._db.execute("SELECT k, v FROM kv ORDER BY k DESC")

    def checkpoint(self, target: Path) -> bool:
        target.mkdir()
        copy = sqlite3.connect(target / "kv.sqlite")
        try:
            self._db.backup(copy)
        finally:
            copy.close()
        return True

    def close(self) -> None:
        self._db.close()


class RocksDict(Engine):
    """RocksDB through rocksdict, raw mode."""

    name = "rocksdict"
    module = "rocksdict"

    def open(self, path: Path) -> None:
        import rocksdict

        self._module: Any = rocksdict
        self._db: Any = rocksdict.Rdict(str(path), rocksdict.Options(raw_mode=True))
        self.__dict__.update(
            insert=self._db.put, get=self._db.get, remove=self._db.delete, get_many=self._db.get
        )

    def insert(self, key: bytes, value: bytes, /) -> object:
        return self._db.put(key, value)

    def get(self, key: bytes, /) -> bytes | None:
        value: bytes | None = self._db.get(key)
        return value

    def remove(self, key: bytes, /) -> object:
        return self._db.delete(key)

    def insert_many(self, pairs: Sequence[Pair], /) -> None:
        batch = self._module.WriteBatch(raw_mode=True)
        for key, value in pairs:
            batch.put(key, value)
        self._db.write(batch)

    def scan(self, start: bytes | None = None) -> Iterable[Pair]:
        entries: Iterable[Pair] = self._db.items(from_key=start)
        return entries

    def scan_reverse(self) -> Iterable[Pair]:
        entries: Iterable[Pair] = self._db.items(backwards=True)
        return entries

    def compact(self) -> None:
        self._db.flush()
        self._db.compact_range(None, None)

    def checkpoint(self, target: Path) -> bool:
        self._module.Checkpoint(self._db).create_checkpoint(str(target))
        return True

    def close(self) -> None:
        for bound in ("insert", "get", "remove", "get_many"):
            self.__dict__.pop(bound)
        self._db.close()


class Plyvel(Engine):
    """LevelDB through plyvel. It has no online copy."""

    name = "plyvel"
    module = "plyvel"

    def open(self, path: Path) -> None:
        import plyvel

        self._db: Any = plyvel.DB(str(path), create_if_missing=True)
        self.__dict__.update(insert=self._db.put, get=self._db.get, remove=self._db.delete)

    def insert(self, key: bytes, value: bytes, /) -> object:
        return self._db.put(key, value)

    def get(self, key: bytes, /) -> bytes | None:
        value: bytes | None = self._db.get(key)
        return value

    def remove(self, key: bytes, /) -> object:
        return self._db.delete(key)

    def insert_many(self, pairs: Sequence[Pair], /) -> None:
        with self._db.write_batch() as batch:
            for key, value in pairs:
                batch.put(key, value)

    def scan(self, start: bytes | None = None) -> Iterable[Pair]:
        entries: Iterable[Pair] = self._db.iterator(start=start)
        return entries

    def scan_reverse(self) -> Iterable[Pair]:
        entries: Iterable[Pair] = self._db.iterator(reverse=True)
        return entries

    def compact(self) -> None:
        self._db.compact_range()

    def close(self) -> None:
        self._db.close()


class Lmdb(Engine):
    """One transaction for each write and read; sync=False, as the others do not sync each write either."""

    name = "lmdb"
    module = "lmdb"

    def open(self, path: Path) -> None:
        import lmdb

        self._db: Any = lmdb.open(str(path), map_size=64 << 30, sync=False)

    def insert(self, key: bytes, value: bytes, /) -> object:
        with self._db.begin(write=True) as transaction:
            return transaction.put(key, value)

    def get(self, key: bytes, /) -> bytes | None:
        with self._db.begin() as transaction:
            value: bytes | None = transaction.get(key)
            return value

    def remove(self, key: bytes, /) -> object:
        with self._db.begin(write=True) as transaction:
            return transaction.delete(key)

    def insert_many(self, pairs: Sequence[Pair], /) -> None:
        with self._db.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs)

    def get_many(self, keys: Sequence[bytes], /) -> Sequence[bytes | None]:
        with self._db.begin() as transaction:
            found: dict[bytes, bytes] = dict(transaction.cursor().getmulti(keys))
            return [found.get(key) for key in keys]

    def scan(self, start: bytes | None = None) -> Iterable[Pair]:
        cursor = self._db.begin().cursor()  # the iterator keeps both alive
        entries: Iterable[Pair] = (
            () if start is not None and not cursor.set_range(start) else cursor.iternext()
        )
        return entries

    def scan_reverse(self) -> Iterable[Pair]:
        entries: Iterable[Pair] = self._db.begin().cursor().iterprev()
        return entries

    def checkpoint(self, target: Path) -> bool:
        target.mkdir()
        self._db.copy(str(target))
        return True

    def close(self) -> None:
        self._db.close()
