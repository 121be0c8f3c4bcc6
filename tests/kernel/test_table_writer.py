"""Writing tables: the bytes, the facts, and what happens when the disk does not want them."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.kernel import files
from fjeld.kernel.checksum import file_xxh128, xxh64
from fjeld.kernel.table_writer import TableWriter
from tests.kernel.reference import may_contain, read_table
from tests.kernel.tables import Version, numbered, options, versions, write


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    files.clear_faults()
    files.stop_trace()


def tagged(entries: list[Version]) -> list[tuple[bytes, int, bytes]]:
    return [(key, seqno << 8 | kind, value) for key, seqno, kind, value in entries]


@given(versions(), options)
def test_the_bytes_are_those_of_the_format(tmp_path_factory, entries: list[Version], chosen: dict) -> None:
    path = tmp_path_factory.mktemp("t") / "a.sst"
    facts = write(path, entries, **chosen)
    data = path.read_bytes()
    file = read_table(data)
    assert file.entries == tagged(entries)
    assert file.last_keys == [block[-1][0] for block in file.blocks]
    names = {key for key, _, _, _ in entries}
    if chosen["filter_bits"]:
        assert all(may_contain(file.filter_bits, file.probes, xxh64(key)) for key in names)
    else:
        assert (file.filter_bits, file.probes) == (b"", 0)
    sizes = {"size_bytes": len(data), "xxh128": file_xxh128(path)[1], "blocks": len(file.blocks)}
    counts = {
        "entries": len(entries),
        "tombstones": sum(kind == 0 for _, _, kind, _ in entries),
        "weak_tombstones": sum(kind == 2 for _, _, kind, _ in entries),
        "min_seqno": min(seqno for _, seqno, _, _ in entries),
        "max_seqno": max(seqno for _, seqno, _, _ in entries),
        "raw_bytes": sum(len(key) + len(value) for key, _, _, value in entries),
    }
    edges = {"smallest": entries[0][0], "largest": entries[-1][0]}
    assert facts == sizes | counts | edges | {"blobs": ()}
    assert file.properties == counts | {
        "keyspace": "test",
        "number": 7,
        "keys": len(names),
        "smallest": entries[0][0].hex(),
        "largest": entries[-1][0].hex(),
    }


@given(versions(), options)
@settings(max_examples=20)
def test_the_same_input_gives_the_same_bytes(tmp_path_factory, entries: list[Version], chosen: dict) -> None:
    folder = tmp_path_factory.mktemp("t")
    assert write(folder / "a", entries, **chosen) == write(folder / "b", entries, **chosen)
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


@pytest.mark.parametrize("block_bytes", [1, 200, 4096, 65536])
def test_blocks_are_as_large_as_asked_for(tmp_path: Path, block_bytes: int) -> None:
    entries = numbered(3000)
    write(tmp_path / "a", entries, block_bytes=block_bytes, codec=0)
    file = read_table((tmp_path / "a").read_bytes())
    data_bytes = sum(len(key) + len(value) for key, _, _, value in entries)
    assert len(file.blocks) >= min(3000, data_bytes // (2 * block_bytes))
    assert len(file.blocks) <= max(1, 1.2 * data_bytes / block_bytes) or block_bytes < 100
    assert (max(map(len, file.blocks)) == 1) == (block_bytes == 1)


def test_a_value_larger_than_a_block_and_the_buffer(tmp_path: Path) -> None:
    entries: list[Version] = [
        (b"a", 1, 1, b""),
        (b"b", 2, 1, bytes(1 << 20)),
        (b"k" * 65535, 3, 1, b"v" * 700_000),
    ]
    write(tmp_path / "a", entries, codec=0)
    write(tmp_path / "b", entries, codec=1)
    for name in "ab":
        assert read_table((tmp_path / name).read_bytes()).entries == tagged(entries)
    assert set(read_table((tmp_path / "b").read_bytes()).codecs) == {0, 1}


def test_synced_and_sealed_in_this_order(tmp_path: Path) -> None:
    path = tmp_path / "a.sst"
    writer = TableWriter(path, keyspace_id="test", number=7)
    assert stat.S_IMODE(path.stat().st_mode) != 0o444
    for key, seqno, kind, value in numbered(20_000):
        writer.add(key, seqno, kind, value)
    files.start_trace()
    writer.finish()
    done = [step[0] for step in files.stop_trace()]
    assert [name for name in done if name != "write"] == ["sync", "seal", "close"]
    assert done.index("sync") > max(i for i, name in enumerate(done) if name == "write")
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_written_in_large_pieces(tmp_path: Path) -> None:
    files.start_trace()
    facts = write(tmp_path / "a", numbered(20_000), codec=0)
    writes = [step for step in files.stop_trace() if step[0] == "write"]
    assert len(writes) == -(-facts["size_bytes"] // (256 << 10))


def test_a_fresh_name_only(tmp_path: Path) -> None:
    path = tmp_path / "a.sst"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError) as refused:
        TableWriter(path, keyspace_id="test", number=7)
    assert refused.value.filename == str(path)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("operation", "number"),
    [("write", errno.ENOSPC), ("write", errno.EIO), ("sync", errno.EIO), ("seal", errno.EPERM)],
)
def test_a_failure_names_the_file_and_leaves_abandon(tmp_path: Path, operation: str, number: int) -> None:
    path = tmp_path / "a.sst"
    writer = TableWriter(path, keyspace_id="test", number=7)
    writer.add(b"k", 1, 1, b"v")
    files.inject(operation, 0, number)
    with pytest.raises(OSError, match=r"a\.sst") as failed:
        writer.finish()
    assert (failed.value.errno, failed.value.filename) == (number, str(path))
    with pytest.raises(OSError, match=r"a\.sst"):
        writer.add(b"l", 1, 1, b"v")
    with pytest.raises(OSError, match=r"a\.sst"):
        writer.finish()
    writer.abandon()
    assert not path.exists()
    writer.abandon()


def test_a_full_disk_at_any_write(tmp_path: Path) -> None:
    """The fault moves on, write by write, until the table gets through."""
    entries = numbered(12_000, b"x" * 90)
    failures = []
    for after in range(20):
        path = tmp_path / f"{after}.sst"
        files.inject("write", after, errno.ENOSPC, path_contains=path.name)
        writer = TableWriter(path, keyspace_id="test", number=7, codec=0)
        try:
            for key, seqno, kind, value in entries:
                writer.add(key, seqno, kind, value)
            writer.finish()
        except OSError as error:
            failures.append(error.errno)
            writer.abandon()
            assert not path.exists()
            files.clear_faults()
        else:
            break
    assert len(failures) > 3
    assert set(failures) == {errno.ENOSPC}
    assert read_table(path.read_bytes()).entries == tagged(entries)


def test_finished_is_finished(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "a", keyspace_id="test", number=7)
    with pytest.raises(ValueError, match="one entry"):
        writer.finish()
    assert (writer.entries, writer.file_bytes) == (0, 0)
    writer.add(b"k", 1, 1, b"v")
    assert writer.entries == 1
    writer.finish()
    for call in (writer.finish, lambda: writer.add(b"l", 1, 1, b""), lambda: writer.entries):
        with pytest.raises(ValueError, match="finished or abandoned"):
            call()
    writer.abandon()
    assert (tmp_path / "a").exists()


def test_order_and_limits(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "a", keyspace_id="test", number=7)
    writer.add(b"k", 5, 1, b"")
    for key, seqno in ((b"j", 9), (b"k", 5), (b"k", 6), (b"", 1)):
        with pytest.raises(ValueError, match="out of order"):
            writer.add(key, seqno, 1, b"")
    with pytest.raises(ValueError, match="65535 is the most"):
        writer.add(b"z" * 65536, 1, 1, b"")
    for seqno, kind in ((2**56, 1), (1, 4), (1, -1)):
        with pytest.raises(ValueError, match="no such tag"):
            writer.add(b"l", seqno, kind, b"")
    with pytest.raises(ValueError, match="a pointer has 24 bytes, not 0"):
        writer.add(b"l", 1, 3, b"")
    writer.add(b"k", 4, 1, b"")
    writer.abandon()


@pytest.mark.parametrize(
    "wrong",
    [{"block_bytes": 0}, {"block_bytes": 1 << 25}, {"filter_bits": -1}, {"filter_bits": 65}, {"codec": 9}],
)
def test_options_that_make_no_sense(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TableWriter(tmp_path / "a", keyspace_id="test", number=7, **wrong)
    assert not (tmp_path / "a").exists()


@given(st.integers(0, 3))
@settings(max_examples=4)
def test_a_dropped_writer_leaves_its_file_unsealed(tmp_path_factory, entries: int) -> None:
    path = tmp_path_factory.mktemp("t") / "a"
    writer = TableWriter(path, keyspace_id="test", number=7)
    for key, seqno, kind, value in numbered(entries):
        writer.add(key, seqno, kind, value)
    del writer
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
