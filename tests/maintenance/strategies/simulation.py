"""A partition to which tables are flushed, with jobs that start and end in any order."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable

from fjeld.maintenance.strategies import Drop, Job, Merge, Move, Nothing, choose, clash, drop_range, major
from fjeld.manifest.edit import ChangeTables, CreatePartition, Edit
from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.manifest.version import Version
from fjeld.options import CompactionOptions, Fifo, PartitionOptions, SizeTiered
from tests.maintenance.strategies.text import SECOND, table

KEYS = 200


class Simulation:
    """Each key knows the seqno of its newest write, every table which (key, seqno) it holds.

    A choice is wrong if it breaks the invariants of the version, clashes with a job that runs, or makes a
    read find an older entry before a newer one. What was dropped is found no more, or not at all.
    """

    def __init__(self, options: CompactionOptions, chance: random.Random) -> None:
        self.options = options
        self.chance = chance
        self.version = Version(id="0" * 8 + "-0000-4000-8000-" + "0" * 12).apply(
            Edit.of(CreatePartition(1, "p", PartitionOptions(compaction=options)))
        )
        self.numbers = itertools.count(1)
        self.seqnos = itertools.count(1)
        self.entries: dict[int, dict[bytes, int]] = {}
        self.newest: dict[bytes, int] = {}
        self.running: list[Job] = []
        self.now = 0
        self.merged = 0

    @property
    def state(self) -> PartitionState:
        return self.version.partitions[1]

    def table(self, entries: dict[bytes, int], created_ns: int) -> TableMeta:
        number = next(self.numbers)
        keys = sorted(entries)
        self.entries[number] = entries
        return dataclasses.replace(
            table(f"{number}:a-b={len(keys)}"),
            smallest=keys[0],
            largest=keys[-1],
            min_seqno=min(entries.values()),
            max_seqno=max(entries.values()),
            created_ns=created_ns,
        )

    def flush(self) -> None:
        width = self.chance.choice([3, 10, KEYS])
        start = self.chance.randrange(KEYS)
        entries = {}
        for _ in range(self.chance.randrange(1, 6)):
            key = b"%03d" % min(KEYS - 1, start + self.chance.randrange(width))
            entries[key] = self.newest[key] = next(self.seqnos)
        self.now += 1
        self.apply(ChangeTables(1, added=((0, self.table(entries, self.now * SECOND)),)))

    def choose(self) -> Job | None:
        choice = choose(self.state, self.running, self.now * SECOND)
        return None if isinstance(choice, Nothing) else choice

    def start(self) -> None:
        """Start a job, if there is one. A merge of everything is thrown in: it is the one that spans gaps."""
        if not self.running and self.chance.random() < 0.2:
            choice = major(self.state)
            job = None if isinstance(choice, Nothing) else choice
        else:
            job = self.choose()
        if job is not None:
            self.begin(job)

    def begin(self, job: Job) -> None:
        assert not any(clash(job, other) for other in self.running)
        numbers = {(level, meta.number) for level, found in enumerate(self.state.levels) for meta in found}
        assert set(job.inputs) <= numbers
        assert len(set(job.inputs)) == len(job.inputs) > 0
        self.running.append(job)

    def drop_range(self) -> None:
        start = self.chance.randrange(KEYS)
        stop = start + self.chance.randrange(40)
        choice = drop_range(self.state, self.running, b"%03d" % start, b"%03d" % stop, ())
        if isinstance(choice, Drop):
            self.begin(choice)

    def finish(self) -> None:
        if self.running:
            self.carry_out(self.running.pop(self.chance.randrange(len(self.running))))

    def carry_out(self, job: Job) -> None:
        tables = {meta.number: meta for meta in self.state.tables()}
        inputs = [tables[number] for _, number in job.inputs]
        if isinstance(job, Drop):
            self.apply(ChangeTables(1, removed=job.inputs))
            return
        added = inputs if isinstance(job, Move) else self.merge(job, inputs)
        self.apply(
            ChangeTables(1, added=tuple((job.output_level, meta) for meta in added), removed=job.inputs)
        )

    def merge(self, merge: Merge, inputs: list[TableMeta]) -> list[TableMeta]:
        self.merged += 1
        merged: dict[bytes, int] = {}
        for meta in inputs:
            for key, seqno in self.entries[meta.number].items():
                merged[key] = max(seqno, merged.get(key, 0))
        created_ns = max(meta.created_ns for meta in inputs)
        # Cut anywhere: an output table may span any gap of the job's range. A run of level 0 is one table.
        keys = sorted(merged)
        parts = _cut(keys, self.chance.randrange(1, 4)) if merge.output_level else [keys]
        return [self.table({key: merged[key] for key in part}, created_ns) for part in parts]

    def apply(self, change: ChangeTables) -> None:
        self.version = self.version.apply(Edit.of(change))
        self.version.check()

    def rest(self, most: int) -> None:
        """Without writes there is an end."""
        while self.running:
            self.finish()
        for _ in range(most):
            job = self.choose()
            if job is None:
                return
            self.begin(job)
            self.finish()
        raise AssertionError("the strategy goes on for ever")

    def check_reads(self) -> None:
        for key, newest in self.newest.items():
            found = self.read(key)
            assert found == newest or (found is None and isinstance(self.options, Fifo)), key

    def read(self, key: bytes) -> int | None:
        for tables in self.state.levels:
            for meta in tables:
                if key in self.entries[meta.number]:
                    return self.entries[meta.number][key]
        return None

    @property
    def steps(self) -> dict[str, Callable[[], None]]:
        return {"flush": self.flush, "start": self.start, "finish": self.finish}


def _cut(keys: list[bytes], count: int) -> list[list[bytes]]:
    size = -(-len(keys) // count)
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def at_rest(state: PartitionState, options: CompactionOptions) -> bool:
    """What a strategy promises of a partition to which nobody writes."""
    runs = state.levels[0]
    if isinstance(options, SizeTiered):
        return len(runs) <= options.max_runs
    if isinstance(options, Fifo):
        return sum(meta.size_bytes for meta in runs) <= options.max_bytes
    sizes = [sum(meta.size_bytes for meta in found) for found in state.levels]
    full = [sizes[level] >= options.target_bytes(level) for level in range(1, len(sizes) - 1)]
    return len(runs) < options.level0_runs and not any(full)
