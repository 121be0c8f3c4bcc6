"""Law 7: the control plane decides, the kernel moves bytes, without the GIL wherever it may block or take
long.
"""

from __future__ import annotations

import ast
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.kernel import files
from fjeld.kernel.checksum import Xxh128, file_xxh128
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.export_decoder import ChunkDecoder
from fjeld.kernel.export_encoder import ChunkEncoder
from fjeld.kernel.table_writer import TableWriter
from fjeld.kernel.view import View
from tests.support import fill, settle

KERNEL = Path(fjeld.__file__).parent / "kernel"
POLICY = (
    "manifest",
    "journal",
    "maintenance",
    "engine",
    "keyspace",
    "backup",
    "partition",
    "snapshot",
    "options",
)


def test_the_kernel_imports_no_policy() -> None:
    for source in KERNEL.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert not name.startswith(tuple(f"fjeld.{policy}" for policy in POLICY)), (
                    f"{source.name}: {name}"
                )


def test_strategies_are_pure() -> None:
    """A strategy looks at values: no files, no clock, no threads."""
    strategies = Path(fjeld.__file__).parent / "maintenance" / "strategies"
    for source in strategies.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not str(node.module).startswith("fjeld.kernel"), source.name
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"os", "time", "threading", "random"}, (
                    source.name
                )


class Ticker:
    """A Python thread that counts. Threads are never made to hand the GIL over here: it counts while others
    let go of it.
    """

    def __init__(self) -> None:
        self.ticks = 0
        self._stop = False
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        while not self._stop:
            self.ticks += 1
            time.sleep(0)  # waits for nothing: it lets go of the GIL, and takes it again when it is free

    def during(self, work: Callable[[], object]) -> int:
        before = self.ticks
        work()
        return self.ticks - before

    def sees(self, work: Callable[[], object]) -> bool:
        """Does the work let go of the GIL for long? Done again where other processes had the processor."""
        return any(self.during(work) > MANY_TICKS for _ in range(ATTEMPTS))

    def stop(self) -> None:
        self._stop = True
        self._thread.join()


@pytest.fixture
def ticker() -> Iterator[Ticker]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    found = Ticker()
    try:
        yield found
    finally:
        found.stop()
        sys.setswitchinterval(interval)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Iterator[fjeld.Keyspace]:
    with fjeld.open(tmp_path_factory.mktemp("large") / "keyspace") as keyspace:
        keyspace._engine.maintainer.pause_compaction()
        partition = keyspace.partition("a")
        for part in range(2):
            partition.insert_many((b"%08d" % number, b"v" * 40) for number in range(150_000))
            if part == 0:
                keyspace.flush()
        settle(keyspace)
        yield keyspace


ATTEMPTS = 30

# A call that holds the GIL lets the ticker in once or twice, around it; these take tens of milliseconds.
MANY_TICKS = 20


def test_what_holds_the_gil_shows(ticker: Ticker) -> None:
    assert not ticker.sees(lambda: sum(range(300_000)))


def merge(keyspace: fjeld.Keyspace, tmp_path: Path, inputs: View) -> None:
    writer = TableWriter(
        str(tmp_path / f"{uuid.uuid4()}.sst"),
        keyspace_id=keyspace.id,
        number=1,
        block_bytes=4096,
        filter_bits=10,
        codec=1,
        level=3,
    )
    Compaction(inputs, [], True).run(writer, 1 << 40)
    writer.abandon()


def test_a_flush(large: fjeld.Keyspace, ticker: Ticker, tmp_path: Path) -> None:
    view = large.partition("a")._live.core.current_view()
    assert ticker.sees(lambda: merge(large, tmp_path, View(view.memtables, ())))


def test_a_compaction(large: fjeld.Keyspace, ticker: Ticker, tmp_path: Path) -> None:
    view = large.partition("a")._live.core.current_view()
    assert ticker.sees(lambda: merge(large, tmp_path, View((), view.levels)))


def test_a_digest(large: fjeld.Keyspace, ticker: Ticker) -> None:
    assert ticker.sees(large.digest)


def test_an_export(large: fjeld.Keyspace, ticker: Ticker) -> None:
    """A chunk at a time, some milliseconds each: larger ones make that plain."""
    partition = large.partition("a")
    assert ticker.sees(lambda: ChunkEncoder(partition, Xxh128(), codec=2, chunk_bytes=1 << 30).fill())


def test_an_import(large: fjeld.Keyspace, ticker: Ticker, tmp_path: Path) -> None:
    encoder = ChunkEncoder(large.partition("a"), Xxh128(), codec=2, chunk_bytes=1 << 30)
    encoder.fill()
    payload = encoder.payload()

    def load() -> ChunkDecoder:
        decoder = ChunkDecoder()
        decoder.begin(Xxh128())
        decoder.load(payload, encoder.codec, encoder.raw_bytes, encoder.entries)
        return decoder

    assert ticker.sees(load)

    def write() -> None:
        path = str(tmp_path / f"{uuid.uuid4()}.sst")
        writer = TableWriter(path, keyspace_id=large.id, number=1)
        decoders.pop().write(writer, 1 << 40)
        writer.abandon()

    decoders = [load() for _ in range(ATTEMPTS)]
    assert ticker.sees(write)


def test_len(large: fjeld.Keyspace, ticker: Ticker) -> None:
    assert ticker.sees(lambda: len(large.partition("a")))


def test_a_copy_and_a_checksum(ticker: Ticker, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(64 << 20))

    def copy() -> None:
        files.copy_file(tmp_path / "source", tmp_path / "target", reflink=False)
        (tmp_path / "target").unlink()

    assert ticker.sees(copy)
    assert ticker.sees(lambda: file_xxh128(str(tmp_path / "source")))


def test_a_hit_in_memory_keeps_it(large: fjeld.Keyspace, ticker: Ticker) -> None:
    """It would cost more than the look-up, and a busy thread would have to be waited for."""
    partition = large.partition("a")
    keys = [b"%08d" % number for number in range(20_000)]
    assert not ticker.sees(lambda: [partition.get(key) for key in keys])


def test_writes_keep_it(path: Path, ticker: Ticker) -> None:
    """Also a batch lets go of it once a call at most, never once an entry."""
    with fjeld.open(path) as keyspace:
        partition = keyspace.partition("a")
        settle(keyspace)
        keyspace._engine.maintainer.stop()
        assert not ticker.sees(lambda: fill(partition, 500))
