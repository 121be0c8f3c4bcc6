"""The engines that the commands of this folder drive, fjeld among them.

All of them keep a journal and sync no write unless they are opened as durable; then each write is synced.
Options are the engine's own defaults, except in those named "... tuned". An engine's module is imported when
it is opened: one that is not installed is passed over. An engine of one's own: "package.module:Class".
"""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine, Pair

__all__ = ["ENGINES", "engine_named", "is_installed"]

MIB = 1 << 20


class Fjeld(Engine):
    """One partition with default options."""

    name = module = "fjeld"
    has_checkpoint = True

    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        import fjeld

        mode = fjeld.PersistMode.SYNC_DATA if durable else fjeld.PersistMode.BUFFER
        options, kept = fjeld.KeyspaceOptions(durability=mode), None
        if table_bytes is not None:
            options = fjeld.KeyspaceOptions(level0_slowdown_runs=900, level0_stop_runs=1_000)
            leave = fjeld.Leveled(level0_runs=100, level1_bytes=1 << 40, table_bytes=table_bytes)
            kept = fjeld.PartitionOptions(compaction=leave)
        self._open(folder, options, kept)

    def _open(self, folder: Path, options: Any, kept: Any) -> None:
        """options: KeyspaceOptions or None; kept: PartitionOptions or None."""
        import fjeld

        self._keyspace = fjeld.open(folder, options=options)
        self._partition = partition = self._keyspace.partition("kv", options=kept)
        self.insert, self.get = partition.insert, partition.get

    def insert_many(self, pairs: Sequence[Pair]) -> None:
        self._partition.insert_many(pairs)

    def get_many(self, keys: Sequence[bytes]) -> object:
        return self._partition.get_many(keys)

    def scan(self, start: bytes) -> Iterable[Pair]:
        return self._partition.range(start)

    def compact(self) -> bool:
        self._keyspace.compact()
        return True

    def checkpoint(self, target: Path) -> None:
        self._keyspace.backup_to(target)

    def close(self) -> None:
        self._keyspace.close()


class RocksDict(Engine):
    """RocksDB, raw bytes."""

    name = module = "rocksdict"
    has_checkpoint = True

    def _options(self, rocksdict: Any) -> Any:
        return rocksdict.Options(raw_mode=True)

    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        self._module: Any = import_module("rocksdict")
        options = self._options(self._module)
        self._small_tables = table_bytes is not None
        if table_bytes is not None:
            options.set_target_file_size_base(table_bytes)
            options.set_max_bytes_for_level_base(1 << 40)
            options.set_disable_auto_compactions(True)
            options.set_max_open_files(512)  # as Fjeld's default; RocksDB's own is one for each file
        self._db: Any = self._module.Rdict(str(folder), options)
        if durable:
            synced = self._module.WriteOptions()
            synced.sync = True
            self._db.set_write_options(synced)
        self.insert, self.get = self._db.put, self._db.get

    def insert_many(self, pairs: Sequence[Pair]) -> None:
        batch = self._module.WriteBatch(raw_mode=True)
        for key, value in pairs:
            batch.put(key, value)
        self._db.write(batch)

    def get_many(self, keys: Sequence[bytes]) -> object:
        return self._db.get(keys)

    def scan(self, start: bytes) -> Any:
        return self._db.items(from_key=start)

    def compact(self) -> bool:
        self._db.flush()
        how = self._module.CompactOptions()
        if self._small_tables:  # else a single table is moved as it is, however large
            how.set_bottommost_level_compaction(self._module.BottommostLevelCompaction.force())
        self._db.compact_range(None, None, how)
        return True

    def checkpoint(self, target: Path) -> None:
        self._module.Checkpoint(self._db).create_checkpoint(str(target))

    def close(self) -> None:
        del self.insert, self.get
        self._db.close()


class RocksDictTuned(RocksDict):
    """10-bit filters, a cache of 512 MiB, lz4, two background jobs: what its users are told to set."""

    name = "rocksdict tuned"

    def _options(self, rocksdict: Any) -> Any:
        options = super()._options(rocksdict)
        table = rocksdict.BlockBasedOptions()
        table.set_bloom_filter(10, False)
        table.set_block_cache(rocksdict.Cache(512 * MIB))
        options.set_block_based_table_factory(table)
        options.set_compression_type(rocksdict.DBCompressionType.lz4())
        options.increase_parallelism(2)
        return options


class Plyvel(Engine):
    """LevelDB."""

    name = module = "plyvel"

    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        self._durable = durable
        self._db: Any = import_module("plyvel").DB(str(folder), create_if_missing=True)
        self.insert, self.get = self._insert_synced if durable else self._db.put, self._db.get

    def _insert_synced(self, key: bytes, value: bytes) -> None:
        self._db.put(key, value, sync=True)

    def insert_many(self, pairs: Sequence[Pair]) -> None:
        with self._db.write_batch(sync=self._durable) as batch:
            for key, value in pairs:
                batch.put(key, value)

    def scan(self, start: bytes) -> Any:
        return self._db.iterator(start=start)

    def compact(self) -> bool:
        self._db.compact_range()
        return True

    def close(self) -> None:
        self._db.close()


