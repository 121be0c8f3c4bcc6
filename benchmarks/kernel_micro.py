"""What single operations of the kernel cost, without the control plane around them.

    python benchmarks/kernel_micro.py                       ns an operation, the best of some rounds
    python benchmarks/kernel_micro.py --only table          those whose names contain "table"
    python benchmarks/kernel_micro.py --callgrind           instructions an operation, counted by valgrind

Operations are called from Python one at a time, so each figure contains such a call (the row `call` is one
that does next to nothing); scans, digest, flush and compaction run in the kernel by themselves. Instructions
are the difference between a run with one pass and a run with two: they do not depend on what else runs.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from fjeld.cli.bench.machine import machine
from fjeld.kernel.block import seek_in_block
from fjeld.kernel.block_builder import encode_block
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import Xxh128, xxh64
from fjeld.kernel.commit import Commit
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.core import TreeCore
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.digest import digest_entries
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_record import encode_entry
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.table import TableReader
from fjeld.kernel.table_writer import TableWriter
from fjeld.kernel.tree import Tree
from fjeld.kernel.view import View

T = TypeVar("T")

VALUE = 1  # kinds of entries, see docs/FORMATS.md
KEYSPACE_ID = "00000000-0000-0000-0000-000000000000"
ENTRIES = 100_000
FEW = 10_000
"""Entries under valgrind, which is fifty times as slow."""
RUNS = 4
ENTRY_BYTES = 16 + 100
PLENTY_BYTES = 1 << 30
ROUNDS = 5


@dataclass(frozen=True)
class Case:
    """`work` is one pass: so many operations, on so many bytes of keys and values."""

    work: Callable[[], object]
    operations: int
    size_bytes: int = 0


class Bench:
    """Owns a folder and the random entries that all cases work on."""

    def __init__(self, folder: Path, entries: int) -> None:
        chance = random.Random(3)
        self.folder = folder
        self.pairs = [(chance.randbytes(16), chance.randbytes(100)) for _ in range(entries)]
        self.keys = [key for key, _ in self.pairs]
        self.missing = [chance.randbytes(16) for _ in range(entries)]
        self._numbers = count(1)
        self._cache = BlockCache(PLENTY_BYTES)
        self._descriptors = DescriptorPool(64)

    def memtable(self, pairs: Sequence[tuple[bytes, bytes]]) -> MemtableOwner:
        memtable = MemtableOwner()
        for seqno, (key, value) in enumerate(pairs, 1):
            memtable.insert(key, seqno, VALUE, value)
        return memtable

    def writer(self) -> TableWriter:
        number = next(self._numbers)
        return TableWriter(self.folder / f"{number}.sst", keyspace_id=KEYSPACE_ID, number=number)

    def table(self, pairs: Sequence[tuple[bytes, bytes]]) -> TableReader:
        writer = self.writer()
        for seqno, (key, value) in enumerate(sorted(pairs), 1):
            writer.add(key, seqno, VALUE, value)
        writer.finish()
        return TableReader(writer.path, self._cache, self._descriptors)

    def runs(self) -> View:
        """All entries, spread over some overlapping tables."""
        return View((MemtableOwner(),), (tuple(self.table(self.pairs[run::RUNS]) for run in range(RUNS)),))

    def tree(self, view: View) -> Tree:
        commit = Commit(_NoControl())
        commit.start_at(len(self.pairs))
        return Tree(TreeCore(commit, 1, "p", PLENTY_BYTES, view))


class _NoControl:
    """Reading asks the control plane for nothing."""

    def refuse(self) -> None: ...
    def refuse_partition(self, core: object) -> None: ...
    def relieve(self) -> None: ...
    def switch_journal(self, record_bytes: int) -> None: ...
    def seal_memtable(self, core: object) -> None: ...
    def persist_write(self, seqno: int) -> None: ...
    def sync_failed(self, error: OSError) -> None: ...
    def poison(self, cause: BaseException) -> None: ...


def each(call: Callable[[T], object], arguments: Iterable[T]) -> Callable[[], None]:
    """A pass: the call on every argument."""

    def work() -> None:
        for argument in arguments:
            call(argument)

    return work


def exhaust(entries: Iterable[object]) -> None:
    for _ in entries:
        pass


# ---------------------------------------------------------------- cases


def call(bench: Bench) -> Case:
    return Case(each(int.bit_length, [1] * len(bench.keys)), len(bench.keys))


def memtable_insert(bench: Bench) -> Case:
    return Case(lambda: bench.memtable(bench.pairs), len(bench.pairs))


def memtable_get(bench: Bench) -> Case:
    return Case(each(bench.memtable(bench.pairs).get, bench.keys), len(bench.keys))


def journal_append(bench: Bench) -> Case:
    record = encode_entry(VALUE, 1, *bench.pairs[0])

    def work() -> None:
        number = next(bench._numbers)
        path = bench.folder / f"{number}.jnl"
        journal = JournalWriter(str(path), number, len(bench.pairs) * 256 + 4096)
        append = journal.append
        for seqno in range(1, len(bench.pairs) + 1):
            append(record, 1, seqno, 0, 0)
        journal.close()
        path.unlink()

    return Case(work, len(bench.pairs), len(bench.pairs) * len(record))


def table_get_hit(bench: Bench) -> Case:
    return Case(each(bench.table(bench.pairs).get, bench.keys), len(bench.keys))


def table_get_miss(bench: Bench) -> Case:
    return Case(each(bench.table(bench.pairs).get, bench.missing), len(bench.missing))


def block_seek(bench: Bench) -> Case:
    entries = sorted(bench.pairs)[:30]  # about 4 KiB
    block = encode_block([(key, 1 << 8 | VALUE, value) for key, value in entries])
    keys = [key for key, _ in entries] * (len(bench.keys) // len(entries))
    tag = (1 << 64) - 1
    return Case(each(lambda key: seek_in_block(block, key, tag), keys), len(keys))


def merge_scan(bench: Bench) -> Case:
    tree = bench.tree(bench.runs())
    return Case(lambda: exhaust(tree.range()), len(bench.pairs), len(bench.pairs) * ENTRY_BYTES)


def merge_scan_reverse(bench: Bench) -> Case:
    tree = bench.tree(bench.runs())
    return Case(lambda: exhaust(tree.range(reverse=True)), len(bench.pairs), len(bench.pairs) * ENTRY_BYTES)


def flush(bench: Bench) -> Case:
    view = View((bench.memtable(bench.pairs),), ())
    return Case(lambda: drain(bench, view), len(bench.pairs), len(bench.pairs) * ENTRY_BYTES)


def compaction(bench: Bench) -> Case:
    view = View((), bench.runs().levels)
    return Case(lambda: drain(bench, view), len(bench.pairs), len(bench.pairs) * ENTRY_BYTES)


def drain(bench: Bench, view: View) -> None:
    """Merge the view into one table, which is synced and deleted."""
    writer = bench.writer()
    Compaction(view, [], True).run(writer, PLENTY_BYTES)
    writer.finish()
    os.unlink(writer.path)


def digest(bench: Bench) -> Case:
    tree = bench.tree(bench.runs())
    return Case(lambda: digest_entries(tree, Xxh128()), len(bench.pairs), len(bench.pairs) * ENTRY_BYTES)


def checksum_of_a_block(bench: Bench) -> Case:
    block = random.Random(4).randbytes(4096)
    return Case(each(xxh64, [block] * FEW), FEW, FEW * len(block))


CASES: tuple[Callable[[Bench], Case], ...] = (
    call,
    memtable_insert,
    memtable_get,
    journal_append,
    table_get_hit,
    table_get_miss,
    block_seek,
    merge_scan,
    merge_scan_reverse,
    digest,
    flush,
    compaction,
    checksum_of_a_block,
)


# ---------------------------------------------------------------- measuring


def best_ns(case: Case) -> float:
    """Nanoseconds an operation; the first pass, which warms the caches, does not count."""
    case.work()
    best = min(_timed_ns(case.work) for _ in range(ROUNDS))
    return best / case.operations


def _timed_ns(work: Callable[[], Any]) -> int:
    start = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - start


def instructions(name: str, entries: int) -> float:
    """Instructions an operation."""
    counts = [_count(name, passes) for passes in (1, 2)]
    with tempfile.TemporaryDirectory() as folder:
        case = _case(name)(Bench(Path(folder), entries))
        return (counts[1] - counts[0]) / case.operations


def _count(name: str, passes: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, __file__]
    command += ["--passes", str(passes), "--only", name]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}
    )
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode != 0 or found is None:
        raise RuntimeError(f"valgrind failed:\n{result.stderr}")
    return int(found[1])


def _case(name: str) -> Callable[[Bench], Case]:
    return next(case for case in CASES if case.__name__ == name)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="What single operations of the kernel cost.")
    parser.add_argument("--only", default="", metavar="PART", help="cases whose names contain this")
    parser.add_argument("--callgrind", action="store_true", help="count instructions; takes minutes")
    parser.add_argument("--passes", type=int, help="run so many passes on few entries, and print nothing")
    parser.add_argument("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    chosen = parser.parse_args(arguments)
    if chosen.passes is None:
        print(f"{machine()}\n")
        print(f"| | {'instructions' if chosen.callgrind else 'ns'} an operation | MB/s |\n|---|--:|--:|")
    for case_of in CASES:
        name = case_of.__name__
        if chosen.only != name if chosen.passes else chosen.only not in name:
            continue
        if chosen.callgrind:
            print(f"| {name} | {instructions(name, FEW):,.0f} | |", flush=True)
            continue
        folder = Path(tempfile.mkdtemp(prefix="fjeld-micro-", dir=chosen.dir))
        try:
            case = case_of(Bench(folder, FEW if chosen.passes else ENTRIES))
            if chosen.passes:
                for _ in range(chosen.passes):
                    case.work()
                continue
            ns = best_ns(case)
            rate = f"{case.size_bytes / case.operations / ns * 1e3:,.0f}" if case.size_bytes else ""
            print(f"| {name} | {ns:,.0f} | {rate} |", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
