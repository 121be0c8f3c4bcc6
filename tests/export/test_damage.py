"""An export that is not what was written: an error that names the place, and nothing left behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fjeld
from fjeld.export.frames import (
    CHUNK,
    END,
    HEAD,
    HEADER,
    PARTITION_END,
    PREFACE,
    Frame,
    FrameReader,
    FrameWriter,
)
from tests.small import SMALL_PARTITION
from tests.support import fill, opened


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = io.BytesIO()
    with opened(tmp_path_factory.mktemp("source") / "keyspace") as keyspace:
        fill(keyspace.partition("a", options=SMALL_PARTITION), 20)
        fill(keyspace.partition("b"), 10, seed=1)
        keyspace.partition("c")
        keyspace.export_to(out, compression="lz4")
    return out.getvalue()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = io.BytesIO()
    with opened(tmp_path_factory.mktemp("other") / "keyspace") as keyspace:
        fill(keyspace.partition("a", options=SMALL_PARTITION), 20, seed=9)
        fill(keyspace.partition("b"), 10, seed=9)
        keyspace.partition("c")
        keyspace.export_to(out, compression="lz4")
    return out.getvalue()


def frames_of(data: bytes) -> list[Frame]:
    reader = FrameReader(io.BytesIO(data), None)
    frames = [reader.read()]
    while frames[-1].kind != END:
        frames.append(reader.read())
    return frames


def raw_frames(data: bytes) -> list[bytes]:
    offsets = [frame.offset for frame in frames_of(data)] + [len(data)]
    return [data[start:end] for start, end in pairwise(offsets)]


def sealed(frames: list[Frame]) -> bytes:
    """A stream of these frames whose checksums are all right: what a bad writer would make."""
    out = io.BytesIO()
    writer = FrameWriter(out)
    for frame in frames:
        writer.write(
            frame.kind, frame.payload, codec=frame.codec, raw_bytes=frame.raw_bytes, entries=frame.entries
        )
    return out.getvalue()


def refused(
    data: bytes, folder: Path, kinds: tuple[type[Exception], ...] = (fjeld.CorruptionError,)
) -> Exception:
    before = sorted(os.listdir(folder))
    with pytest.raises(kinds) as caught:
        fjeld.import_from(io.BytesIO(data), folder / "new")
    assert sorted(os.listdir(folder)) == before, "nothing is left behind"
    return caught.value


def test_the_fixture_is_sound(data: bytes, quick_folder: Path) -> None:
    assert sealed(frames_of(data)) == data
    assert [frame.kind for frame in frames_of(data)] == [
        HEADER, CHUNK, PARTITION_END, CHUNK, PARTITION_END, PARTITION_END, END,
    ]  # fmt: skip
    fjeld.import_from(io.BytesIO(data), quick_folder / "new")


def test_cut_short_at_every_byte(data: bytes, quick_folder: Path) -> None:
    for size in range(len(data)):
        error = refused(data[:size], quick_folder)
        assert error.offset == size, "how much of it there is"


def test_every_byte_flipped(data: bytes, quick_folder: Path) -> None:
    kinds = (fjeld.CorruptionError, fjeld.UnsupportedFormatError)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        refused(bytes(flipped), quick_folder, kinds)


def test_extended(data: bytes, quick_folder: Path) -> None:
    for more in (b"\0", b"garbage" * 100, data):
        assert "follow the end" in str(refused(data + more, quick_folder))


def test_frames_lost_repeated_moved_and_taken_from_another(
    data: bytes, other: bytes, quick_folder: Path
) -> None:
    preface, frames, foreign = data[: PREFACE.size], raw_frames(data), raw_frames(other)
    changed = []
    for place in range(len(frames)):
        changed.append([*frames[:place], *frames[place + 1 :]])
        changed.append([*frames[: place + 1], *frames[place:]])
        changed.append([*frames[:place], foreign[place], *frames[place + 1 :]])
        for second in range(place):
            swapped = list(frames)
            swapped[place], swapped[second] = swapped[second], swapped[place]
            changed.append(swapped)
    for some in changed:
        refused(preface + b"".join(some), quick_folder)


def test_what_it_is_not(data: bytes, quick_folder: Path) -> None:
    assert "no export" in str(refused(b"PK\x03\x04" + bytes(100), quick_folder))
    assert "cut short" in str(refused(b"", quick_folder))
    newer = PREFACE.pack(b"FJELDEXP", 2, 0) + data[PREFACE.size :]
    assert "format 2" in str(refused(newer, quick_folder, (fjeld.UnsupportedFormatError,)))


def test_errors_name_the_file_and_the_place(data: bytes, tmp_path: Path) -> None:
    flipped = bytearray(data)
    flipped[frames_of(data)[1].offset + HEAD.size + 3] ^= 1
    (tmp_path / "x").write_bytes(flipped)
    with pytest.raises(fjeld.CorruptionError) as caught:
        fjeld.import_from(tmp_path / "x", tmp_path / "new")
    assert caught.value.path == str(tmp_path / "x")
    assert caught.value.offset == frames_of(data)[1].offset


def test_a_length_that_lies_takes_no_memory(data: bytes, quick_folder: Path) -> None:
    """A head with a right checksum and 4 GiB to come: what has come is all that is held."""
    out = io.BytesIO()
    writer = FrameWriter(out)
    frame = frames_of(data)[0]
    writer.write(HEADER, frame.payload)
    head_at = out.tell()
    writer.write(CHUNK, b"x" * 100, raw_bytes=1 << 32, entries=1)
    lying = bytearray(out.getvalue())
    assert head_at
    assert "decompress" in str(refused(bytes(lying), quick_folder))


# ---- right checksums around wrong content ----


def changed_document(frame: Frame, change: Callable[[dict], object]) -> Frame:
    document = json.loads(frame.payload)
    change(document)
    payload = json.dumps(document).encode()
    return Frame(frame.number, frame.offset, frame.kind, payload, 0, len(payload), 0)


WRONG: dict[str, tuple[int, Callable[[dict], object], str]] = {
    "entries of a partition": (2, lambda d: d.update(entries=19), "not what was exported"),
    "digest of a partition": (2, lambda d: d.update(xxh128="0" * 32), "not what was exported"),
    "name of a partition": (2, lambda d: d.update(name="b"), "not what was exported"),
    "entries": (6, lambda d: d.update(entries=1), "not what was exported"),
    "chunks": (6, lambda d: d.update(chunks=1), "not what was exported"),
    "digest": (6, lambda d: d.update(digest="0" * 32), "not what was exported"),
    "order": (0, lambda d: d["partitions"].reverse(), "order of name"),
    "a partition less": (0, lambda d: d["partitions"].pop(), "kind 3 stands where 4"),
    "id": (0, lambda d: d.update(keyspace="me"), "keyspace"),
    "seqno": (0, lambda d: d.update(seqno=-1), "seqno"),
    "time": (0, lambda d: d.update(created_at="noon"), "created_at"),
    "zone": (0, lambda d: d.update(created_at="2026-11-23T00:00:00"), "zone"),
    "metadata": (0, lambda d: d.update(metadata=3), "members"),
    "options": (0, lambda d: d["partitions"][0]["options"].update(block_bytes=1), "block_bytes"),
    "a member less": (0, lambda d: d.pop("seqno"), "no seqno"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_documents(data: bytes, quick_folder: Path, case: str) -> None:
    place, change, message = WRONG[case]
    frames = frames_of(data)
    frames[place] = changed_document(frames[place], change)
    assert message in str(refused(sealed(frames), quick_folder))


def test_members_of_a_newer_version(data: bytes, quick_folder: Path) -> None:
    for place in (0, 2, 6):
        frames = frames_of(data)
        frames[place] = changed_document(frames[place], lambda document: document.update(novelty=1))
        assert "novelty" in str(refused(sealed(frames), quick_folder, (fjeld.UnsupportedFormatError,)))


def test_chunks_that_do_not_belong(data: bytes, quick_folder: Path) -> None:
    frames = frames_of(data)
    refused(sealed([*frames[:3], frames[1], *frames[3:]]), quick_folder)
    refused(sealed([frames[0], frames[1], frames[1], *frames[2:]]), quick_folder)
    refused(sealed([frames[0], *frames[2:]]), quick_folder)
    refused(sealed([frames[1], *frames]), quick_folder)
    refused(sealed([frames[0], Frame(0, 0, HEADER, b"\xff", 0, 1, 0), *frames[1:]]), quick_folder)


def test_heads_that_cannot_be(data: bytes, quick_folder: Path) -> None:
    header = frames_of(data)[0].payload

    def with_frame(**changed: int) -> bytes:
        out = io.BytesIO()
        writer = FrameWriter(out)
        writer.write(**{"kind": HEADER, "payload": header, **changed})
        return out.getvalue()

    for changed in (
        {"kind": 9},
        {"kind": 0},
        {"codec": 1},
        {"entries": 1},
        {"raw_bytes": 1},
        {"raw_bytes": 1 << 60},
    ):
        assert "cannot be" in str(refused(with_frame(**changed), quick_folder))
    with pytest.raises(struct.error):
        with_frame(entries=1 << 40)


def verified(stream: bytes, folder: Path) -> bool:
    """Does verify find nothing wrong?"""
    (folder / "stream").write_bytes(stream)
    try:
        return fjeld.verify(folder / "stream").ok
    except (fjeld.NotAKeyspaceError, fjeld.UnsupportedFormatError):
        return False
    finally:
        (folder / "stream").unlink()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_mutated_streams(data: bytes, quick_folder: Path, draw: st.DataObject) -> None:
    """Any change of any frame, with checksums made right again: an error, or exactly what was exported."""
    frames = frames_of(data)
    place = draw.draw(st.integers(0, len(frames) - 1))
    frame = frames[place]
    payload = bytearray(frame.payload)
    for _ in range(draw.draw(st.integers(0, 4))):
        at = draw.draw(st.integers(0, len(payload)))
        size = draw.draw(st.integers(0, 8))
        payload[at : at + size] = draw.draw(st.binary(max_size=8))
    frames[place] = Frame(
        frame.number,
        frame.offset,
        draw.draw(st.sampled_from([frame.kind] * 4 + [1, 2, 3, 4])),
        bytes(payload),
        draw.draw(st.sampled_from([frame.codec] * 4 + [0, 1, 2])),
        draw.draw(st.sampled_from([frame.raw_bytes] * 4 + [len(payload), 0, 7])),
        draw.draw(st.sampled_from([frame.entries] * 4 + [0, 1, 21])),
    )
    stream = sealed(frames)
    found_good = verified(stream, quick_folder)
    target = quick_folder / "new"
    try:
        info = fjeld.import_from(io.BytesIO(stream), target)
    except (fjeld.CorruptionError, fjeld.UnsupportedFormatError):
        assert os.listdir(quick_folder) == []
        assert not found_good, "verify lets nothing pass that an import refuses"
        return
    assert found_good, "and refuses nothing that an import takes"
    with fjeld.open(target) as copy:
        assert copy.digest() == info.digest == json.loads(frames_of(data)[-1].payload)["digest"]
    target.rename(quick_folder / "used")
    shutil.rmtree(quick_folder / "used")


@given(st.binary(max_size=400))
def test_arbitrary_bytes(garbage: bytes) -> None:
    for start in (b"", PREFACE.pack(b"FJELDEXP", 1, 0)):
        with pytest.raises((fjeld.CorruptionError, fjeld.UnsupportedFormatError)):
            FrameReader(io.BytesIO(start + garbage), None).read()
