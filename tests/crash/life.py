"""A keyspace's life, recorded: what it did, what it was promised, and what its files went through.

`History` is the oracle. Each operation is atomic and leads from one state to the next; a state is known by a
checksum, so that what a reopened keyspace holds says how far in the history it is. Empty partitions do not
count: creating one is on disk at once, which may be before older writes are.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fjeld
from fjeld.kernel import files
from tests.small import SMALL_PARTITION, SMALL_SEPARATED, small_options
from tests.support import Content, Event, abandon, content_of, settle

SYNC = fjeld.PersistMode.SYNC_DATA
FOLDER = "|"
"""Stands for / in marks."""
Writes = Mapping[str, Mapping[bytes, bytes | None]]
"""By partition and key: the value, or None for a removal."""


def state_of(content: Content) -> int:
    return hash(
        tuple((name, tuple(sorted(entries.items()))) for name, entries in sorted(content.items()) if entries)
    )


def _with(content: Content, writes: Writes) -> Content:
    """The content after the writes."""
    after = {name: dict(entries) for name, entries in content.items()}
    for name, entries in writes.items():
        for key, value in entries.items():
            after.setdefault(name, {})
            if value is None:
                after[name].pop(key, None)
            else:
                after[name][key] = value
    return after


class History:
    """The states after 0, 1, 2, ... operations."""

    def __init__(self) -> None:
        self.content: Content = {}
        self.states: dict[int, list[int]] = {state_of({}): [0]}
        self.length = 0

    def add(self, content: Content) -> None:
        self.content = content
        self.length += 1
        self.states.setdefault(state_of(content), []).append(self.length)


class Life:
    """One keyspace that is worked with beneath `root`. Marks in the trace say what was begun and promised:

    mark begun N      operation N may have an effect from here on
    mark kept N       a power cut from here on leaves N operations at least
    mark taken NAME   the same of a checkpoint, of what was restored or imported, and of an export
    mark going NAME   it may go from here on
    mark gone NAME    it is gone
    mark aside N      the state after N operations is somewhere, whatever takes its place
    mark aside -1     ... no more
    """

    open_as: Callable[..., Any] = staticmethod(fjeld.open)
    """What opens the keyspace: of any kind."""
    partition_options = SMALL_PARTITION

    def __init__(self, root: Path, chance: random.Random, **options: object) -> None:
        self.root = root
        self.chance = chance
        self.history = History()
        self.checkpoints: dict[str, int] = {}
        """By name: the state it holds, once that is learnt."""
        self._options = {
            "memtable_bytes": 8 << 10,
            "journal_bytes": 8 << 10,
            "journals_max_bytes": 64 << 10,
        } | options
        self._marks = itertools.count()
        self.open()

    @property
    def path(self) -> Path:
        return self.root / "keyspace"

    def open(self) -> None:
        self.keyspace = type(self).open_as(self.path, options=small_options(**self._options))

    def mark(self, what: str) -> None:
        files.make_directory(self.root / f"mark {what} {next(self._marks)}")

    def kept(self, length: int | None = None) -> None:
        self.mark(f"kept {self.history.length if length is None else length}")

    def partition(self, name: str) -> fjeld.Partition:
        return self.keyspace.partition(name, options=self.partition_options)

    def value_bytes(self) -> int:
        """Of a value that `write` makes up."""
        return self.chance.randrange(1, 160)

    # ---- operations: each one step of the history ----

    def _operation(self, content: Content, perform: Callable[[], object], *, kept: bool) -> None:
        self.history.add(content)
        self.mark(f"begun {self.history.length}")
        perform()
        if kept:
            self.kept()

    def batch(self, writes: Writes, *, durable: bool = False) -> None:
        content = _with(self.history.content, writes)
        partitions = {name: self.partition(name) for name in writes}

        def perform() -> None:
            with self.keyspace.batch(durability=SYNC if durable else None) as batch:
                for name, entries in writes.items():
                    for key, value in entries.items():
                        if value is None:
                            batch.remove(partitions[name], key)
                        else:
                            batch.insert(partitions[name], key, value)

        self._operation(content, perform, kept=durable)

    write_as: Callable[..., None] = batch

    def write(self, count: int = 1, *, durable: bool = False) -> None:
        """Batches over two partitions, each unlike all others."""
        for _ in range(count):
            number = self.history.length + 1
            key = b"%03d" % self.chance.randrange(60)
            value = None if self.chance.random() < 0.25 else self.chance.randbytes(self.value_bytes())
            stamp = b"%d" % number
            self.write_as(
                {"a": {b"n": stamp, key: value}, "b": {b"n": stamp, key[:2]: value and value[:9]}},
                durable=durable,
            )

    def transaction(self, writes: Writes, *, durable: bool = False) -> None:
        """As `batch`, but for one entry that is written, taken back, and never there."""
        content = _with(self.history.content, writes)
        for name in writes:
            self.partition(name)

        def perform() -> None:
            with self.keyspace.write_tx(durability=SYNC if durable else None) as tx:
                for name, entries in writes.items():
                    view = tx.partition(name)
                    point = tx.savepoint()
                    view.insert(b"never", b"1")
                    point.rollback()
                    for key, value in entries.items():
                        if value is None:
                            view.take(key)
                        else:
                            view.insert(key, value)

        self._operation(content, perform, kept=durable)

    def clear(self, name: str) -> None:
        self._operation(self.history.content | {name: {}}, self.partition(name).clear, kept=True)

    def drop(self, name: str) -> None:
        content = {other: entries for other, entries in self.history.content.items() if other != name}
        self.partition(name)
        self._operation(content, lambda: self.keyspace.drop_partition(name), kept=True)

    def ingest(self, name: str, pairs: dict[bytes, bytes]) -> None:
        content = self.history.content | {name: self.history.content.get(name, {}) | pairs}
        partition = self.partition(name)
        self._operation(content, lambda: partition.ingest(sorted(pairs.items())), kept=True)

    # ---- what changes nothing but files ----

    def persist(self) -> None:
        self.keyspace.persist(SYNC)
        self.kept()

    def flush(self) -> None:
        self.keyspace.flush()
        self.kept()

    def compact(self) -> None:
        self.keyspace.compact()
        self.kept()

    def checkpoint(self, name: str | None = None, **options: object) -> str:
        """What is written while it is taken may be in it: only itself can tell."""
        name = name or f"checkpoint {len(self.checkpoints)}"
        self.checkpoints[name] = -1
        self.keyspace.backup_to(self.root / name, **options)
        self.mark(f"taken {name}")
        return name

    def close(self) -> None:
        settle(self.keyspace)
        self.keyspace.close()
        self.kept()

    def reopen(self) -> None:
        self.close()
        self.open()

    def die_and_reopen(self) -> None:
        """As after SIGKILL: what was written is in the system's page cache, and nothing more is done."""
        abandon(self.keyspace)
        self.open()

    def act(self) -> None:
        """Something that touches files, by chance."""
        self.chance.choice(
            (
                self.persist,
                self.flush,
                self.compact,
                self.checkpoint,
                lambda: settle(self.keyspace),
                self.keyspace._engine.store.start_manifest,
            )
        )()

    # ---- copies of a keyspace that is left alone meanwhile: what is in them is known ----

    def _copy(self, name: str, state: int, make: Callable[[], object]) -> str:
        self.checkpoints[name] = state
        make()
        self.mark(f"taken {name}")
        return name

    def quiet_checkpoint(self, name: str, **options: object) -> str:
        state = state_of(self.history.content)
        return self._copy(name, state, lambda: self.keyspace.backup_to(self.root / name, **options))

    def restore(self, source: str, name: str, **options: object) -> str:
        return self._copy(
            name,
            self.checkpoints[source],
            lambda: fjeld.restore(self.root / source, self.root / name, **options),
        )

    def restore_over(self, source: str, content: Content, **options: object) -> None:
        """The checkpoint, which holds `content`, takes the place of the keyspace. That one is kept aside."""
        self.close()
        self.mark(f"aside {self.history.length}")
        self._operation(
            content,
            lambda: fjeld.restore(self.root / source, self.path, replace=True, **options),
            kept=True,
        )
        self.open()

    def discard_replaced(self) -> None:
        self.mark("aside -1")
        fjeld.discard_replaced(self.path)

    def export(self, name: str) -> str:
        """Its name begins with `export`."""
        state = state_of(self.history.content)
        return self._copy(name, state, lambda: self.keyspace.export_to(self.root / name, compression="none"))

    def import_from(self, source: str, name: str) -> str:
        return self._copy(
            name,
            self.checkpoints[source],
            lambda: fjeld.import_from(self.root / source, self.root / name),
        )

    def take(self, folder: fjeld.CheckpointFolder, **options: object) -> None:
        """Into a folder of checkpoints; its name is known when it is there."""
        state = state_of(self.history.content)
        name = f"{folder.path.name}/{folder.take(self.keyspace, **options).path.name}"
        self.checkpoints[name] = state
        self.mark(f"taken {name.replace('/', FOLDER)}")

    def expire(self, folder: fjeld.CheckpointFolder, policy: fjeld.RetentionPolicy) -> None:
        doomed = [
            f"{folder.path.name}{FOLDER}{info.path.name}"
            for info in folder.expire(policy, dry_run=True).removed
        ]
        for name in doomed:
            self.mark(f"going {name}")
        folder.expire(policy)
        for name in doomed:
            self.mark(f"gone {name}")

    def learn(self) -> None:
        """After the end: from each checkpoint of which it is not known, what is in it."""
        for name in self.checkpoints:
            if self.checkpoints[name] != -1:
                continue
            with fjeld.open(self.root / name) as keyspace:
                state = state_of(content_of(keyspace))
                lengths = self.history.states.get(state)
            assert lengths, f"{name} holds what never was"
            self.checkpoints[name] = state


class SeparatedLife(Life):
    """Most of what lies in blob files is soon garbage, and collected."""

    partition_options = SMALL_SEPARATED

    def value_bytes(self) -> int:
        """Some lie in the journal, and the memtable points to them; some are written there by a call of their own."""
        return self.chance.choice((0, 0, 0, 0, 0, 0, 1024, 2048)) + self.chance.randrange(1, 400)


class TransactionalLife(Life):
    """Of a TxKeyspace; every batch is a transaction."""

    open_as = staticmethod(fjeld.open_tx)
    write_as = Life.transaction


class OptimisticLife(TransactionalLife):
    open_as = staticmethod(fjeld.open_optimistic_tx)


Recording = tuple[list[Event], History, dict[str, int]]
