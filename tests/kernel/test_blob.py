"""Blob files: the bytes are those of the format, and what is read is what was written or a CorruptionError."""

from __future__ import annotations

import errno
import os
import random
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel import files
from fjeld.kernel.blob_writer import BlobWriter
from fjeld.kernel.checksum import file_xxh128
from tests.kernel.blobs import (
    FOOTER_BYTES,
    HEADER_BYTES,
    TRAILER_BYTES,
    Pointer,
    decode,
    open_blob,
    pointing,
    reader_of,
    write_blob,
)

some_pairs = st.dictionaries(
    st.binary(max_size=20) | st.just(b"k" * 65535),
    st.binary(max_size=60)
    | st.sampled_from([b"", b"x" * 5000, bytes(300_000), random.Random(1).randbytes(400_000)]),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(pairs=some_pairs, codec=st.integers(0, 2), number=st.integers(1, 10**12))
def test_the_bytes_are_those_of_the_format(tmp_path_factory, pairs, codec, number) -> None:
    path = tmp_path_factory.mktemp("b") / "blob"
    writer = BlobWriter(path, number=number, codec=codec)
    pointers = [writer.add(key, value) for key, value in pairs.items()]
    facts = writer.finish()
    records = decode(path.read_bytes(), number)
    assert [(key, value) for _, key, value in records] == list(pairs.items())
    assert [pointer.encode() for pointer, _, _ in records] == pointers
    assert facts == {
        "number": number,
        "size_bytes": path.stat().st_size,
        "xxh128": file_xxh128(path)[1],
        "entries": len(pairs),
        "raw_bytes": sum(map(len, pairs.values())),
        "stored_bytes": sum(pointer.stored_bytes for pointer, _, _ in records),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    counted = open_blob(path, number).check()
    assert counted == {name: facts[name] for name in ("entries", "raw_bytes", "stored_bytes")}


@settings(max_examples=60)
@given(pairs=some_pairs, codec=st.integers(0, 2))
def test_every_way_of_reading(tmp_path_factory, pairs, codec) -> None:
    reader = reader_of(tmp_path_factory.mktemp("b"), list(pairs.items()), codec=codec)
    expected = sorted(pairs.items())
    assert {key: reader.get(key) for key in pairs} == pairs
    assert reader.get(b"absent" * 20) is None
    assert reader.get_many([*pairs, b"absent" * 20]) == [*pairs.values(), None]
    assert [reader.size_of(key) for key in pairs] == [len(value) for value in pairs.values()]
    assert list(reader.scan_items()) == expected
    assert list(reader.scan_items(True)) == expected[::-1]
    assert list(reader.scan_values()) == [value for _, value in expected]
    assert list(reader.scan_keys()) == [key for key, _ in expected]
    with reader.cursor() as cursor:
        found = [(cursor.key, cursor.value)] if cursor.seek_last() else []
        while cursor.prev():
            found.append((cursor.key, cursor.value))
    assert found == expected[::-1]


def test_no_large_value_no_file(tmp_path: Path) -> None:
    writer = BlobWriter(tmp_path / "blob", number=1)
    assert writer.finish() is None
    assert not (tmp_path / "blob").exists()
    with pytest.raises(ValueError, match="finished"):
        writer.add(b"k", b"v")
    writer.abandon()


def test_an_abandoned_file_is_removed(tmp_path: Path) -> None:
    writer = BlobWriter(tmp_path / "blob", number=1)
    writer.add(b"k", b"v")
    assert (tmp_path / "blob").exists()
    writer.abandon()
    assert not (tmp_path / "blob").exists()


def test_limits(tmp_path: Path) -> None:
    writer = BlobWriter(tmp_path / "blob", number=1)
    with pytest.raises(ValueError, match="65535 is the most"):
        writer.add(b"k" * 65536, b"v")
    with pytest.raises(ValueError, match="unknown codec"):
        BlobWriter(tmp_path / "other", number=2, codec=3)


@pytest.mark.parametrize("operation", ["create", "write", "sync", "seal", "close"])
def test_a_failing_call_is_raised_and_leaves_nothing_once_abandoned(tmp_path: Path, operation: str) -> None:
    files.inject(operation, 0, errno.ENOSPC, path_contains="blob", count=1)
    writer = BlobWriter(tmp_path / "blob", number=1)
    with pytest.raises(OSError, match="No space"):
        for number in range(40):
            writer.add(b"%d" % number, random.Random(number).randbytes(20_000))
        writer.finish()
    files.clear_faults()
    writer.abandon()
    assert os.listdir(tmp_path) == []


# ---- damage ----

PAIRS = [
    (b"a", random.Random(1).randbytes(400)),
    (b"b", b"compressible " * 50),
    (b"c", random.Random(2).randbytes(30)),
]


def damaged(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def reads(reader, key: bytes) -> bytes | str:
    """The value, or what the error says."""
    answers = set()
    for read in (
        lambda: reader.get(key),
        lambda: reader.get_many([key])[0],
        lambda: next(reader.range(key))[1],
        lambda: next(reader.range(None, key + b"\0", reverse=True))[1],
    ):
        try:
            answers.add(read())
        except CorruptionError as error:
            assert error.path is not None
            assert error.path.endswith("blob")
            assert error.offset is not None
            answers.add(error.what)
    assert len(answers) == 1, answers
    return answers.pop()


@pytest.mark.parametrize("codec", [0, 1, 2])
def test_every_flipped_byte(tmp_path: Path, codec: int) -> None:
    """A record answers for its own key, and for no other."""
    reader = reader_of(tmp_path, PAIRS, codec=codec)
    sound = (tmp_path / "blob").read_bytes()
    spans = [
        range(pointer.offset, pointer.offset + pointer.stored_bytes + len(key) + TRAILER_BYTES)
        for pointer, key, _ in decode(sound, 5)
    ]
    for at in range(len(sound)):
        damaged(tmp_path / "blob", sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :])
        for (key, value), span in zip(PAIRS, spans, strict=True):
            if at in span:
                assert "checksum" in str(reads(reader, key)), (at, key)
            elif at % 97 == 0:
                assert reads(reader, key) == value
        with pytest.raises(CorruptionError):
            open_blob(tmp_path / "blob", 5).check()


def test_zeroed_truncated_and_missing(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, PAIRS, codec=0)
    sound = (tmp_path / "blob").read_bytes()
    middle = Pointer.of(reader_pointer(tmp_path, b"b"))
    end = middle.offset + middle.stored_bytes + 1 + TRAILER_BYTES
    damaged(tmp_path / "blob", sound[: middle.offset] + bytes(end - middle.offset) + sound[end:])
    assert reads(reader, b"a") == PAIRS[0][1]
    assert "checksum" in str(reads(reader, b"b"))
    assert reads(reader, b"c") == PAIRS[2][1]
    for length in (0, HEADER_BYTES, middle.offset, end - 1):
        damaged(tmp_path / "blob", sound[:length])
        assert "shorter" in str(reads(reader, b"b"))
    damaged(tmp_path / "blob", sound[:end])
    assert reads(reader, b"b") == PAIRS[1][1]


def reader_pointer(folder: Path, key: bytes) -> bytes:
    return next(p.encode() for p, found, _ in decode((folder / "blob").read_bytes(), 5) if found == key)


def test_a_missing_file_is_damage_to_its_values_alone(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, PAIRS)
    (tmp_path / "blob").unlink()
    assert "missing" in str(reads(reader, b"b"))
    assert list(reader.scan_keys()) == [b"a", b"b", b"c"]
    assert reader.size_of(b"b") == len(PAIRS[1][1])
    assert b"b" in reader


def test_a_scan_hands_out_what_is_sound_before_the_damage(tmp_path: Path) -> None:
    pairs = [(b"%03d" % number, random.Random(number).randbytes(100)) for number in range(50)]
    reader = reader_of(tmp_path, pairs)
    sound = (tmp_path / "blob").read_bytes()
    at = decode(sound, 5)[30][0].offset
    damaged(tmp_path / "blob", sound[:at] + b"?" + sound[at + 1 :])
    for reverse, expected in ((False, pairs[:30]), (True, pairs[:30:-1])):
        scan, found = reader.scan_items(reverse), []
        with pytest.raises(CorruptionError, match="checksum"):
            for pair in scan:
                found.append(pair)
        assert found == expected
        assert next(scan, None) is None


@pytest.mark.parametrize(
    "change", [{"number": 6}, {"offset": 0}, {"offset": 2**63}, {"offset": 500}, {"stored_bytes": 2**32 - 1}]
)
def test_pointers_that_lead_elsewhere(tmp_path: Path, change: dict[str, int]) -> None:
    pointer = Pointer.of(write_blob(tmp_path / "blob", 5, PAIRS)[0])
    reader = pointing(tmp_path, [(b"a", pointer._replace(**change).encode())])
    with pytest.raises(CorruptionError):
        reader.get(b"a")


def test_the_value_of_another_key(tmp_path: Path) -> None:
    """The record is whole, but not what the entry wants."""
    pointers = write_blob(tmp_path / "blob", 5, PAIRS)
    reader = pointing(tmp_path, [(b"x", pointers[0])])
    with pytest.raises(CorruptionError, match="another key"):
        reader.get(b"x")


def test_a_copied_file_is_not_that_of_another_number(tmp_path: Path) -> None:
    pointer = Pointer.of(write_blob(tmp_path / "blob", 5, PAIRS)[0])
    reader = pointing(tmp_path, [(b"a", pointer._replace(number=7).encode())], number=7)
    with pytest.raises(CorruptionError, match="checksum"):
        reader.get(b"a")
    with pytest.raises(CorruptionError, match="another number"):
        open_blob(tmp_path / "blob", 7).check()


def test_a_damaged_footer_is_found(tmp_path: Path) -> None:
    write_blob(tmp_path / "blob", 5, PAIRS)
    sound = (tmp_path / "blob").read_bytes()
    damaged(tmp_path / "blob", sound[:-FOOTER_BYTES] + b"\1" + sound[-FOOTER_BYTES + 1 :])
    with pytest.raises(CorruptionError, match="footer"):
        open_blob(tmp_path / "blob", 5).check()
