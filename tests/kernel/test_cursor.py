"""The cursor: any walk over any history, against a list and a position in it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import ClosedError
from tests.kernel.layers import VALUE, build, histories, shapes, state_at
from tests.kernel.tables import keys

FLAT = {
    "cuts": [5],
    "memtables": 1,
    "runs": 1,
    "table_entries": 2,
    "block_bytes": 40,
    "cache_bytes": 0,
}


class Model:
    """Entries in order, and a place: -1 in front of the first, len(entries) behind the last."""

    def __init__(self, entries: list[tuple[bytes, bytes]]) -> None:
        self.entries = entries
        self.names = [key for key, _ in entries]
        self.at = -1

    def move(self, name: str, key: bytes) -> bool:
        moves = {
            "seek": lambda: bisect_left(self.names, key),
            "seek_for_prev": lambda: bisect_right(self.names, key) - 1,
            "seek_first": lambda: 0,
            "seek_last": lambda: len(self.names) - 1,
            "next": lambda: min(self.at + 1, len(self.names)),
            "prev": lambda: max(self.at - 1, -1),
        }
        self.at = moves[name]()
        return self.valid

    @property
    def valid(self) -> bool:
        return 0 <= self.at < len(self.entries)


walks = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "seek",
                "seek_for_prev",
                "seek_first",
                "seek_last",
                "next",
                "next",
                "next",
                "prev",
                "prev",
                "prev",
            ]
        ),
        keys,
    ),
    max_size=40,
)


@given(
    histories(),
    shapes,
    st.integers(0, 60),
    walks,
    st.none() | keys,
    st.none() | keys,
    st.none() | keys,
)
@settings(max_examples=250, deadline=None)
def test_any_walk(tmp_path_factory, history, shape, seqno, walk, start, stop, prefix) -> None:
    layers = build(tmp_path_factory.mktemp("t"), history, **shape)
    if prefix is not None:
        start = stop = None
    model = Model(
        [
            (key, value)
            for key, value in state_at(history, seqno).items()
            if (start is None or key >= start)
            and (stop is None or key < stop)
            and key.startswith(prefix or b"")
        ]
    )
    with layers.at(seqno).cursor(start=start, stop=stop, prefix=prefix) as cursor:
        assert not cursor.valid
        for name, key in walk:
            moved = getattr(cursor, name)(key) if name.startswith("seek") and name[4:5] != "_" else None
            if name == "seek_for_prev":
                moved = cursor.seek_for_prev(key)
            elif moved is None:
                moved = getattr(cursor, name)()
            assert moved == model.move(name, key) == cursor.valid
            if model.valid:
                assert (cursor.key, cursor.value) == model.entries[model.at]
            else:
                with pytest.raises(ValueError, match="no entry"):
                    _ = cursor.key
                with pytest.raises(ValueError, match="no entry"):
                    _ = cursor.value
    layers.check()


def test_a_closed_cursor_refuses_everything(tmp_path: Path) -> None:
    cursor = build(tmp_path, [(b"k", VALUE, b"v")], **FLAT).reader.cursor()
    assert cursor.seek_first()
    cursor.close()
    cursor.close()
    assert not cursor.valid
    for use in (cursor.next, cursor.prev, cursor.seek_first, cursor.seek_last):
        with pytest.raises(ClosedError):
            use()
    for use in (cursor.seek, cursor.seek_for_prev):
        with pytest.raises(ClosedError):
            use(b"k")
    with pytest.raises(ClosedError):
        _ = cursor.key
    with pytest.raises(ClosedError):
        _ = cursor.value


def test_a_released_snapshot_ends_its_cursors(tmp_path: Path) -> None:
    reader = build(tmp_path, [(b"k", VALUE, b"v")], **FLAT).at(1)
    cursor = reader.cursor()
    cursor.seek_first()
    reader.release()
    with pytest.raises(ClosedError):
        cursor.next()
    with pytest.raises(ClosedError):
        _ = cursor.value


def test_a_prefix_or_bounds_but_not_both(tmp_path: Path) -> None:
    reader = build(tmp_path, [(b"k", VALUE, b"v")], **FLAT).reader
    with pytest.raises(ValueError, match="not both"):
        reader.cursor(start=b"a", prefix=b"b")
    with pytest.raises(ValueError, match="not both"):
        reader.cursor(stop=b"a", prefix=b"b")


def test_what_it_gives_is_a_copy(tmp_path: Path) -> None:
    """Key and value outlive the step, the block and the cursor."""
    history = [(b"key%03d" % i, VALUE, b"value%03d" % i * 5) for i in range(200)]
    layers = build(tmp_path, history, **{**FLAT, "cuts": [200], "memtables": 0})
    cursor = layers.reader.cursor()
    entries = []
    while cursor.next():
        entries.append((cursor.key, cursor.value))
    cursor.close()
    assert entries == list(state_at(history).items())
