"""Whole-partition passes: the exact count, and the digest as its text says."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel.checksum import Xxh128, xxh128_hex
from fjeld.kernel.digest import count_entries, digest_entries
from tests.kernel.layers import VALUE, build, histories, shapes, state_at


def reference(state: dict[bytes, bytes]) -> str:
    return xxh128_hex(
        b"".join(
            struct.pack("<II", len(key), len(value)) + key + value for key, value in sorted(state.items())
        )
    )


@given(histories(), shapes, st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_against_the_reference(tmp_path_factory, history, shape, seqno) -> None:
    layers = build(tmp_path_factory.mktemp("t"), history, **shape)
    state = state_at(history, seqno)
    digest = Xxh128()
    assert digest_entries(layers.at(seqno), digest) == count_entries(layers.at(seqno)) == len(state)
    assert digest.hexdigest() == reference(state)
    layers.check()


@given(histories(), shapes, shapes)
@settings(max_examples=60, deadline=None)
def test_it_does_not_depend_on_the_arrangement(tmp_path_factory, history, one, other) -> None:
    digests = []
    for shape in (one, other):
        digest = Xxh128()
        digest_entries(build(tmp_path_factory.mktemp("t"), history, **shape).reader, digest)
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]


def test_where_a_key_ends_and_its_value_begins_counts() -> None:
    assert reference({b"ab": b"c"}) != reference({b"a": b"bc"})
    assert reference({b"a": b"", b"b": b""}) != reference({b"a": b"b"})


def test_damage_is_an_error_and_not_another_digest(tmp_path: Path) -> None:
    history = [(b"%04d" % i, VALUE, b"v" * 50) for i in range(300)]
    shape = {
        "cuts": [300], "memtables": 0, "runs": 1, "table_entries": 300, "block_bytes": 200, "cache_bytes": 0
    }  # fmt: skip
    layers = build(tmp_path, history, **shape)
    assert count_entries(layers.reader) == 300
    data = bytearray((tmp_path / "0").read_bytes())
    data[3000] ^= 1
    (tmp_path / "0").chmod(0o644)
    (tmp_path / "0").write_bytes(data)
    with pytest.raises(CorruptionError):
        count_entries(layers.reader)
    with pytest.raises(CorruptionError):
        digest_entries(layers.reader, Xxh128())
