"""The merge: any history in any arrangement of memtables and tables, read at any seqno, against a dict."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from tests.kernel.layers import TOMBSTONE, VALUE, build, histories, shapes, state_at
from tests.kernel.tables import keys

ALL_KINDS = {
    "cuts": [2, 4, 6, 8],
    "memtables": 1,
    "runs": 2,
    "table_entries": 1,
    "block_bytes": 1,
    "cache_bytes": 0,
}


@given(histories(), shapes)
@example([(b"k", VALUE, b"%d" % i) for i in range(10)], ALL_KINDS)  # ten versions, in every kind of layer
@example([(b"k", i % 2, b"") for i in range(10)], ALL_KINDS)
@settings(max_examples=150, deadline=None)
def test_every_seqno_in_both_directions(tmp_path_factory, history, shape) -> None:
    layers = build(tmp_path_factory.mktemp("t"), history, **shape)
    for seqno in range(len(history) + 1):
        expected = list(state_at(history, seqno).items())
        reader = layers.at(seqno)
        assert list(reader.scan_items()) == expected
        assert list(reader.scan_items(True)) == expected[::-1]
    layers.check()


@given(
    histories(),
    shapes,
    st.integers(0, 60),
    st.lists(st.tuples(st.none() | keys, st.none() | keys, st.booleans(), st.booleans()), max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_every_bound(tmp_path_factory, history, shape, seqno, ranges) -> None:
    layers = build(tmp_path_factory.mktemp("t"), history, **shape)
    reader = layers.at(seqno)
    state = state_at(history, seqno)
    for start, stop, with_start, with_stop in ranges:
        expected = [
            (key, value)
            for key, value in state.items()
            if (start is None or key > start or (with_start and key == start))
            and (stop is None or key < stop or (with_stop and key == stop))
        ]
        bounds = {"include_start": with_start, "include_stop": with_stop}
        assert list(reader.range(start, stop, **bounds)) == expected
        assert list(reader.range(start, stop, reverse=True, **bounds)) == expected[::-1]


@given(histories(), shapes, st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_look_ups_agree_with_scans(tmp_path_factory, history, shape, seqno) -> None:
    layers = build(tmp_path_factory.mktemp("t"), history, **shape)
    state = state_at(history, seqno)
    reader = layers.at(seqno)
    probes = [key + suffix for key, _, _ in history for suffix in (b"", b"\x00")] + [b"", b"zz"]
    for key in probes:
        assert reader.get(key) == state.get(key)
        assert reader.size_of(key) == (None if key not in state else len(state[key]))
        assert (key in reader) == (key in state)
    assert reader.get_many(probes) == [state.get(key) for key in probes]
    assert reader.first() == next(iter(state.items()), None)
    assert reader.last() == next(iter(reversed(state.items())), None)
    assert reader.is_empty() == (not state)
    layers.check()


def test_an_old_value_in_another_block_outlives_the_move_to_its_key(tmp_path: Path) -> None:
    """In reverse the newest visible version of a key comes last; its predecessors' blocks are gone by then."""
    history = [(b"k", VALUE, b"%04d" % i * 100) for i in range(40)] + [
        (b"j", VALUE, b"j"),
        (b"l", VALUE, b"l"),
    ]
    layers = build(tmp_path, history, **{**ALL_KINDS, "cuts": [42], "memtables": 0, "runs": 1})
    for seqno in (1, 20, 40, 42):
        state = state_at(history, seqno)
        assert list(layers.at(seqno).scan_items(True)) == list(state.items())[::-1]


def test_damage_in_one_source_is_an_error_and_not_a_gap(tmp_path: Path) -> None:
    history = [(b"key%05d" % (i * 7919 % 3000), VALUE, b"v" * 20) for i in range(3000)]
    layers = build(tmp_path, history, **{**ALL_KINDS, "cuts": [1000, 2000], "runs": 0, "block_bytes": 500})
    file = tmp_path / "1"
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    for reverse in (False, True):
        seen = []
        with pytest.raises(CorruptionError) as met:
            for entry in layers.reader.scan_items(reverse):
                seen.append(entry)
        everything = list(state_at(history).items())[:: -1 if reverse else 1]
        assert seen == everything[: len(seen)]
        assert len(seen) > 100
        assert met.value.path == str(file)


def test_a_tombstone_hides_what_lies_beneath_in_every_layer(tmp_path: Path) -> None:
    for layer in range(5):
        folder = tmp_path / str(layer)
        folder.mkdir()
        history = [(b"a", VALUE, b"a"), (b"k", VALUE, b"old"), (b"k", TOMBSTONE, b"")]
        history[1:1] = [(b"x%d" % i, VALUE, b"") for i in range(layer)]
        layers = build(folder, history, **{**ALL_KINDS, "cuts": list(range(len(history)))})
        assert b"k" not in dict(layers.reader.scan_items())
        assert b"k" not in dict(layers.reader.scan_items(True))
        assert layers.reader.get(b"k") is None
        assert layers.at(len(history) - 1).get(b"k") == b"old"
