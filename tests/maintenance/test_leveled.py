"""The leveled strategy, as tables: a partition in text, the jobs that run on it, and what is chosen.

`L1: 5:a-f 6:g-m=30` is a level with table 5 (keys a to f, size 10) and table 6 (keys g to m, size 30).
"""

import dataclasses
import itertools
import random

import pytest

from fjeld.maintenance.strategies import choose, major
from fjeld.maintenance.strategies.choice import Merge, Move, Nothing
from fjeld.maintenance.strategies.leveled import level_scores
from fjeld.manifest.edit import ChangeTables, CreatePartition, Edit
from fjeld.manifest.version import PartitionState, TableMeta, Version
from fjeld.options import LEVELS, Leveled, PartitionOptions

# Level 1 may hold 20 "bytes" (KiB, in truth: the least that the options take), level 2 100, level 3 500...
KIB = 1024
OPTIONS = PartitionOptions(
    compaction=Leveled(level0_runs=3, level_ratio=5, level1_bytes=20 * KIB, table_bytes=10 * KIB)
)


def table(text):
    number, _, rest = text.partition(":")
    keys, _, size = rest.partition("=")
    smallest, _, largest = keys.partition("-")
    seqno = 1000 * int(number)
    return TableMeta(
        number=int(number),
        size_bytes=int(size or 10) * KIB,
        xxh128="0" * 32,
        entries=1,
        tombstones=0,
        weak_tombstones=0,
        min_seqno=seqno,
        max_seqno=seqno,
        smallest=smallest.encode(),
        largest=largest.encode(),
        raw_bytes=1,
        blocks=1,
    )


def partition(text):
    levels = [()] * LEVELS
    for line in text.strip().splitlines():
        level, _, tables = line.strip().partition(":")
        levels[int(level.removeprefix("L"))] = tuple(table(word) for word in tables.split())
    state = PartitionState(id=1, name="p", options=OPTIONS, levels=tuple(levels))
    assert not list(state.problems())
    return state


def show(choice):
    if isinstance(choice, Nothing):
        return "nothing"
    inputs = " ".join(f"{level}/{number}" for level, number in choice.inputs)
    word = "move" if isinstance(choice, Move) else "merge"
    drop = " drop" if isinstance(choice, Merge) and choice.drop_tombstones else ""
    keys = f"{choice.smallest.decode()}-{choice.largest.decode()}"
    return f"{word} {inputs} to {choice.output_level} {keys}{drop}"


CASES = {
    "an empty partition": ("", "nothing"),
    "too few runs": ("L0: 2:a-z 1:a-z", "nothing"),
    "runs that overlap go together, newest first": (
        "L0: 3:a-m 2:k-z 1:a-c",
        "merge 0/3 0/2 0/1 to 1 a-z drop",
    ),
    "with what they overlap in level 1": (
        "L0: 9:c-g 8:c-d 7:f-h\nL1: 1:a-c=4 2:d-e=4 3:h-m=4 4:n-z=4",
        "merge 0/9 0/8 0/7 1/1 1/2 1/3 to 1 a-m drop",
    ),
    "tombstones stay while something deeper may hold what they hide": (
        "L0: 9:c-g 8:c-d 7:f-h\nL1: 2:d-e\nL3: 1:a-c",
        "merge 0/9 0/8 0/7 1/2 to 1 c-h",
    ),
    "what lies deeper beside the range does not matter": (
        "L0: 9:c-g 8:c-d 7:f-h\nL1: 2:d-e\nL3: 1:a-b 3:i-z",
        "merge 0/9 0/8 0/7 1/2 to 1 c-h drop",
    ),
    "overlap carries over: a-c and e-g meet through c-e": (
        "L0: 9:e-g 8:c-e 7:a-c 6:x-z",
        "move 0/6 to 1 x-z",
    ),
    "the group of the oldest run goes first": (
        "L0: 9:x-z 8:c-e 7:e-g 6:a-c",
        "merge 0/8 0/7 0/6 to 1 a-g drop",
    ),
    "a lone run above nothing moves": ("L0: 9:t-z 8:h-k 7:a-c\nL1: 1:d-g", "move 0/7 to 1 a-c"),
    "a lone run above something merges": ("L0: 9:t-z 8:h-k 7:a-e\nL1: 1:d-g", "merge 0/7 1/1 to 1 a-g drop"),
    "level 1 as large as its target is full": ("L1: 1:a-c 2:d-f", "move 1/1 to 2 a-c"),
    "level 1 below its target": ("L1: 1:a-c=9 2:d-f", "nothing"),
    "the table with the least beneath it": (
        "L1: 1:a-c 2:d-f 3:g-i\nL2: 4:a-c=30 5:d-e=5 6:g-i=30",
        "merge 1/2 2/5 to 2 d-f drop",
    ),
    "the least for its size": (
        "L1: 1:a-c=40 2:d-f=10\nL2: 4:a-c=20 5:d-e=10",
        "merge 1/1 2/4 to 2 a-c drop",
    ),
    "a tie goes to the smallest key": ("L1: 2:d-f 1:g-k 3:m-o", "move 1/2 to 2 d-f"),
    "a table that meets two at their edges": (
        "L1: 1:c-g=40\nL2: 2:a-c 3:d-e 4:g-h 5:i-j",
        "merge 1/1 2/2 2/3 2/4 to 2 a-h drop",
    ),
    "a table within a gap moves": ("L1: 1:d-e=40\nL2: 2:a-c 3:f-h", "move 1/1 to 2 d-e"),
    "the level that is furthest above its target": (
        "L0: 9:a-z 8:a-z 7:a-z\nL1: 1:a-c=25\nL2: 2:a-c=400 3:d-f",
        "move 2/2 to 3 a-c",
    ),
    "level 0 before an equally full level 1": (
        "L0: 9:a-b 8:a-b 7:a-b\nL1: 1:c-d=20",
        "merge 0/9 0/8 0/7 to 1 a-b drop",
    ),
    "the last level is never compacted": ("L6: 1:a-c=9000000 2:d-f=90000000", "nothing"),
    "the one before it is": ("L5: 1:a-c=90000000\nL6: 2:a-c", "merge 5/1 6/2 to 6 a-c drop"),
}


