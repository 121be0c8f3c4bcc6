"""Reading tables: against a plain model, cold and warm, and with every byte of the file wrong once."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import xxh64
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.footer import decode_footer, encode_footer
from fjeld.kernel.table import TableReader
from fjeld.kernel.trailer import unwrap_block, wrap_block
from tests.kernel.tables import Version, keys, numbered, open_table, options, order, versions, write


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    files.clear_faults()


def newest(entries: list[Version], key: bytes, max_seqno: int | None) -> tuple[int, int, bytes] | None:
    for found, seqno, kind, value in entries:
        if found == key and (max_seqno is None or seqno <= max_seqno):
            return seqno, kind, value
    return None


@given(versions(), options, st.lists(keys, max_size=6), st.sampled_from([0, 1 << 24]))
def test_get(tmp_path_factory, entries: list[Version], chosen: dict, more: list[bytes], budget: int) -> None:
    path = tmp_path_factory.mktemp("t") / "a.sst"
    write(path, entries, **chosen)
    table = open_table(path, budget_bytes=budget)
    names = {key for key, _, _, _ in entries}
    for _ in range(2):  # cold, then warm
        for key in [*names, *more, *(key + b"\x00" for key in names), *(key[:-1] for key in names)]:
            for max_seqno in (None, 0, 3, 11, 12, 2**56 - 1):
                assert table.get(key, max_seqno) == newest(entries, key, max_seqno)
    table.check()


@given(versions(), options)
def test_scan(tmp_path_factory, entries: list[Version], chosen: dict) -> None:
    path = tmp_path_factory.mktemp("t") / "a.sst"
    write(path, entries, **chosen)
    table = open_table(path)
    for stream in (True, False, False):
        assert list(table.scan(stream)) == entries
        assert list(table.scan(stream, reverse=True)) == entries[::-1]


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    facts = write(tmp_path / "a", numbered(1000))
    table = open_table(tmp_path / "a")
    assert table.path == str(tmp_path / "a")
    assert (table.entries, table.file_bytes, table.blocks) == (1000, facts["size_bytes"], facts["blocks"])
    assert table.properties["keys"] == 1000
    assert 1000 * 10 // 8 < table.memory_bytes < 5000
    assert table.may_contain(b"key000001")
    assert not table.may_contain(b"kez")
    assert not table.may_contain(b"")
    absent = sum(table.may_contain(b"key%06dx" % i) for i in range(999))
    assert absent < 50


def test_many_versions_of_one_key_over_many_blocks(tmp_path: Path) -> None:
    """More blocks than the cache keeps in any case: a look-up still comes to an end."""
    entries = [(b"a", 1, 1, b"")]
    entries += [(b"k", seqno, 1, b"%d" % seqno) for seqno in range(2000, 0, -1)]
    entries += [(b"l", 1, 1, b"")]
    write(tmp_path / "a", entries, block_bytes=60)
    for budget in (0, 1 << 24):
        table = open_table(tmp_path / "a", budget_bytes=budget)
        assert table.blocks > 200
        for seqno in (1, 2, 777, 1999, 2000):
            assert table.get(b"k", seqno) == (seqno, 1, b"%d" % seqno)
        assert table.get(b"k", 0) is None
        assert table.get(b"l") == (1, 1, b"")
        table.check()


@pytest.mark.parametrize("codec", [0, 1, 2])
def test_extremes(tmp_path: Path, codec: int) -> None:
    entries: list[Version] = [
        (b"", 3, 1, b"empty key"),
        (b"", 2, 0, b""),
        (b"a", 1, 1, b""),
        (b"b", 1, 1, os.urandom(1 << 20)),
        (b"c", 1, 1, bytes(1 << 20)),
        (b"k" * 65534, 1, 1, b"x"),
        (b"k" * 65535, 2**56 - 1, 2, b""),
        (b"k" * 65535, 0, 1, b"y"),
    ]
    for block_bytes in (1, 4096, 16 << 20):
        path = tmp_path / str(block_bytes)
        write(path, entries, codec=codec, block_bytes=block_bytes)
        table = open_table(path)
        for key, seqno, kind, value in entries:
            assert table.get(key, seqno) == (seqno, kind, value)
        assert list(table.scan()) == entries
        assert list(table.scan(stream=False, reverse=True)) == entries[::-1]
        table.check()


def test_random_keys_against_a_dict(tmp_path: Path) -> None:
    names = sorted({struct.pack(">Q", xxh64(b"%d" % i))[: 4 + i % 5] for i in range(5000)})
    write(tmp_path / "a", [(key, 1, 1, key[::-1]) for key in names], block_bytes=512)
    table = open_table(tmp_path / "a", budget_bytes=40_000)
    for _ in range(2):
        for key in names:
            assert table.get(key) == (1, 1, key[::-1])
            assert table.get(key + b"\x00") is None
    table.check()


def test_threads_read_one_table_through_a_small_cache(tmp_path: Path) -> None:
    entries = numbered(5000)
    write(tmp_path / "a", entries, block_bytes=256)
    cache, pool = BlockCache(50_000), DescriptorPool(1)
    tables = [TableReader(tmp_path / "a", cache, pool) for _ in range(3)]

    def read(seed: int) -> bool:
        table = tables[seed % 3]
        picked = [entries[i * 7919 * (seed + 1) % 5000] for i in range(1500)]
        right = all(table.get(key) == (seqno, 1, value) for key, seqno, _, value in picked)
        return right and list(table.scan(stream=seed % 2 == 0)) == entries

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(read, range(6)))
    cache.check()
    pool.check()
    tables.clear()
    assert cache.used_bytes == 0
    assert pool.open_count == 0


# ---- what is not as it was written ----

SMALL: list[Version] = [
    (b"apple", 9, 1, b"red red red red red red red red red red"),
    (b"apple", 4, 0, b""),
    (b"pear", 5, 1, b"green"),
    (b"plum", 6, 2, b""),
]


def read_all(path: Path) -> None:
    table = open_table(path)
    for key, seqno, kind, value in SMALL:
        assert table.get(key, seqno) == (seqno, kind, value)
    assert list(table.scan()) == SMALL
    assert list(table.scan(stream=False)) == SMALL
    table.check()


@pytest.mark.parametrize("codec", [0, 1])
def test_every_wrong_byte_is_noticed(tmp_path: Path, codec: int) -> None:
    path = tmp_path / "a"
    write(path, SMALL, block_bytes=40, codec=codec)
    read_all(path)
    whole = path.read_bytes()
    path.chmod(0o644)
    for offset in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[offset] ^= change
            path.write_bytes(damaged)
            with pytest.raises(CorruptionError) as noticed:
                read_all(path)
            assert noticed.value.path == str(path)
            assert noticed.value.offset is not None
            assert 0 <= noticed.value.offset <= len(whole)


def test_every_cut_and_every_tail_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, SMALL)
    whole = path.read_bytes()
    path.chmod(0o644)
    for text in [whole[:cut] for cut in range(len(whole))] + [whole + b"\x00", whole + whole]:
        path.write_bytes(text)
        with pytest.raises(CorruptionError):
            open_table(path)


def test_swapped_blocks_are_noticed(tmp_path: Path) -> None:
    """Each block is whole, but none is in its place."""
    path = tmp_path / "a"
    write(path, numbered(4, b"v" * 30), block_bytes=1, codec=0)
    whole = path.read_bytes()
    length = decode_footer(whole[-64:], len(whole))["filter_offset"] // 4
    path.chmod(0o644)
    path.write_bytes(whole[length : 2 * length] + whole[:length] + whole[2 * length :])
    table = open_table(path)
    with pytest.raises(CorruptionError, match="checksum") as noticed:
        table.get(b"key000000")
    assert noticed.value.offset == 0
    with pytest.raises(CorruptionError) as noticed:
        table.get(b"key000001")
    assert noticed.value.offset == length
    assert table.get(b"key000002") == (3, 1, b"v" * 30)


def test_the_size_in_the_manifest(tmp_path: Path) -> None:
    size = write(tmp_path / "a", SMALL)["size_bytes"]
    TableReader(tmp_path / "a", BlockCache(0), DescriptorPool(1), expected_bytes=size)
    with pytest.raises(CorruptionError, match="size is not that which was written") as noticed:
        TableReader(tmp_path / "a", BlockCache(0), DescriptorPool(1), expected_bytes=size + 1)
    assert (noticed.value.path, noticed.value.offset) == (str(tmp_path / "a"), size)


def rebuild(path: Path, change: dict[str, object]) -> None:
    """The same table with other properties, every checksum right."""
    whole = path.read_bytes()
    footer = decode_footer(whole[-64:], len(whole))
    start, length = footer["properties_offset"], footer["properties_bytes"]
    properties = json.loads(unwrap_block(whole[start : start + length], 3, start)) | change
    block = wrap_block(json.dumps(properties).encode(), 0, 3, start)
    footer["properties_bytes"] = len(block)
    text = whole[:start] + block
    path.chmod(0o644)
    path.write_bytes(text + encode_footer(footer, len(text) + 64))


@pytest.mark.parametrize(
    "change",
    [
        {"smallest": 5},
        {"smallest": "zz"},
        {"smallest": b"zebra".hex()},
        {"largest": b"zebra".hex()},
        {"entries": 0},
        {"entries": None},
    ],
)
def test_properties_that_make_no_sense(tmp_path: Path, change: dict[str, object]) -> None:
    write(tmp_path / "a", SMALL)
    rebuild(tmp_path / "a", change)
    with pytest.raises(CorruptionError, match="properties"):
        open_table(tmp_path / "a")


@pytest.mark.parametrize(
    "change",
    [
        {"keys": 2},
        {"tombstones": 2},
        {"weak_tombstones": 0},
        {"min_seqno": 3},
        {"max_seqno": 8},
        {"raw_bytes": 0},
        {"entries": 5},
        {"smallest": b"app".hex()},
    ],
)
def test_check_counts(tmp_path: Path, change: dict[str, object]) -> None:
    write(tmp_path / "a", SMALL)
    rebuild(tmp_path / "a", {})
    open_table(tmp_path / "a").check()
    rebuild(tmp_path / "a", change)
    table = open_table(tmp_path / "a")
    with pytest.raises(CorruptionError, match="properties"):
        table.check()


def test_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, SMALL)
    whole = path.read_bytes()
    footer = decode_footer(whole[-64:], len(whole)) | {"format": 2}
    path.chmod(0o644)
    path.write_bytes(whole[:-64] + encode_footer(footer, len(whole)))
    with pytest.raises(UnsupportedFormatError, match="format 2") as refused:
        open_table(path)
    assert str(path) in str(refused.value)


# ---- what the disk does ----


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        open_table(tmp_path / "none")
    assert missing.value.filename == str(tmp_path / "none")


def test_read_errors_pass(tmp_path: Path) -> None:
    write(tmp_path / "a", SMALL)
    for after in range(2):
        files.inject("read", after, errno.EIO)
        with pytest.raises(OSError, match="a") as failed:
            open_table(tmp_path / "a")
        assert failed.value.errno == errno.EIO
        files.clear_faults()
    table = open_table(tmp_path / "a")
    files.inject("read", 0, errno.EIO)
    with pytest.raises(OSError, match="a"):
        table.get(b"pear")
    assert table.get(b"pear") == (5, 1, b"green")


@given(versions(max_size=8), st.data())
@settings(max_examples=60)
def test_any_damage_anywhere(tmp_path_factory, entries: list[Version], data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("t") / "a"
    write(path, entries, block_bytes=64)
    whole = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.sampled_from([b"\x00" * 16, b"\xff" * 3, bytes(whole[:40])]))
    damaged = (whole[:start] + piece + whole[start + len(piece) :])[: len(whole)]
    path.chmod(0o644)
    path.write_bytes(damaged)
    try:
        table = open_table(path)
        found = list(table.scan())
        table.check()
    except CorruptionError:
        assert damaged != whole
    else:
        assert found == entries == sorted(entries, key=order)
