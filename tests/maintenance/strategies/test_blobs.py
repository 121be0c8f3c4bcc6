"""Collection of blob files: which, and by which merges; and that nothing is lost in any interleaving with others."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.maintenance.strategies import Merge, Nothing, choose, major
from fjeld.maintenance.strategies.blobs import FILES_AT_ONCE, collect, joined, stale, uncollected, wasteful
from fjeld.manifest.blob_meta import BLOB_FIXED_BYTES, BlobMeta
from fjeld.manifest.edit import ChangeTables, CreatePartition, Edit
from fjeld.manifest.state import PartitionState, TableMeta
from fjeld.manifest.version import Version
from fjeld.options import KvSeparation, PartitionOptions, SizeTiered
from tests.maintenance.strategies.simulation import Simulation
from tests.maintenance.strategies.test_properties import compactions, steps
from tests.maintenance.strategies.text import OPTIONS, partition, show

RECORD_BYTES = 100


def blob(number: int, entries: int) -> BlobMeta:
    return BlobMeta(
        number=number,
        size_bytes=BLOB_FIXED_BYTES + RECORD_BYTES * entries,
        xxh128="0" * 32,
        entries=entries,
        raw_bytes=80 * entries,
        stored_bytes=76 * entries,
        created_ns=0,
    )


def state(
    lines: list[str], strategy: str, points: dict[int, str], sizes: dict[int, int], **options: float
) -> PartitionState:
    """points: by table, "91*3 92" is three records of blob file 91 and one of 92; sizes: records by blob file."""
    made = partition(lines, strategy)

    def pointing(table: TableMeta) -> TableMeta:
        words = (word.partition("*") for word in points.get(table.number, "").split())
        found = tuple((int(n), int(count or 1), RECORD_BYTES * int(count or 1)) for n, _, count in words)
        return dataclasses.replace(table, blobs=found)

    chosen = {"garbage_ratio": 0.5, "file_size_bytes": 1024} | options
    made = dataclasses.replace(
        made,
        options=dataclasses.replace(made.options, kv_separation=KvSeparation(**chosen)),  # type: ignore[arg-type]
        levels=tuple(tuple(map(pointing, tables)) for tables in made.levels),
        blobs=tuple(blob(number, entries) for number, entries in sorted(sizes.items())),
    )
    assert not list(made.problems())
    return made


LEVELS = ["L0: 9:a-z 8:c-d", "L1: 1:a-c=1 2:d-f=1 3:g-i=1 4:j-l=1 5:m-o=1"]


def test_a_file_is_stale_from_its_share_of_garbage_on() -> None:
    made = state(LEVELS, "leveled", {1: "91*4 92*6", 2: "91 92*4", 3: "93"}, {91: 10, 92: 19, 93: 1})
    assert stale(made) == {91}
    assert wasteful(made) == {91, 92}


@pytest.mark.parametrize(
    ("cutoff", "expected"), [(1.0, {91, 92, 93}), (0.6, {91, 92}), (0.3, {91}), (0.0, set())]
)
def test_only_the_oldest_files_are_collected(cutoff: float, expected: set[int]) -> None:
    made = state(LEVELS, "leveled", {1: "91 92 93"}, {91: 9, 92: 9, 93: 9}, age_cutoff=cutoff)
    assert stale(made) == expected


def test_so_many_at_once_and_those_with_most_garbage_first() -> None:
    numbers = range(101, 141)
    points = {1: " ".join(f"{number}*{number - 100}" for number in numbers)}
    made = state(LEVELS, "leveled", points, dict.fromkeys(numbers, 100))
    chosen = stale(made)
    assert chosen == set(range(101, 101 + len(chosen))), "the ones of which least is needed"
    moved_bytes = sum((number - 100) * RECORD_BYTES for number in chosen)
    assert FILES_AT_ONCE * 1024 <= moved_bytes < FILES_AT_ONCE * 1024 + 41 * RECORD_BYTES


def test_first_in_first_out_is_never_rewritten() -> None:
    made = state(["L0: 9:a-z 8:c-d"], "fifo", {9: "91"}, {91: 9})
    assert not stale(made)
    assert not wasteful(made)


def test_tables_are_merged_where_they_are() -> None:
    made = state(LEVELS, "leveled", {1: "91*2", 3: "91", 4: "91", 9: "91"}, {91: 20})
    choice = choose(made, [], 0)
    assert isinstance(choice, Merge)
    assert show(choice) == "merge 1/1 1/3 1/4 to 1 a-l split g without tombstones"
    assert choice.moved == {91}
    assert choice.split_keys == (b"g",), "table 2 lies in between"


def test_beside_a_job_that_has_one_of_them() -> None:
    made = state(LEVELS, "leveled", {1: "91*2", 3: "91*3", 4: "91", 9: "91"}, {91: 20})
    busy = Merge(
        inputs=((1, 2),), output_level=1, table_bytes=1, drop_tombstones=False, smallest=b"d", largest=b"f"
    )
    choice = collect(made, [busy], frozenset({91}))
    assert isinstance(choice, Merge)
    assert choice.inputs == ((1, 1),), "one group after the other: all together would span the job's range"
    everything = dataclasses.replace(busy, inputs=((1, 1), (1, 3), (1, 4)), smallest=b"a", largest=b"l")
    choice = collect(made, [everything], frozenset({91}))
    assert isinstance(choice, Merge)
    assert choice.inputs == ((0, 9),)
    assert choice.output_level == 0
    assert isinstance(collect(made, [everything, choice], frozenset({91})), Nothing)


def test_a_run_of_level_0_is_rewritten_alone() -> None:
    made = state(["L0: 9:a-z 8:c-d 7:a-b"], "size_tiered", {9: "91*2", 8: "91", 7: "91"}, {91: 20})
    made = dataclasses.replace(
        made, options=dataclasses.replace(made.options, compaction=SizeTiered(min_runs=4, max_runs=6))
    )
    choice = choose(made, [], 0)
    assert isinstance(choice, Merge)
    assert (choice.inputs, choice.output_level, choice.drop_tombstones) == (((0, 7),), 0, True)
    second = collect(made, [choice], stale(made))
    assert isinstance(second, Merge)
    assert (second.inputs, second.drop_tombstones) == (((0, 8),), False)


def test_ordinary_merges_move_what_they_meet() -> None:
    lines = ["L0: 9:a-z 8:c-d 7:a-b", "L1: 1:a-c 2:d-f"]
    made = state(lines, "leveled", {1: "91", 9: "92"}, {91: 10, 92: 1})
    choice = choose(made, [], 0)
    assert isinstance(choice, Merge)
    assert choice.output_level == 1
    assert choice.moved == {91}


def test_a_major_merge_moves_out_of_every_file_with_garbage() -> None:
    made = state(LEVELS, "leveled", {1: "91*9 92*6"}, {91: 10, 92: 6})
    choice = major(made)
    assert isinstance(choice, Merge)
    assert choice.moved == {91}
    assert isinstance(collect(made, [], frozenset()), Nothing)


def test_what_waits_to_be_collected_is_all_that_is_stale_however_much() -> None:
    numbers = range(101, 141)
    points = {1: "91*50 " + " ".join(f"{number}*40" for number in numbers)}
    made = state(LEVELS, "leveled", points, {91: 60} | dict.fromkeys(numbers, 100))
    assert len(stale(made)) < 40
    assert uncollected(made) == (40 * 60 * RECORD_BYTES, 4060 * RECORD_BYTES)


# ---- small files ----

RUNS = ["L0: 9:a-z 8:a-z 7:a-z 6:a-z", "L1: 1:a-c 2:x-z"]


@pytest.mark.parametrize(
    ("points", "sizes", "expected"),
    [
        pytest.param("91*1 92*1 93*1 94*1", "1 1 1 1", {91, 92, 93, 94}, id="equal ones"),
        pytest.param("91*1 92*1 93*1", "1 1 1", set(), id="too few"),
        pytest.param("91*1 92*1 93*2 94*4", "1 1 2 4", {91, 92, 93, 94}, id="none larger than those before"),
        pytest.param("91*1 92*1 93*2 94*5", "1 1 2 5", set(), id="one that is: it waits for more"),
        pytest.param("91*1 92*1 93*1 94*1 95*90", "1 1 1 1 90", {91, 92, 93, 94}, id="large ones stay"),
        pytest.param("91*1 92*1 93*1 94*1", "1 1 1 2", {91, 92, 93, 94}, id="some with garbage"),
    ],
)
def test_a_merge_joins_small_files(points: str, sizes: str, expected: set[int]) -> None:
    entries = dict(enumerate(map(int, sizes.split()), start=91))
    made = state(RUNS, "leveled", {8: points}, entries, file_size_bytes=100 * RECORD_BYTES)
    choice = choose(made, [], 0)
    assert isinstance(choice, Merge)
    assert choice.moved == expected


def test_a_major_merge_joins_all_small_files() -> None:
    entries = {91: 1, 92: 1, 93: 2, 94: 5, 95: 90}
    points = " ".join(f"{number}*{count}" for number, count in entries.items())
    made = state(RUNS, "leveled", {8: points}, entries, file_size_bytes=100 * RECORD_BYTES)
    choice = major(made)
    assert isinstance(choice, Merge)
    assert choice.moved == {91, 92, 93, 94}


def test_files_that_others_point_to_as_well_are_left() -> None:
    lines = ["L0: 9:a-z 8:a-c 7:a-c 6:a-z", "L1: 1:a-c", "L2: 3:a-z"]
    points = {9: "91 92 93 94 95 96", 3: "91"}
    entries = {91: 2} | dict.fromkeys(range(92, 97), 1)
    choice = choose(state(lines, "leveled", points, entries, file_size_bytes=10_000), [], 0)
    assert isinstance(choice, Merge)
    assert choice.moved == {92, 93, 94, 95, 96}


def test_young_files_are_not_joined() -> None:
    points = {8: "91 92 93 94 95 96 97 98"}
    entries = dict.fromkeys(range(91, 99), 1)
    made = state(RUNS, "leveled", points, entries, file_size_bytes=10_000, age_cutoff=0.5)
    choice = choose(made, [], 0)
    assert isinstance(choice, Merge)
    assert choice.moved == {91, 92, 93, 94}


def test_a_merge_in_many_pieces_joins_only_where_it_makes_fewer() -> None:
    made = state(RUNS, "leveled", {8: "91 92 93 94"}, dict.fromkeys(range(91, 95), 1), file_size_bytes=10_000)
    choice = choose(made, [], 0)
    assert isinstance(choice, Merge)
    total_bytes = sum(table.size_bytes for table in made.tables())
    assert joined(made, dataclasses.replace(choice, table_bytes=total_bytes // 8))
    assert not joined(made, dataclasses.replace(choice, table_bytes=total_bytes // 12))


# ---- any interleaving ----


class SeparatedSimulation(Simulation):
    """Every entry has its value in a blob file; merges move those that they are told to."""

    def __init__(self, options, chance: random.Random) -> None:
        super().__init__(options, chance)
        separation = KvSeparation(garbage_ratio=chance.choice([0.01, 0.3, 0.9]))
        made = PartitionOptions(compaction=options, kv_separation=separation)
        self.version = Version(id=self.version.id).apply(Edit.of(CreatePartition(1, "p", made)))
        self.file_of: dict[int, int] = {}
        """By seqno, which no two entries share."""
        self.arrived: list[BlobMeta] = []

    def table(self, entries: dict[bytes, int], created_ns: int) -> TableMeta:
        made = super().table(entries, created_ns)
        new = [seqno for seqno in entries.values() if seqno not in self.file_of]
        if new:
            number = next(self.numbers)
            self.file_of |= dict.fromkeys(new, number)
            self.arrived.append(blob(number, len(new)))
        counts = Counter(self.file_of[seqno] for seqno in entries.values())
        found = tuple((number, count, RECORD_BYTES * count) for number, count in sorted(counts.items()))
        return dataclasses.replace(made, blobs=found)

    def merge(self, merge: Merge, inputs: list[TableMeta]) -> list[TableMeta]:
        self.split_keys = merge.split_keys
        kept: dict[bytes, int] = {}
        for meta in inputs:
            for key, seqno in self.entries[meta.number].items():
                kept[key] = max(seqno, kept.get(key, 0))
        for seqno in kept.values():
            if self.file_of[seqno] in merge.moved:
                del self.file_of[seqno]
        if not merge.split_keys:
            return super().merge(merge, inputs)
        edges = [b"", *merge.split_keys, b"~"]
        created_ns = max(meta.created_ns for meta in inputs)
        parts = [
            {key: seqno for key, seqno in kept.items() if start <= key < stop}
            for start, stop in itertools.pairwise(edges)
        ]
        return [self.table(part, created_ns) for part in parts if part]

    def apply(self, change: ChangeTables) -> None:
        arrived, self.arrived = tuple(self.arrived), []
        super().apply(dataclasses.replace(change, blobs=arrived))


@settings(deadline=None, max_examples=120)
@given(options=compactions, steps=steps, chance=st.integers(0, 1 << 32).map(random.Random))
def test_any_interleaving_is_sound_and_ends_without_stale_files(options, steps, chance) -> None:
    simulation = SeparatedSimulation(options, chance)
    for step in steps:
        simulation.steps[step]()
        simulation.check_reads()
    simulation.rest(most=500)
    simulation.check_reads()
    assert not stale(simulation.state)


@pytest.mark.parametrize("strategy", ["leveled", "size_tiered"])
def test_collecting_everything_ends(strategy: str) -> None:
    simulation = SeparatedSimulation(OPTIONS[strategy], random.Random(3))
    for _ in range(60):
        simulation.flush()
    choice = major(simulation.state)
    rounds = 0
    while isinstance(choice, Merge):
        simulation.begin(choice)
        simulation.finish()
        rounds += 1
        choice = collect(simulation.state, [], wasteful(simulation.state))
    assert rounds <= 2
    assert not wasteful(simulation.state)
    simulation.check_reads()