class Lmdb(Engine):
    """A transaction for each operation."""

    name = module = "lmdb"

    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        self._db: Any = import_module("lmdb").open(str(folder), map_size=256 << 30, sync=durable)
        self.insert, self.get = self._insert, self._get

    def _insert(self, key: bytes, value: bytes) -> None:
        with self._db.begin(write=True) as transaction:
            transaction.put(key, value)

    def _get(self, key: bytes) -> bytes | None:
        with self._db.begin() as transaction:
            value: bytes | None = transaction.get(key)
            return value

    def insert_many(self, pairs: Sequence[Pair]) -> None:
        with self._db.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs)

    def get_many(self, keys: Sequence[bytes]) -> object:
        with self._db.begin() as transaction:
            return transaction.cursor().getmulti(keys)

    def scan(self, start: bytes) -> Iterable[Pair]:
        cursor = self._db.begin().cursor()  # the iterator keeps both alive
        return cursor.iternext() if cursor.set_range(start) else ()

    def close(self) -> None:
        self._db.close()


class PyFjall(Engine):
    """Fjall. Its binding has neither close nor compact; a sync is a call of its own."""

    name = module = "pyfjall"

    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        self._durable = durable
        self._db: Any = import_module("pyfjall").Database(str(folder))
        self._keyspace: Any = self._db.keyspace("kv")
        self.insert = self._insert_synced if durable else self._keyspace.insert
        self.get = self._keyspace.get

    def _insert_synced(self, key: bytes, value: bytes) -> None:
        self._keyspace.insert(key, value)
        self._db.persist("sync_data")

    def insert_many(self, pairs: Sequence[Pair]) -> None:
        batch, keyspace = self._db.batch(), self._keyspace
        for key, value in pairs:
            batch.insert(keyspace, key, value)
        batch.commit()
        if self._durable:
            self._db.persist("sync_data")

    def scan(self, start: bytes) -> Any:
        return self._keyspace.range(start)

    def close(self) -> None:
        self.__dict__.clear()
        gc.collect()


class Sqlite(Engine):
    """A table WITHOUT ROWID, WAL, 64 MiB of page cache (with the default of 2 MiB it would be no match); each
    thread has a connection of its own.
    """

    name = "sqlite"
    module = "sqlite3"

    _PUT = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"

    def open(self, folder: Path, *, durable: bool = False, table_bytes: int | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._durable = folder, durable
        file = folder / "kv.sqlite"
        self._db = sqlite3.connect(file, isolation_level=None, timeout=60, check_same_thread=False)
        mode = "FULL" if durable else "NORMAL"
        for pragma in ("journal_mode=WAL", f"synchronous={mode}", "cache_size=-65536"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")
        self.insert, self.get = self._insert, self._get

    def _insert(self, key: bytes, value: bytes) -> object:
        return self._db.execute(self._PUT, (key, value))

    def _get(self, key: bytes) -> bytes | None:
        row = self._db.execute("SELECT v FROM kv WHERE k = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def insert_many(self, pairs: Sequence[Pair]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(self._PUT, pairs)
        self._db.execute("COMMIT")

    def get_many(self, keys: Sequence[bytes]) -> object:
        wanted = ",".join("?" * len(keys))
        return self._db.execute(f"SELECT k, v FROM kv WHERE k IN ({wanted})", keys).fetchall()

    def scan(self, start: bytes) -> Iterable[Pair]:
        return self._db.execute("SELECT k, v FROM kv WHERE k >= ? ORDER BY k", (start,))

    def session(self) -> Engine:
        another = type(self)()
        another.open(self._folder, durable=self._durable)
        return another

    def compact(self) -> bool:
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return True

    def close(self) -> None:
        self._db.close()


ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (Fjeld, RocksDict, RocksDictTuned, Plyvel, Lmdb, Sqlite, PyFjall)
}


def engine_named(name: str) -> type[Engine]:
    """One of ENGINES, or the class that "package.module:Class" names. ValueError where there is none."""
    if name in ENGINES:
        return ENGINES[name]
    module, colon, kind = name.partition(":")
    if not colon:
        raise ValueError(f"unknown engine {name!r} (known: {', '.join(ENGINES)}, or package.module:Class)")
    found = getattr(import_module(module), kind)
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise ValueError(f"{name} is no subclass of benchmarks.engine.Engine")
    return found


def is_installed(engine: type[Engine]) -> bool:
    return find_spec(engine.module) is not None
