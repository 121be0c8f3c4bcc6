"""Pairs from an iterator: what is taken, what is refused, and what ends up in the tables."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.sorted_pairs import SortedPairs
from fjeld.kernel.table import TableReader
from fjeld.kernel.table_writer import TableWriter

CHUNK_PAIRS = 4096


def write_tables(folder: Path, pairs, table_bytes: int = 1 << 30) -> list[Path]:
    chunk = SortedPairs(pairs)
    paths: list[Path] = []
    writer = None
    while chunk.fill():
        more = True
        while more:
            if writer is None:
                paths.append(folder / f"{len(paths)}.sst")
                writer = TableWriter(paths[-1], keyspace_id="test", number=len(paths), block_bytes=256)
            more = chunk.write(writer, table_bytes)
            if more:
                writer.finish()
                writer = None
    if writer is not None:
        writer.finish()
    return paths


def read(path: Path, **options) -> TableReader:
    return TableReader(path, BlockCache(1 << 20), DescriptorPool(4), **options)


def pairs_of(reader: TableReader) -> list[tuple[bytes, bytes]]:
    return [(key, value) for key, _, _, value in reader.scan()]


@settings(deadline=None)
@given(st.dictionaries(st.binary(max_size=12), st.binary(max_size=200), max_size=60), st.integers(1, 4000))
def test_what_goes_in_is_in_the_tables(
    tmp_path_factory, content: dict[bytes, bytes], table_bytes: int
) -> None:
    paths = write_tables(tmp_path_factory.mktemp("t"), sorted(content.items()), table_bytes)
    readers = [read(path) for path in paths]
    assert [pair for reader in readers for pair in pairs_of(reader)] == sorted(content.items())
    for reader in readers:
        reader.check()


@pytest.mark.parametrize("count", [0, 1, CHUNK_PAIRS - 1, CHUNK_PAIRS, CHUNK_PAIRS + 1, 2 * CHUNK_PAIRS])
def test_chunks_of_any_size(tmp_path: Path, count: int) -> None:
    pairs = [(b"%06d" % number, b"v%d" % number) for number in range(count)]
    paths = write_tables(tmp_path, iter(pairs), 16 << 10)
    assert [pair for path in paths for pair in pairs_of(read(path))] == pairs
    assert len(paths) > 1 or count < 2


def test_tables_end_near_the_size_asked_for(tmp_path: Path) -> None:
    pairs = ((b"%06d" % number, bytes(100)) for number in range(20_000))
    sizes = [path.stat().st_size for path in write_tables(tmp_path, pairs, 64 << 10)]
    assert all(64 << 10 <= size < 80 << 10 for size in sizes[:-1])


def test_buffers_are_copied_when_they_are_taken(tmp_path: Path) -> None:
    key, value = bytearray(b"aaaa"), bytearray(b"first")

    def changing():
        for number in range(3):
            key[3], value[0] = 97 + number, 48 + number
            yield key, memoryview(value)

    (path,) = write_tables(tmp_path, changing())
    assert pairs_of(read(path)) == [(b"aaaa", b"0irst"), (b"aaab", b"1irst"), (b"aaac", b"2irst")]


@pytest.mark.parametrize(
    ("pair", "error"),
    [
        ((b"k", "text"), TypeError),
        (("k", b"v"), TypeError),
        ((b"k", None), TypeError),
        ((b"k", 7), TypeError),
        (7, TypeError),
        (b"kv", TypeError),
        ((b"k",), ValueError),
        ((b"k", b"v", b"w"), ValueError),
        ((b"k" * 65_536, b"v"), ValueError),
    ],
)
def test_what_is_no_pair_of_bytes(pair, error) -> None:
    chunk = SortedPairs([(b"a", b""), pair])
    with pytest.raises(error):
        chunk.fill()


def test_not_iterable() -> None:
    with pytest.raises(TypeError):
        SortedPairs(7)


@given(st.lists(st.binary(max_size=3), min_size=2, max_size=20))
def test_keys_must_ascend(keys: list[bytes]) -> None:
    wrong = next((at for at, (left, right) in enumerate(pairwise(keys), 1) if left >= right), None)
    chunk = SortedPairs([(key, b"") for key in keys])
    if wrong is None:
        assert chunk.fill()
        return
    with pytest.raises(ValueError) as caught:
        chunk.fill()
    message = str(caught.value)
    assert message.startswith(f"pair {wrong} ")
    assert repr(keys[wrong]) in message
    assert repr(keys[wrong - 1]) in message


def test_order_is_looked_at_across_chunks() -> None:
    pairs = [(b"%06d" % number, b"") for number in range(CHUNK_PAIRS)]
    chunk = SortedPairs([*pairs, pairs[-1]])
    assert chunk.fill()
    with pytest.raises(ValueError, match=f"pair {CHUNK_PAIRS} "):
        chunk.fill()


def test_a_long_key_is_shown_in_part() -> None:
    with pytest.raises(ValueError, match=r"\(65,535 bytes\)") as caught:
        SortedPairs([(b"b" * 65_535, b""), (b"a" * 65_535, b"")]).fill()
    assert len(str(caught.value)) < 500


def test_a_finished_writer_takes_nothing(tmp_path: Path) -> None:
    chunk = SortedPairs([(b"a", b"")])
    chunk.fill()
    writer = TableWriter(tmp_path / "t.sst", keyspace_id="test", number=1)
    writer.abandon()
    with pytest.raises(ValueError):
        chunk.write(writer, 1 << 20)


# ---- the seqno that a reader gives ----


def test_entries_have_the_seqno_that_the_reader_was_told(tmp_path: Path) -> None:
    (path,) = write_tables(tmp_path, [(b"%04d" % number, b"v") for number in range(500)])
    plain, told = read(path), read(path, seqno=1 << 40)
    assert {entry[1] for entry in plain.scan()} == {0}
    assert {entry[1] for stream in (True, False) for entry in told.scan(stream=stream)} == {1 << 40}
    assert told.get(b"0007") == (1 << 40, 1, b"v")
    assert told.get(b"0007", (1 << 40) - 1) is None
    assert told.get(b"0007", 1 << 40) == (1 << 40, 1, b"v")
    assert told.scan().seek(b"0007", 5)[0] == b"0008"
    plain.check()
    told.check()


def test_a_table_that_says_its_seqno_itself_is_read_the_same(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.sst", keyspace_id="test", number=1)
    for key in (b"a", b"b"):
        writer.add(key, 77, 1, b"v")
    writer.finish()
    for reader in (read(tmp_path / "t.sst"), read(tmp_path / "t.sst", seqno=77)):
        assert [entry[1] for entry in reader.scan()] == [77, 77]
        reader.check()