@pytest.mark.parametrize("name", CASES)
def test_choose(name):
    before, chosen = CASES[name]
    assert show(choose(partition(before), [])) == chosen


def job(text):
    """`merge 0/3 1/2 to 1 a-k`, as `show` writes it."""
    words = text.removesuffix(" drop").split()
    to = words.index("to")
    inputs = tuple((int(level), int(number)) for level, number in (word.split("/") for word in words[1:to]))
    smallest, _, largest = words[to + 2].partition("-")
    common = {
        "inputs": inputs,
        "output_level": int(words[to + 1]),
        "smallest": smallest.encode(),
        "largest": largest.encode(),
    }
    if words[0] == "move":
        return Move(**common)
    return Merge(**common, table_bytes=10 * KIB, drop_tombstones=text.endswith(" drop"))


RUNNING = {
    "new runs wait for older ones below them": (
        "L0: 9:c-d 8:c-d 7:c-d 3:a-e 2:a-b 1:a-z",
        ["merge 0/3 0/2 0/1 to 1 a-z"],
        "nothing",
    ),
    "runs that leave already do not count": (
        "L0: 9:m-n 8:o-p 3:a-e 2:a-b 1:a-c",
        ["merge 0/3 0/2 0/1 to 1 a-e"],
        "nothing",
    ),
    "runs elsewhere need not wait": (
        "L0: 9:m-n 8:m-n 7:m-n 3:a-e 2:a-b 1:a-c",
        ["merge 0/3 0/2 0/1 to 1 a-e"],
        "merge 0/9 0/8 0/7 to 1 m-n drop",
    ),
    "unless the output could land among them": (
        "L0: 9:m-n 8:m-n 7:m-n 3:a-e 1:x-z",
        ["merge 0/3 0/1 to 1 a-z"],
        "nothing",
    ),
    "a table of level 1 that is on its way down blocks what overlaps it": (
        "L0: 9:a-b 8:a-b 7:a-b\nL1: 1:a-k",
        ["move 1/1 to 2 a-k"],
        "nothing",
    ),
    "the next best table of the level is taken": (
        "L1: 1:a-c 2:d-f 3:g-i",
        ["move 1/1 to 2 a-c"],
        "move 1/2 to 2 d-f",
    ),
    "a table beneath is busy": (
        "L1: 1:a-c=30 2:g-i=30\nL2: 4:a-c 5:x-z",
        ["merge 2/4 to 3 a-c"],
        "move 1/2 to 2 g-i",
    ),
    "a merge of everything spans its gaps": (
        "L1: 9:m-n=40\nL2: 1:a-c 2:x-z",
        ["merge 2/1 2/2 to 2 a-z"],
        "nothing",
    ),
    "levels work side by side": (
        "L0: 3:a-z 2:a-z 1:a-z\nL1: 4:a-z\nL2: 5:c-d=600",
        ["merge 0/3 0/2 0/1 1/4 to 1 a-z"],
        "move 2/5 to 3 c-d",
    ),
}


@pytest.mark.parametrize("name", RUNNING)
def test_choose_beside_running_jobs(name):
    before, running, chosen = RUNNING[name]
    assert show(choose(partition(before), [job(text) for text in running])) == chosen


MAJOR = {
    "nothing to merge": ("", "nothing"),
    "into level 1 at least": ("L0: 2:a-c 1:b-d", "merge 0/2 0/1 to 1 a-d drop"),
    "into the deepest level": (
        "L0: 9:a-c 8:m-n\nL1: 1:x-z\nL4: 2:d-e",
        "merge 0/9 0/8 1/1 4/2 to 4 a-z drop",
    ),
    "into a level that is large enough": ("L0: 2:a-c=200 1:b-d=200", "merge 0/2 0/1 to 3 a-d drop"),
    "the last level takes anything": ("L6: 2:a-c=99000000 3:d-e=99000000", "merge 6/2 6/3 to 6 a-e drop"),
}


