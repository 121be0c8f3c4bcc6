"""One partition as the kernel sees it, made from a history: memtables over level 0 over sorted runs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fjeld.kernel.cache import BlockCache
from fjeld.kernel.commit import Commit
from fjeld.kernel.core import TreeCore
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.reader import Reader
from fjeld.kernel.table import TableReader
from fjeld.kernel.view import View
from tests.kernel.tables import Version, keys, order, values, write

TOMBSTONE, VALUE, WEAK = 0, 1, 2
NEWEST = 2**55

Operation = tuple[bytes, int, bytes]  # key, kind, value; its seqno is its place in the history, from 1


class NoControl:
    """A control plane that nothing may ask for anything."""

    def refuse_partition(self, core: TreeCore) -> None:
        raise PermissionError(core.name)


@st.composite
def histories(draw: st.DrawFn, max_size: int = 60) -> list[Operation]:
    pool = draw(st.lists(keys, min_size=1, max_size=12, unique=True))
    prefix = draw(st.sampled_from([b"", b"p", b"a long common prefix/"]))
    operation = st.tuples(
        st.sampled_from(pool), st.sampled_from([TOMBSTONE, VALUE, VALUE, VALUE, WEAK]), values
    )
    drawn = draw(st.lists(operation, max_size=max_size))
    return [(prefix + key, kind, value if kind == VALUE else b"") for key, kind, value in drawn]


def state_at(history: list[Operation], seqno: int = NEWEST) -> dict[bytes, bytes]:
    """What a reader at this seqno sees."""
    state: dict[bytes, bytes] = {}
    for key, kind, value in history[: min(seqno, len(history))]:
        if kind == VALUE:
            state[key] = value
        else:
            state.pop(key, None)
    return dict(sorted(state.items()))


shapes = st.fixed_dictionaries(
    {
        "cuts": st.lists(st.integers(0, 60), max_size=6),
        "memtables": st.integers(1, 3),
        "runs": st.integers(0, 2),
        "table_entries": st.integers(1, 12),
        "block_bytes": st.sampled_from([1, 60, 4096]),
        "cache_bytes": st.sampled_from([0, 1 << 24]),
    }
)


@dataclass
class Layers:
    """A tree of layers; `reader` reads it at the newest seqno, `at(seqno)` at an older one."""

    core: TreeCore
    control: NoControl = field(repr=False)
    cache: BlockCache = field(repr=False)
    pool: DescriptorPool = field(repr=False)

    @property
    def reader(self) -> Reader:
        return Reader(self.core)

    def at(self, seqno: int) -> Reader:
        reader = Reader(self.core)
        reader.fix(seqno)
        return reader

    def check(self) -> None:
        self.cache.check()
        self.pool.check()


def versions_of(history: list[Operation], start: int, stop: int) -> list[Version]:
    return sorted(
        ((key, start + i + 1, kind, value) for i, (key, kind, value) in enumerate(history[start:stop])),
        key=order,
    )


def build(folder: Path, history: list[Operation], **shape: Any) -> Layers:
    """The newest parts of the history lie in memtables, the next in level 0, the oldest in the runs beneath."""
    cache, pool = BlockCache(shape["cache_bytes"]), DescriptorPool(3)
    control = NoControl()
    commit = Commit(control)
    commit.start_at(len(history))
    cuts = sorted({0, *(min(cut, len(history)) for cut in shape["cuts"]), len(history)}, reverse=True)
    parts = [versions_of(history, start, stop) for stop, start in itertools.pairwise(cuts)]

    def table(number: int, entries: list[Version]) -> TableReader:
        name = folder / str(number)
        write(name, entries, block_bytes=shape["block_bytes"])
        return TableReader(name, cache, pool)

    def split(entries: list[Version]) -> list[list[Version]]:
        pieces: list[list[Version]] = [[]]
        for i, entry in enumerate(entries):
            if len(pieces[-1]) >= shape["table_entries"] and entry[0] != entries[i - 1][0]:
                pieces.append([])
            pieces[-1].append(entry)
        return pieces

    memtables = []
    for part in parts[: shape["memtables"]] or [[]]:
        memtable = MemtableOwner()
        for key, seqno, kind, value in sorted(part, key=lambda version: version[1]):
            memtable.insert(key, seqno, kind, value)
        memtables.append(memtable)
    for memtable in memtables[1:]:
        memtable.seal()
    rest = parts[shape["memtables"] :]
    runs = rest[len(rest) - shape["runs"] :] if shape["runs"] <= len(rest) else []
    numbers = itertools.count()
    level0 = tuple(table(next(numbers), part) for part in rest[: len(rest) - len(runs)])
    deeper = tuple(tuple(table(next(numbers), piece) for piece in split(part)) for part in runs)
    view = View(tuple(memtables), (level0, *deeper))
    return Layers(TreeCore(commit, 1, "layers", 1 << 20, view), control, cache, pool)
