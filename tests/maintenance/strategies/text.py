"""Partitions, jobs and choices as text.

`L1: 5:a-f 6:g-m=30@7` is a level with table 5 (keys a to f, 10 KiB, made at second 0) and table 6 (keys g to m,
30 KiB, made at second 7). The seqno of a table is a thousand times its number: higher numbers are newer.
"""

from __future__ import annotations

import dataclasses

from fjeld.maintenance.strategies import Choice, Drop, Job, Merge, Move, Nothing
from fjeld.manifest.edit import ChangeTables, CreatePartition, Edit
from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.manifest.version import Version
from fjeld.options import LEVELS, Fifo, Leveled, PartitionOptions, SizeTiered

KIB = 1024
SECOND = 1_000_000_000
DEFAULT_KIB = 10

# Small, so that a few tables are many. In KiB: level 1 may hold 20, level 2 100, level 3 500.
OPTIONS = {
    "leveled": Leveled(level0_runs=3, level_ratio=5, level1_bytes=20 * KIB, table_bytes=10 * KIB),
    "size_tiered": SizeTiered(min_runs=3, max_runs=6, size_ratio=2, max_space_amplification=4),
    "fifo": Fifo(max_bytes=50 * KIB, max_age_seconds=100),
}


def table(text: str) -> TableMeta:
    number, _, rest = text.partition(":")
    rest, _, created = rest.partition("@")
    keys, _, size = rest.partition("=")
    smallest, _, largest = keys.partition("-")
    return TableMeta(
        number=int(number),
        size_bytes=int(size or DEFAULT_KIB) * KIB,
        xxh128="0" * 32,
        entries=1,
        tombstones=0,
        weak_tombstones=0,
        min_seqno=1000 * int(number),
        max_seqno=1000 * int(number),
        smallest=smallest.encode(),
        largest=largest.encode(),
        raw_bytes=1,
        blocks=1,
        created_ns=int(created or 0) * SECOND,
    )


def partition(lines: list[str], strategy: str) -> PartitionState:
    levels = [()] * LEVELS
    for line in lines:
        level, _, tables = line.partition(":")
        levels[int(level.removeprefix("L"))] = tuple(table(word) for word in tables.split())
    options = PartitionOptions(compaction=OPTIONS[strategy])
    state = PartitionState(id=1, name="p", options=options, levels=tuple(levels))
    assert not list(state.problems())
    return state


def show_table(meta: TableMeta) -> str:
    size = meta.size_bytes // KIB
    return (
        f"{meta.number}:{meta.smallest.decode()}-{meta.largest.decode()}"
        + (f"={size}" if size != DEFAULT_KIB else "")
        + (f"@{meta.created_ns // SECOND}" if meta.created_ns else "")
    )


def show_state(state: PartitionState) -> list[str]:
    return [
        f"L{level}: {' '.join(map(show_table, tables))}"
        for level, tables in enumerate(state.levels)
        if tables
    ]


def show(choice: Choice) -> str:
    if isinstance(choice, Nothing):
        return "nothing"
    inputs = " ".join(f"{level}/{number}" for level, number in choice.inputs)
    if isinstance(choice, Drop):
        return f"drop {inputs}"
    keys = f"to {choice.output_level} {choice.smallest.decode()}-{choice.largest.decode()}"
    if isinstance(choice, Move):
        return f"move {inputs} {keys}"
    splits = f" split {' '.join(key.decode() for key in choice.split_keys)}" if choice.split_keys else ""
    return f"merge {inputs} {keys}{splits}{' without tombstones' if choice.drop_tombstones else ''}"


def job(text: str) -> Job:
    """As `show` writes it; splits and tombstones left out."""
    words = text.split()
    to = words.index("to") if "to" in words else len(words)
    inputs = tuple((int(level), int(number)) for level, number in (word.split("/") for word in words[1:to]))
    if words[0] == "drop":
        return Drop(inputs=inputs)
    smallest, _, largest = words[to + 2].partition("-")
    common = {
        "inputs": inputs,
        "output_level": int(words[to + 1]),
        "smallest": smallest.encode(),
        "largest": largest.encode(),
    }
    if words[0] == "move":
        return Move(**common)
    return Merge(**common, table_bytes=10 * KIB, drop_tombstones=False)


def after(state: PartitionState, done: Job) -> PartitionState:
    """The partition once the job is done: tables are joined without loss, and cut at the split keys."""
    inputs = [meta for meta in state.tables() if meta.number in {number for _, number in done.inputs}]
    added = []
    if isinstance(done, Move):
        added = inputs
    elif isinstance(done, Merge):
        added = _merged(state, done, inputs)
    change = ChangeTables(
        1, added=tuple((getattr(done, "output_level", 0), meta) for meta in added), removed=done.inputs
    )
    version = Version(id="00000000-0000-4000-8000-000000000000").apply(
        Edit.of(
            CreatePartition(1, "p", state.options),
            ChangeTables(
                1, added=tuple((level, meta) for level, found in enumerate(state.levels) for meta in found)
            ),
            change,
        )
    )
    version.check()
    return version.partitions[1]


def _merged(state: PartitionState, merge: Merge, inputs: list[TableMeta]) -> list[TableMeta]:
    edges = sorted({meta.smallest for meta in inputs} | {meta.largest for meta in inputs})
    parts: list[list[bytes]] = [[]]
    for edge in edges:
        if any(parts[-1] and parts[-1][-1] < key <= edge for key in merge.split_keys):
            parts.append([])
        parts[-1].append(edge)
    number = max(meta.number for meta in state.tables())
    size_bytes = sum(meta.size_bytes for meta in inputs) // len(parts)
    return [
        dataclasses.replace(
            inputs[0],
            number=number + 1 + at,
            size_bytes=size_bytes,
            smallest=part[0],
            largest=part[-1],
            min_seqno=min(meta.min_seqno for meta in inputs),
            max_seqno=max(meta.max_seqno for meta in inputs),
            created_ns=max(meta.created_ns for meta in inputs),
        )
        for at, part in enumerate(parts)
    ]
