"""Any sequence of operations on a keyspace against a few dicts.

The model of a partition is a dict; a snapshot, an iterator and a checkpoint are copies of it. Memtables,
blocks, tables and levels are tiny, so that flushes and compactions go on all the time. FJELD_LONG=1 runs it
for many minutes.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import fjeld
from tests.small import KIB, SMALL_PARTITION, small_options

LONG = os.environ.get("FJELD_LONG") == "1"

NAMES = ["a", "b", "c"]
# Levels and runs so small that a few hundred entries make a deep tree. Nothing grows old or too large for FIFO.
COMPACTIONS: dict[str, fjeld.Leveled | fjeld.SizeTiered | fjeld.Fifo] = {
    "leveled": fjeld.Leveled(level0_runs=1, level_ratio=2, level1_bytes=KIB, table_bytes=KIB),
    "size_tiered": fjeld.SizeTiered(min_runs=2, max_runs=3),
    "fifo": fjeld.Fifo(max_age_seconds=1e9),
}


def options_by_name(strategy: str) -> dict[str, fjeld.PartitionOptions | None]:
    compaction = COMPACTIONS[strategy]
    return {
        "a": fjeld.PartitionOptions(compaction=compaction, block_bytes=256),
        "b": fjeld.PartitionOptions(compaction=compaction, compression=("none",), filter_bits=0),
        "c": SMALL_PARTITION if strategy == "leveled" else None,
    }


DEFAULT = fjeld.PartitionOptions()

# Few keys, many versions of each; keys that are prefixes of others, and extremes.
keys = st.sampled_from(
    [
        b"",
        b"\x00",
        b"a",
        b"a\x00",
        b"aa",
        b"ab",
        b"b",
        b"ba",
        b"key",
        b"key/1",
        b"key/2",
        b"z",
        b"\xff",
        b"\xff\xff",
    ]
) | st.integers(0, 299).map(lambda i: b"bulk/%04d" % i)
values = st.sampled_from([b"", b"v", b"w" * 100, b"large" * 2000]) | st.binary(max_size=40)
names = st.sampled_from(NAMES)
bounds = st.none() | keys


@dataclass
class Contents:
    """One partition: what is in it, and which keys may not be removed weakly any more."""

    state: dict[bytes, bytes] = field(default_factory=dict)

    def insert(self, key: bytes, value: bytes) -> None:
        self.state[key] = value

    def remove(self, key: bytes) -> None:
        self.state.pop(key, None)


def in_order(state: dict[bytes, bytes], *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
    return sorted(state.items(), reverse=reverse)


@dataclass
class OpenSnapshot:
    """A snapshot and what it must show for ever; of dropped partitions it shows nothing any more."""

    snapshot: fjeld.Snapshot
    states: dict[str, dict[bytes, bytes]]
    digest: str
    dropped: set[str] = field(default_factory=set)


@dataclass
class OpenIterator:
    name: str
    iterator: Iterator[tuple[bytes, bytes]]
    rest: list[tuple[bytes, bytes]]
    ended: bool = False


class KeyspaceMachine(RuleBasedStateMachine):
    strategy = "leveled"

    def __init__(self) -> None:
        super().__init__()
        self.options_by_name = options_by_name(self.strategy)
        self.folder = Path(tempfile.mkdtemp(prefix="fjeld-model-"))
        self.path = self.folder / "keyspace"
        self.contents: dict[str, Contents] = {}
        self.objects: dict[str, fjeld.Partition] = {}
        self.snapshots: list[OpenSnapshot] = []
        self.iterators: list[OpenIterator] = []
        self.checkpoints: list[tuple[Path, str]] = []
        self.numbers = 0
        self.seqno = 0

    @initialize(
        memtable=st.sampled_from([4096, 8192, 1 << 16]),
        journal=st.sampled_from([8192, 1 << 16]),
        mapped=st.booleans(),
        cache=st.sampled_from([0, 4096, 1 << 20]),
        workers=st.integers(1, 2),
    )
    def open(self, memtable: int, journal: int, mapped: bool, cache: int, workers: int) -> None:
        self.options = small_options(
            memtable_bytes=memtable,
            journal_bytes=journal,
            mapped_journal=mapped,
            cache_bytes=cache,
            workers=workers,
        )
        self.ks = fjeld.open(self.path, options=self.options)
        for name in ("a", "b"):
            self.create(name)

    def next_path(self, kind: str) -> Path:
        self.numbers += 1
        return self.folder / f"{kind}{self.numbers}"

    # ---- the catalogue ----

    @rule(name=names)
    def create(self, name: str) -> None:
        self.objects[name] = self.ks.partition(name, options=self.options_by_name[name])
        self.contents.setdefault(name, Contents())

    @rule(name=names)
    def drop(self, name: str) -> None:
        if name not in self.contents:
            with pytest.raises(KeyError):
                self.ks.drop_partition(name)
            return
        self.ks.drop_partition(name)
        del self.contents[name]
        gone = self.objects.pop(name)
        with pytest.raises(fjeld.ClosedError):
            gone.get(b"key")
        for opened in self.snapshots:
            opened.dropped.add(name)
        self.iterators = [opened for opened in self.iterators if opened.name != name]

    @rule(name=names)
    def clear(self, name: str) -> None:
        if name in self.contents:
            self.objects[name].clear()
            self.contents[name] = Contents()

    # ---- writing ----

    @rule(name=names, key=keys, value=values)
    def insert(self, name: str, key: bytes, value: bytes) -> None:
        if name in self.contents:
            self.objects[name].insert(key, value)
            self.contents[name].insert(key, value)
            self.seqno += 1

    @rule(name=names, key=keys)
    def remove(self, name: str, key: bytes) -> None:
        if name in self.contents:
            self.objects[name].remove(key)
            self.contents[name].remove(key)
            self.seqno += 1

    @rule(name=names, key=keys)
    def delete(self, name: str, key: bytes) -> None:
        if name in self.contents:
            if key in self.contents[name].state:
                del self.objects[name][key]
                self.contents[name].remove(key)
                self.seqno += 1
            else:
                with pytest.raises(KeyError):
                    del self.objects[name][key]

    @rule(name=names, number=st.integers(0, 3), value=values)
    def toggle(self, name: str, number: int, value: bytes) -> None:
        """Keys that are only inserted once and removed weakly, in turns."""
        if name in self.contents:
            key = b"toggle/%d" % number
            if key in self.contents[name].state:
                self.objects[name].remove_weak(key)
                self.contents[name].remove(key)
            else:
                self.objects[name].insert(key, value)
                self.contents[name].insert(key, value)
            self.seqno += 1

    @rule(
        name=names,
        start=st.integers(0, 250),
        count=st.integers(10, 150),
        value=values,
        descending=st.booleans(),
    )
    def bulk(self, name: str, start: int, count: int, value: bytes, descending: bool) -> None:
        if name in self.contents:
            chosen = [(b"bulk/%04d" % i, value[:200]) for i in range(start, start + count)]
            self.objects[name].insert_many(reversed(chosen) if descending else chosen)
            for key, written in chosen:
                self.contents[name].insert(key, written)
            self.seqno += count

    @rule(
        operations=st.lists(st.tuples(names, st.booleans(), keys, values), max_size=12),
        outcome=st.sampled_from(["commit", "commit", "commit", "discard", "raise"]),
    )
    def batch(self, operations: list, outcome: str) -> None:
        operations = [operation for operation in operations if operation[0] in self.contents]
        try:
            with self.ks.batch() as batch:
                for name, inserts, key, value in operations:
                    if inserts:
                        batch.insert(self.objects[name], key, value)
                    else:
                        batch.remove(self.objects[name], key)
                if outcome == "raise":
                    raise InterruptedError
                if outcome == "discard":
                    batch.discard()
        except InterruptedError:
            pass
        if outcome == "commit":
            for name, inserts, key, value in operations:
                if inserts:
                    self.contents[name].insert(key, value)
                else:
                    self.contents[name].remove(key)
            self.seqno += len(operations)

    # ---- reading ----

    @rule(name=names, probes=st.lists(keys, max_size=10))
    def get(self, name: str, probes: list[bytes]) -> None:
        if name in self.contents:
            self.check_gets(self.objects[name], self.contents[name].state, probes)

    def check_gets(self, reader: fjeld.Partition, state: dict[bytes, bytes], probes: list[bytes]) -> None:
        assert reader.get_many(probes) == [state.get(key) for key in probes]
        for key in probes:
            assert reader.get(key) == state.get(key)
            assert reader.get(key, b"none") == state.get(key, b"none")
            assert (key in reader) == (key in state)
            assert reader.size_of(key) == (len(state[key]) if key in state else None)

    @rule(
        name=names,
        start=bounds,
        stop=bounds,
        with_start=st.booleans(),
        with_stop=st.booleans(),
        reverse=st.booleans(),
    )
    def range(
        self,
        name: str,
        start: bytes | None,
        stop: bytes | None,
        with_start: bool,
        with_stop: bool,
        reverse: bool,
    ) -> None:
        if name in self.contents:
            found = self.objects[name].range(
                start, stop, include_start=with_start, include_stop=with_stop, reverse=reverse
            )
            assert list(found) == [
                (key, value)
                for key, value in in_order(self.contents[name].state, reverse=reverse)
                if (start is None or key > start or (with_start and key == start))
                and (stop is None or key < stop or (with_stop and key == stop))
            ]

    @rule(name=names, prefix=keys, reverse=st.booleans())
    def prefix(self, name: str, prefix: bytes, reverse: bool) -> None:
        if name in self.contents:
            assert list(self.objects[name].prefix(prefix, reverse=reverse)) == [
                (key, value)
                for key, value in in_order(self.contents[name].state, reverse=reverse)
                if key.startswith(prefix)
            ]

    @rule(name=names)
    def ends_and_sizes(self, name: str) -> None:
        if name in self.contents:
            partition, entries = self.objects[name], in_order(self.contents[name].state)
            assert partition.first() == (entries[0] if entries else None)
            assert partition.last() == (entries[-1] if entries else None)
            assert len(partition) == len(entries)
            assert partition.is_empty() == (not entries) == (not partition)
            assert partition.approximate_len() >= 0
            assert list(partition) == [key for key, _ in entries]
            assert list(partition.values()) == [value for _, value in entries]
            assert list(reversed(partition.items())) == entries[::-1]

    @rule(
        name=names,
        start=bounds,
        stop=bounds,
        walk=st.lists(
            st.tuples(st.sampled_from(["seek", "seek_for_prev", "next", "prev"]), keys), max_size=20
        ),
    )
    def cursor(self, name: str, start: bytes | None, stop: bytes | None, walk: list) -> None:
        if name not in self.contents:
            return
        entries = [
            (key, value)
            for key, value in in_order(self.contents[name].state)
            if (start is None or key >= start) and (stop is None or key < stop)
        ]
        there = [key for key, _ in entries]
        at = -1
        with self.objects[name].cursor(start=start, stop=stop) as cursor:
            for step, key in walk:
                if step == "seek":
                    at, stands = bisect_left(there, key), cursor.seek(key)
                elif step == "seek_for_prev":
                    at, stands = bisect_right(there, key) - 1, cursor.seek_for_prev(key)
                elif step == "next":
                    at, stands = min(at + 1, len(there)), cursor.next()
                else:
                    at, stands = max(at - 1, -1), cursor.prev()
                assert stands == cursor.valid == (0 <= at < len(there))
                if stands:
                    assert (cursor.key, cursor.value) == entries[at]

    # ---- what lives on while the keyspace changes ----

    def states(self) -> dict[str, dict[bytes, bytes]]:
        return {name: dict(contents.state) for name, contents in self.contents.items()}

    @precondition(lambda self: len(self.snapshots) < 4)
    @rule()
    def open_snapshot(self) -> None:
        snapshot = self.ks.snapshot()
        assert snapshot.seqno == self.ks.seqno == self.seqno
        self.snapshots.append(OpenSnapshot(snapshot, self.states(), self.ks.digest(snapshot=snapshot)))

    @precondition(lambda self: self.snapshots)
    @rule(which=st.integers(0, 3), probes=st.lists(keys, max_size=5), reverse=st.booleans())
    def read_snapshot(self, which: int, probes: list[bytes], reverse: bool) -> None:
        opened = self.snapshots[which % len(self.snapshots)]
        assert opened.snapshot.partitions() == sorted(opened.states)
        for name, state in opened.states.items():
            if name in opened.dropped:
                with pytest.raises(fjeld.ClosedError):
                    opened.snapshot.partition(name).get(b"key")
                continue
            view = opened.snapshot.partition(name)
            assert list(view.range(reverse=reverse)) == in_order(state, reverse=reverse)
            assert len(view) == len(state)
            self.check_gets(view, state, probes)
        for name in set(NAMES) - opened.states.keys():
            with pytest.raises(KeyError):
                opened.snapshot.partition(name)
        if not opened.dropped & opened.states.keys():
            assert self.ks.digest(snapshot=opened.snapshot) == opened.digest

    @precondition(lambda self: self.snapshots)
    @rule(which=st.integers(0, 3), forget=st.booleans())
    def close_snapshot(self, which: int, forget: bool) -> None:
        opened = self.snapshots.pop(which % len(self.snapshots))
        if not forget:
            opened.snapshot.close()
            with pytest.raises(fjeld.ClosedError):
                opened.snapshot.partitions()

    @precondition(lambda self: len(self.iterators) < 4)
    @rule(name=names, reverse=st.booleans(), of_snapshot=st.booleans())
    def open_iterator(self, name: str, reverse: bool, of_snapshot: bool) -> None:
        if name in self.contents:
            if of_snapshot:
                iterator = (
                    self.ks.snapshot().partition(name).range(reverse=reverse)
                )  # keeps the snapshot open
            else:
                iterator = self.objects[name].range(reverse=reverse)
            rest = in_order(self.contents[name].state, reverse=reverse)
            self.iterators.append(OpenIterator(name, iterator, rest))

    @precondition(lambda self: self.iterators)
    @rule(which=st.integers(0, 3), count=st.integers(0, 60))
    def advance_iterator(self, which: int, count: int) -> None:
        opened = self.iterators[which % len(self.iterators)]
        for _ in range(count):
            expected = opened.rest.pop(0) if opened.rest else None
            opened.ended = expected is None
            assert next(opened.iterator, None) == expected

    @precondition(lambda self: self.iterators)
    @rule(which=st.integers(0, 3))
    def drop_iterator(self, which: int) -> None:
        self.iterators.pop(which % len(self.iterators))

    # ---- maintenance ----

    @rule(name=names)
    def flush(self, name: str) -> None:
        if name in self.contents:
            self.objects[name].flush()
            assert self.objects[name].stats()["memtable_entries"] == 0

    @rule(name=names)
    def compact(self, name: str) -> None:
        if name in self.contents:
            self.objects[name].compact()
            runs = self.objects[name].stats()["levels"][0]["tables"]
            if isinstance(self.objects[name].options.compaction, fjeld.Leveled):
                assert runs == 0
            elif isinstance(self.objects[name].options.compaction, fjeld.SizeTiered):
                assert runs <= 1

    @rule()
    def flush_all(self) -> None:
        self.ks.flush()

    @rule(mode=st.sampled_from(fjeld.PersistMode))
    def persist(self, mode: fjeld.PersistMode) -> None:
        self.ks.persist(mode)
        if mode is not fjeld.PersistMode.BUFFER:
            assert self.ks.stats()["persisted_seqno"] == self.seqno

    # ---- the end, and after it ----

    @rule(collect=st.booleans())
    def reopen(self, collect: bool) -> None:
        digest = self.ks.digest()
        self.ks.close()
        for opened in self.snapshots:
            with pytest.raises(fjeld.ClosedError):
                opened.snapshot.partitions()
        for iterating in self.iterators:
            with pytest.raises(StopIteration if iterating.ended else fjeld.ClosedError):
                next(iterating.iterator)
        self.snapshots.clear()
        self.iterators.clear()
        if collect:
            gc.collect()
        self.ks = fjeld.open(self.path, options=self.options, create=False)
        self.objects = {name: self.ks.partition(name, create=False) for name in self.contents}
        self.compare(self.ks)
        assert self.ks.digest() == digest

    @rule(again=st.booleans())
    def open_what_a_killed_process_leaves(self, again: bool) -> None:
        self.ks._engine.maintainer.wait_idle()  # else files would change between two that are copied
        copy = self.next_path("killed")
        shutil.copytree(self.path, copy)
        for _ in range(2 if again else 1):
            with fjeld.open(copy, options=self.options, create=False) as ks:
                assert ks.id == self.ks.id
                self.compare(ks)
                assert ks.digest() == self.ks.digest()
        shutil.rmtree(copy)

    def compare(self, ks: fjeld.Keyspace) -> None:
        assert ks.partitions() == sorted(self.contents)
        assert ks.seqno == self.seqno
        for name, contents in self.contents.items():
            partition = ks.partition(name, create=False)
            assert list(partition.items()) == in_order(contents.state)
            assert partition.options == (self.options_by_name[name] or DEFAULT)

    @precondition(lambda self: len(self.checkpoints) < 4)
    @rule(flush=st.booleans(), link=st.sampled_from(["auto", "auto", "never"]), compact=st.booleans())
    def backup(self, flush: bool, link: str, compact: bool) -> None:
        target = self.next_path("checkpoint")
        info = self.ks.backup_to(target, flush=flush, link=link, compact=compact, with_snapshot=True)
        assert info.seqno == info.snapshot.seqno == self.seqno
        assert info.partitions == tuple(sorted(self.contents))
        digest = self.ks.digest(snapshot=info.snapshot)
        assert digest == self.ks.digest()
        with fjeld.open(target, options=self.options, create=False) as copy:
            assert copy.parent == (self.ks.id, info.seqno)
            assert copy.id == info.id != self.ks.id
            self.compare(copy)
            assert copy.digest() == digest
        self.snapshots.append(OpenSnapshot(info.snapshot, self.states(), digest))
        self.checkpoints.append((target, digest))

    @precondition(lambda self: self.contents)
    @rule(data=st.data(), start=keys | st.none(), stop=keys | st.none(), compact=st.booleans())
    def backup_of_a_part(self, data: Any, start: bytes | None, stop: bytes | None, compact: bool) -> None:
        names = data.draw(st.lists(st.sampled_from(sorted(self.contents)), min_size=1, unique=True))
        target = self.next_path("part")
        try:
            self.ks.backup_to(target, partitions=names, key_range=(start, stop), compact=compact, verify=True)
        except ValueError:
            assert stop is not None
            assert (start or b"") >= stop
            return
        with fjeld.open(target, options=self.options, create=False) as copy:
            assert copy.partitions() == sorted(names)
            for name in names:
                inside = {
                    key: value
                    for key, value in self.contents[name].state.items()
                    if (start is None or start <= key) and (stop is None or key < stop)
                }
                assert list(copy.partition(name).items()) == in_order(inside)
        shutil.rmtree(target)

    @precondition(lambda self: self.checkpoints)
    @rule(which=st.integers(0, 3), key=keys, clear=st.booleans())
    def write_to_a_checkpoint(self, which: int, key: bytes, clear: bool) -> None:
        """Neither the source nor any other checkpoint is touched: they are compared later."""
        target, digest = self.checkpoints.pop(which % len(self.checkpoints))
        with fjeld.open(target, options=self.options, create=False) as copy:
            assert copy.digest() == digest
            for name in copy.partitions():
                partition = copy.partition(name)
                partition[key] = b"written to a checkpoint"
                partition.insert_many((b"bulk/%04d" % i, b"checkpoint") for i in range(200))
                if clear:
                    partition.clear()
            copy.compact()

    # ---- always ----

    @invariant()
    def all_is_sound(self) -> None:
        if hasattr(self, "ks"):
            self.ks._engine.store.version.check()
            assert self.ks.seqno == self.seqno
            assert self.ks.stats()["failure"] is None

    def teardown(self) -> None:
        try:
            if hasattr(self, "ks"):
                self.compare(self.ks)
                for opened in self.snapshots:
                    for name in opened.states.keys() - opened.dropped:
                        assert list(opened.snapshot.partition(name).items()) == in_order(opened.states[name])
                self.snapshots.clear()
                self.iterators.clear()
                self.ks.close()
                for target, digest in self.checkpoints:
                    with fjeld.open(target, create=False) as copy:
                        assert copy.digest() == digest
                with fjeld.open(self.path, create=False) as ks:
                    self.compare(ks)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class SizeTieredMachine(KeyspaceMachine):
    strategy = "size_tiered"


class FifoMachine(KeyspaceMachine):
    strategy = "fifo"


TestLeveled = KeyspaceMachine.TestCase
TestSizeTiered = SizeTieredMachine.TestCase
TestFifo = FifoMachine.TestCase
for case in (TestLeveled, TestSizeTiered, TestFifo):
    case.settings = settings(
        max_examples=2000 if LONG else 25,
        stateful_step_count=80 if LONG else 40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
