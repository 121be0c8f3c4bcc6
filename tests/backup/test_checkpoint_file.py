"""checkpoint.json, read back: what was written, or an error that names it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fjeld
from fjeld.backup.checkpoint_file import decode_document, read_checkpoint
from fjeld.backup.info import encode_document
from fjeld.kernel.checksum import xxh128_hex
from fjeld.manifest.state import FileRecord, Parent, PartitionState
from fjeld.manifest.version import Version
from fjeld.options import PartitionOptions
from tests.support import fill, opened

ID = "12345678-1234-5678-1234-567812345678"
SUM = "0123456789abcdef" * 2
VERSION = Version(
    id=ID,
    parent=Parent(ID, 7),
    partitions=MappingProxyType({1: PartitionState(id=1, name="ö", options=PartitionOptions())}),
    seqno=7,
    next_partition=2,
)
FILES = (FileRecord("tables/000000000001.sst", 10, SUM), FileRecord("journals/000000000002.jnl", 0, SUM))
WHEN = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
ENCODED = encode_document(VERSION, FILES, WHEN, {"a": [1.5, None, "ö"]})


def with_members(**changed: object) -> bytes:
    """The document with other members, and a checksum that is right."""
    document = {**json.loads(ENCODED), **changed}
    del document["xxh128"]
    document = {name: value for name, value in document.items() if value != "gone"}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return json.dumps({**document, "xxh128": xxh128_hex(canonical.encode())}).encode()


def test_there_and_back() -> None:
    found = decode_document(ENCODED)
    assert (found.id, found.parent, found.seqno, found.created_at) == (ID, Parent(ID, 7), 7, WHEN)
    assert (found.partitions, found.files, found.metadata) == (("ö",), FILES, {"a": [1.5, None, "ö"]})
    assert decode_document(with_members(metadata=None)).metadata is None
    assert decode_document(with_members(novelty={"a": 1})).seqno == 7, "newer members add to it"


def test_what_was_chosen() -> None:
    plain = decode_document(ENCODED)
    assert (plain.chosen, plain.key_range) == (None, None)
    for range_, hexed in (
        ((b"\x00\xff", b"a"), ["00ff", "61"]),
        ((None, b""), [None, ""]),
        ((b"a", None), ["61", None]),
    ):
        found = decode_document(with_members(chosen=["ö", "b"], key_range=hexed))
        assert (found.chosen, found.key_range) == (("ö", "b"), range_)
    for wrong in (
        {"key_range": ["61"]},
        {"key_range": ["6", None]},
        {"key_range": [61, None]},
        {"chosen": "ab"},
    ):
        with pytest.raises(fjeld.CorruptionError):
            decode_document(with_members(**wrong))


def test_of_a_checkpoint(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a"), 100)
        taken = keyspace.backup_to(tmp_path / "checkpoint", metadata={"a": 1})
    found = read_checkpoint(tmp_path / "checkpoint")
    for name in ("path", "id", "keyspace_id", "created_at", "seqno", "partitions", "files", "metadata"):
        assert getattr(found, name) == getattr(taken, name)
    assert (found.linked_bytes, found.reflinked_bytes, found.copied_bytes) == (0, 0, 0), "nothing is done now"
    assert (found.stall_seconds, found.elapsed_seconds) == (0, 0)
    with pytest.raises(FileNotFoundError):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "me"},
        {"parent": None},
        {"seqno": -1},
        {"seqno": "7"},
        {"created_at": "noon"},
        {"created_at": "2026-03-01T12:00:00"},
        {"metadata": 3},
        {"partitions": 3},
        {"files": [3]},
        {"seqno": "gone"},
        *(
            {"files": [{"path": path, "size_bytes": 1, "xxh128": SUM}]}
            for path in (
                "../../etc/passwd",
                "/etc/passwd",
                "tables/../x",
                "tables/x.sst",
                "tables/000000000001.sst\n",
                "",
            )
        ),
        {"files": [{"path": FILES[0].path, "size_bytes": -1, "xxh128": SUM}]},
        {"files": [{"path": FILES[0].path, "size_bytes": 1, "xxh128": "no"}]},
    ],
)
def test_what_cannot_be(changed: dict) -> None:
    with pytest.raises(fjeld.CorruptionError):
        decode_document(with_members(**changed))


def test_a_newer_format() -> None:
    with pytest.raises(fjeld.UnsupportedFormatError, match="format 2"):
        decode_document(with_members(format=2))


def test_every_byte_flipped() -> None:
    for place in range(len(ENCODED)):
        flipped = bytearray(ENCODED)
        flipped[place] ^= 1 << place % 8
        try:
            found = decode_document(bytes(flipped))
        except (fjeld.CorruptionError, fjeld.UnsupportedFormatError):
            continue
        assert found == decode_document(ENCODED), "white space"


@given(
    st.binary(max_size=100)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_arbitrary_bytes(data: bytes) -> None:
    with pytest.raises((fjeld.CorruptionError, fjeld.UnsupportedFormatError)):
        decode_document(data)