@pytest.mark.parametrize("name", MAJOR)
def test_major(name):
    before, chosen = MAJOR[name]
    assert show(major(partition(before))) == chosen


def test_merges_carry_the_table_size_of_the_options():
    assert choose(partition("L0: 3:a-z 2:a-z 1:a-z"), []).table_bytes == 10 * KIB


def test_scores_leave_out_what_leaves():
    state = partition("L0: 2:a-z 1:a-z\nL1: 4:a-c 5:d-f")
    leveled = OPTIONS.compaction
    assert level_scores(state, [], leveled)[0] == pytest.approx(2 / 3)
    assert level_scores(state, [], leveled)[1] == 1
    assert level_scores(state, [job("merge 0/1 1/4 to 1 a-z")], leveled)[0] == pytest.approx(1 / 3)
    assert level_scores(state, [job("merge 0/1 1/4 to 1 a-z")], leveled)[1] == 1
    assert level_scores(state, [job("move 1/4 to 2 a-c")], leveled)[1] == 0.5


class Simulation:
    """A partition to which tables are flushed, with jobs that start and end in random order.

    Each key knows the seqno of its newest write, every table which (key, seqno) it holds. A choice is wrong
    if it breaks the invariants of the version, or makes a read find an older entry before a newer one.
    """

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.version = Version(id="0" * 8 + "-0000-4000-8000-" + "0" * 12).apply(
            Edit.of(CreatePartition(1, "p", OPTIONS))
        )
        self.numbers = itertools.count(1)
        self.seqnos = itertools.count(1)
        self.entries = {}
        self.newest = {}
        self.running = []

    def table(self, entries):
        number = next(self.numbers)
        keys = sorted(entries)
        self.entries[number] = entries
        meta = table(f"{number}:a-b={max(1, len(keys))}")
        return dataclasses.replace(
            meta,
            smallest=keys[0],
            largest=keys[-1],
            min_seqno=min(entries.values()),
            max_seqno=max(entries.values()),
        )

    def flush(self):
        width = self.random.choice([3, 10, 200])
        start = self.random.randrange(200)
        entries = {}
        for _ in range(self.random.randrange(1, 6)):
            key = b"%03d" % min(199, start + self.random.randrange(width))
            entries[key] = self.newest[key] = next(self.seqnos)
        self.apply(ChangeTables(1, added=((0, self.table(entries)),)))

    def start(self):
        """Start a job, if there is one. A merge of everything is thrown in: it is the one that spans gaps."""
        state = self.version.partitions[1]
        wants_major = not self.running and self.random.random() < 0.2
        chosen = major(state) if wants_major else choose(state, self.running)
        if not isinstance(chosen, Nothing):
            self.running.append(chosen)

    def finish(self):
        done = self.running.pop(self.random.randrange(len(self.running)))
        state = self.version.partitions[1]
        tables = {meta.number: meta for meta in state.tables()}
        if isinstance(done, Move):
            added = [tables[number] for _, number in done.inputs]
        else:
            merged = {}
            for _, number in done.inputs:
                for key, seqno in self.entries[number].items():
                    merged[key] = max(seqno, merged.get(key, 0))
            # Cut anywhere: an output table may span any gap of the job's range.
            keys = sorted(merged)
            count = self.random.randrange(1, 4)
            parts = _cut(keys, count)
            added = [self.table({key: merged[key] for key in part}) for part in parts]
        self.apply(
            ChangeTables(1, added=tuple((done.output_level, meta) for meta in added), removed=done.inputs)
        )

    def apply(self, change):
        self.version = self.version.apply(Edit.of(change))
        self.version.check()

    def check_reads(self):
        for key, newest in self.newest.items():
            assert self.read(key) == newest, key

    def read(self, key):
        for tables in self.version.partitions[1].levels:
            for meta in tables:
                if key in self.entries[meta.number]:
                    return self.entries[meta.number][key]
        return None


def _cut(keys, count):
    size = -(-len(keys) // count)
    return [keys[start : start + size] for start in range(0, len(keys), size)]


@pytest.mark.parametrize("seed", range(20))
def test_any_interleaving_of_jobs_keeps_levels_sound_and_newest_entries_first(seed):
    simulation = Simulation(seed)
    steps = random.Random(seed)
    for _ in range(400):
        step = steps.choice(["flush", "flush", "start", "start", "finish"])
        if step == "flush":
            simulation.flush()
        elif step == "start" and len(simulation.running) < 4:
            simulation.start()
        elif step == "finish" and simulation.running:
            simulation.finish()
        simulation.check_reads()


@pytest.mark.parametrize("seed", range(5))
def test_without_writes_it_comes_to_rest(seed):
    simulation = Simulation(seed)
    for _ in range(100):
        simulation.flush()
    for _ in range(1000):
        chosen = choose(simulation.version.partitions[1], [])
        if isinstance(chosen, Nothing):
            break
        simulation.running.append(chosen)
        simulation.finish()
    else:
        raise AssertionError("the strategy goes on for ever")
    simulation.check_reads()
    scores = level_scores(simulation.version.partitions[1], [], OPTIONS.compaction)
    assert all(score < 1 for score in scores.values())
