"""Chunks of an export: what the encoder makes, the decoder takes apart, and nothing else."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fjeld
from fjeld.errors import CorruptionError
from fjeld.kernel.checksum import Xxh128
from fjeld.kernel.compression import compress_bytes
from fjeld.kernel.digest import digest_entries
from fjeld.kernel.export_decoder import MAX_CHUNK_BYTES, ChunkDecoder
from fjeld.kernel.export_encoder import ChunkEncoder
from fjeld.kernel.file_reader import ReadFile
from fjeld.kernel.table_writer import TableWriter
from tests.support import fill, opened

Entries = list[tuple[bytes, bytes]]


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def chunk_of(entries: Entries) -> bytes:
    """The format, as the page says it."""
    return b"".join(varint(len(key)) + varint(len(value)) + key + value for key, value in entries)


def decoder() -> tuple[ChunkDecoder, Xxh128]:
    made, content = ChunkDecoder(), Xxh128()
    made.begin(content)
    return made, content


def refusal(payload: bytes, codec: int = 0, raw_bytes: int | None = None, entries: int = 1) -> str:
    made, _ = decoder()
    with pytest.raises(CorruptionError) as caught:
        made.load(payload, codec, len(payload) if raw_bytes is None else raw_bytes, entries)
    return caught.value.what


@pytest.mark.parametrize("codec", [0, 1, 2])
@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 20])
def test_encoded_as_the_page_says(path: Path, codec: int, chunk_bytes: int) -> None:
    with opened(path) as keyspace:
        partition = keyspace.partition("a")
        fill(partition, 300)
        partition.flush()
        fill(partition, 50, seed=1, start=200)
        partition[b""] = b""
        partition[b"long"] = b"l" * 5000
        expected = list(partition.items())
        content, reference = Xxh128(), Xxh128()
        digest_entries(partition, reference)
        encoder = ChunkEncoder(partition, content, codec=codec, chunk_bytes=chunk_bytes)
        made, seen = decoder()
        got = b""
        table = TableWriter(path.parent / "table", keyspace_id=str(uuid.uuid4()), number=1)
        while encoder.fill():
            payload = encoder.payload()
            made.load(payload, encoder.codec, encoder.raw_bytes, encoder.entries)
            if encoder.codec == 0:
                got += payload
            assert not made.write(table, 1 << 60)
        assert not encoder.fill(), "the end stays the end"
        assert table.entries == len(expected)
        assert content.hexdigest() == reference.hexdigest() == seen.hexdigest()
        if codec == 0:
            assert got == chunk_of(expected)
        table.abandon()


def test_an_empty_partition_has_no_chunk(path: Path) -> None:
    with opened(path) as keyspace:
        assert not ChunkEncoder(keyspace.partition("a"), Xxh128(), codec=2).fill()


def test_a_table_that_is_full_is_left_for_another(tmp_path: Path) -> None:
    entries = [(b"%08d" % number, random.Random(number).randbytes(100)) for number in range(2000)]
    made, _ = decoder()
    payload = chunk_of(entries)
    made.load(payload, 0, len(payload), len(entries))
    counts = []
    more = True
    while more:
        table = TableWriter(tmp_path / str(len(counts)), keyspace_id=str(uuid.uuid4()), number=1)
        more = made.write(table, 20_000)
        counts.append(table.entries)
        table.finish()
    assert len(counts) > 2
    assert sum(counts) == len(entries)


def test_what_is_refused() -> None:
    one, two = (b"a", b"1"), (b"b", b"2")
    assert "do not ascend" in refusal(chunk_of([two, one]), entries=2)
    assert "do not ascend" in refusal(chunk_of([one, one]), entries=2)
    assert "entries it states" in refusal(chunk_of([one, two]), entries=1)
    assert "entries it states" in refusal(chunk_of([one, two]), entries=3)
    assert "entries it states" in refusal(b"", entries=0)
    assert "does not fit" in refusal(chunk_of([one])[:-1])
    assert "does not fit" in refusal(varint(65_536) + varint(0) + b"k" * 65_536)
    assert "does not fit" in refusal(varint(1) + varint(1 << 63) + b"k")
    assert "does not fit" in refusal(b"\xff" * 20)
    assert "does not decompress" in refusal(b"garbage", codec=2, raw_bytes=100)
    assert "does not decompress" in refusal(b"garbage", codec=1, raw_bytes=100)
    assert "does not decompress" in refusal(b"ab", raw_bytes=3)
    assert "codec 3" in refusal(b"ab", codec=3)
    assert "claims" in refusal(b"ab", codec=2, raw_bytes=MAX_CHUNK_BYTES + 1)


def test_keys_ascend_from_chunk_to_chunk_and_begin_anew_with_a_partition(tmp_path: Path) -> None:
    made, _ = decoder()
    table = TableWriter(tmp_path / "table", keyspace_id=str(uuid.uuid4()), number=1)
    chunk = chunk_of([(b"m", b"")])
    made.load(chunk, 0, len(chunk), 1)
    made.write(table, 1 << 60)
    with pytest.raises(CorruptionError, match="do not ascend"):
        made.load(chunk, 0, len(chunk), 1)
    made.begin(Xxh128())
    made.load(chunk, 0, len(chunk), 1)
    table.abandon()


def test_used_out_of_order() -> None:
    chunk = chunk_of([(b"m", b"")])
    with pytest.raises(ValueError, match="begun"):
        ChunkDecoder().load(chunk, 0, len(chunk), 1)
    made, _ = decoder()
    made.load(chunk, 0, len(chunk), 1)
    with pytest.raises(ValueError, match="written"):
        made.load(chunk, 0, len(chunk), 1)
    with pytest.raises(ValueError, match="codec"):
        compress_bytes(b"", 9)


@given(
    payload=st.binary(max_size=200),
    codec=st.integers(0, 3),
    entries=st.integers(0, 5),
    raw=st.integers(0, 300),
)
def test_arbitrary_bytes(payload: bytes, codec: int, entries: int, raw: int) -> None:
    made, _ = decoder()
    try:
        made.load(payload, codec, raw, entries)
    except CorruptionError:
        return
    assert entries > 0, "what is accepted holds what it states"


def test_a_closed_snapshot_ends_its_encoder(path: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 100)
        snapshot = keyspace.snapshot()
        encoder = ChunkEncoder(snapshot.partition("a"), Xxh128(), codec=0, chunk_bytes=100)
        assert encoder.fill()
        snapshot.close()
        with pytest.raises(fjeld.ClosedError):
            encoder.fill()


def test_reading_a_file_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with ReadFile(tmp_path / "file") as file:
        assert file.path == str(tmp_path / "file")
        assert file.read(60) == bytes(range(60))
        assert file.position == 60
        assert file.read(60) == bytes(range(60, 100))
        assert file.read(60) == b""
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
    with pytest.raises(FileNotFoundError):
        ReadFile(tmp_path / "none")
    with pytest.raises(ValueError, match="null byte"):
        ReadFile(b"a\0b")
