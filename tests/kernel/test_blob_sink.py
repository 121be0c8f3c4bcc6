"""What compaction does with large values: which go to blob files, which are moved, and what the table says of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel.blob import BlobReader
from fjeld.kernel.blob_sink import BlobSink
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.table_writer import TableWriter
from fjeld.kernel.view import View
from tests.kernel.blobs import (
    BLOB,
    FOOTER_BYTES,
    HEADER_BYTES,
    TRAILER_BYTES,
    Pointer,
    decode,
    open_blob,
    view_reader,
)
from tests.kernel.layers import VALUE, build, histories, shapes
from tests.kernel.tables import Version, open_table, order
from tests.kernel.test_compaction import HUGE, reference, snapshots_drawn


def sink_in(folder: Path, first: int, **chosen: int | set[int]) -> BlobSink:
    numbers = itertools.count(first)

    def next_file() -> tuple[int, str]:
        number = next(numbers)
        return number, str(folder / f"{number}.blb")

    options = {"threshold_bytes": 4, "file_bytes": 200} | chosen
    return BlobSink(next_file, **options)  # type: ignore[arg-type]


def compact(folder: Path, name: str, view: View, snapshots: list[int], drop: bool, sink: BlobSink, **more):
    """(facts, entries) of the one output, None where nothing is left; facts of the blob files."""
    compaction = Compaction(view, snapshots, drop, sink=sink, **more)
    writer = TableWriter(folder / name, keyspace_id="test", number=1, block_bytes=100)
    assert not compaction.run(writer, HUGE)
    if not writer.entries:
        writer.abandon()
        return None, [], sink.finish()
    facts = writer.finish()
    return facts, list(open_table(folder / name).scan()), sink.finish()


def values_of(folder: Path, files: list[dict]) -> dict[bytes, tuple[bytes, bytes]]:
    """(key, value) by pointer."""
    return {
        pointer.encode(): (key, value)
        for facts in files
        for pointer, key, value in decode((folder / f"{facts['number']}.blb").read_bytes(), facts["number"])
    }


def followed(entries: list[Version], values: dict[bytes, tuple[bytes, bytes]]) -> list[Version]:
    """The entries with the values that they point to."""
    found = []
    for key, seqno, kind, value in entries:
        if kind == BLOB:
            assert values[value][0] == key
            assert len(values[value][1]) >= 4
            found.append((key, seqno, VALUE, values[value][1]))
        else:
            assert len(value) < 4
            found.append((key, seqno, kind, value))
    return found


def references(entries: list[Version]) -> tuple[tuple[int, int, int], ...]:
    counts: dict[int, list[int]] = {}
    for key, _, kind, value in entries:
        if kind == BLOB:
            pointer = Pointer.of(value)
            count = counts.setdefault(pointer.number, [0, 0])
            count[0] += 1
            count[1] += pointer.stored_bytes + len(key) + TRAILER_BYTES
    return tuple((number, *count) for number, count in sorted(counts.items()))


def blobs_of(folder: Path, files: list[dict]) -> tuple[BlobReader, ...]:
    return tuple(open_blob(folder / f"{facts['number']}.blb", facts["number"]) for facts in files)


@given(histories(), shapes, snapshots_drawn, st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_against_the_reference(tmp_path_factory, history, shape, snapshots, drop, move) -> None:
    """Once with values from memtables and tables, once more with values from blob files, moved or not."""
    folder = tmp_path_factory.mktemp("t")
    view = build(folder, history, **shape).core.current_view()
    versions = sorted(((key, i + 1, kind, value) for i, (key, kind, value) in enumerate(history)), key=order)
    facts, entries, files = compact(folder, "first", view, snapshots, False, sink_in(folder, 100))
    kept = reference(versions, sorted(set(snapshots)), False)
    assert followed(entries, values_of(folder, files)) == kept
    if facts is None:
        assert kept == []
        return
    assert facts["blobs"] == references(entries)
    assert {number for number, _, _ in facts["blobs"]} == {found["number"] for found in files}
    for found in files:
        records = found["size_bytes"] - HEADER_BYTES - FOOTER_BYTES
        assert (found["number"], found["entries"], records) in facts["blobs"], "all of it is pointed to"

    moved = {found["number"] for found in files[::2]} if move else set()
    again = View((), ((open_table(folder / "first"),),), blobs_of(folder, files))
    sink = sink_in(folder, 500, moved=moved)
    facts, entries, more = compact(folder, "second", again, snapshots, drop, sink)
    assert followed(entries, values_of(folder, files + more)) == reference(kept, sorted(set(snapshots)), drop)
    if facts is not None:
        assert facts["blobs"] == references(entries)
        assert not moved & {number for number, _, _ in facts["blobs"]}
        assert sink.moved_bytes == sum(found["size_bytes"] - HEADER_BYTES - FOOTER_BYTES for found in more)


def memtable_of(values: dict[bytes, bytes]) -> MemtableOwner:
    memtable = MemtableOwner()
    for seqno, (key, value) in enumerate(values.items(), start=1):
        memtable.insert(key, seqno, VALUE, value)
    return memtable


def test_files_end_at_their_size(tmp_path: Path) -> None:
    view = View((memtable_of({b"%03d" % n: bytes([n]) * 50 for n in range(20)}),), ())
    _, _, files = compact(tmp_path, "t", view, [], True, sink_in(tmp_path, 1, codec=0))
    assert [facts["entries"] for facts in files] == [3] * 6 + [2], "the third of 77 bytes is over 200"


def test_a_moved_record_is_not_decompressed(tmp_path: Path) -> None:
    """The codec of the partition has changed meanwhile: the record stays what it was."""
    view = View((memtable_of({b"k": b"compressible " * 30}),), ())
    _, _, files = compact(tmp_path, "t", view, [], True, sink_in(tmp_path, 1, codec=2))
    again = View((), ((open_table(tmp_path / "t"),),), blobs_of(tmp_path, files))
    _, _entries, more = compact(tmp_path, "u", again, [], True, sink_in(tmp_path, 9, codec=0, moved={1}))
    assert more[0]["stored_bytes"] == files[0]["stored_bytes"] < more[0]["raw_bytes"]
    reader = view_reader(View((MemtableOwner(),), ((open_table(tmp_path / "u"),),), blobs_of(tmp_path, more)))
    assert reader.get(b"k") == b"compressible " * 30


def test_a_damaged_record_is_not_moved(tmp_path: Path) -> None:
    view = View((memtable_of({b"k": b"value" * 30}),), ())
    _, _, files = compact(tmp_path, "t", view, [], True, sink_in(tmp_path, 1))
    path = tmp_path / "1.blb"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:40] + b"?" + data[41:])
    again = View((), ((open_table(tmp_path / "t"),),), blobs_of(tmp_path, files))
    sink = sink_in(tmp_path, 9, moved={1})
    with pytest.raises(CorruptionError, match="checksum"):
        compact(tmp_path, "u", again, [], True, sink)
    assert sink.abandon() == [str(tmp_path / "9.blb")]


def test_the_filter_sees_values_and_writes_pointers(tmp_path: Path) -> None:
    values = {b"%03d" % n: b"%d" % n * (60 if n % 2 else 1) for n in range(3000)}
    view = View((memtable_of(values),), ())
    _, _, files = compact(tmp_path, "t", view, [], True, sink_in(tmp_path, 1, file_bytes=1 << 20))
    again = View((), ((open_table(tmp_path / "t"),),), blobs_of(tmp_path, files))
    shown: dict[bytes, bytes] = {}

    def third(pairs: list[tuple[bytes, bytes]]) -> list[bool]:
        shown.update(pairs)
        return [int(key) % 3 == 0 for key, _ in pairs]

    sink = sink_in(tmp_path, 900, file_bytes=1 << 20, moved={1})
    _facts, entries, more = compact(tmp_path, "u", again, [], True, sink, filter=third)
    assert shown == values
    kept = followed(entries, values_of(tmp_path, files + more))
    assert {key: value for key, _, _, value in kept} == {k: v for k, v in values.items() if int(k) % 3 == 0}
