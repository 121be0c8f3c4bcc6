"""The manifest: what was acknowledged is read back, what was torn left out, anything else is corruption."""

import errno
import itertools
import json
import os
import stat
import struct

import pytest

from fjeld.errors import ClosedError, CorruptionError, PoisonedError, UnsupportedFormatError
from fjeld.kernel import files
from fjeld.kernel.checksum import xxh64
from fjeld.manifest import framing, log
from fjeld.manifest.edit import Counters, CreatePartition, Edit
from fjeld.manifest.log import ManifestReader, ManifestWriter, read_manifest
from fjeld.options import PartitionOptions
from tests.manifest.samples import ID, OTHER_ID, empty, grown, history


@pytest.fixture(autouse=True)
def _no_faults():
    yield
    files.clear_faults()
    files.stop_trace()


def write(directory, edits=None, *, number=7, close=True, base=None):
    """A manifest; returns its path and the versions it went through."""
    writer = ManifestWriter(directory, number, empty() if base is None else base)
    versions = [empty() if base is None else base]
    for edit in history() if edits is None else edits:
        writer.append(edit)
        versions.append(versions[-1].apply(edit))
    if close:
        writer.close()
    return writer.path, versions


def boundaries(data):
    """The offsets at which records begin, and the end."""
    offsets = [framing.HEADER_BYTES]
    while offsets[-1] < len(data):
        offsets.append(framing.record_at(data, offsets[-1]).end)
    return offsets


def rewrite(path, data):
    os.chmod(path, 0o644)
    with open(path, "wb") as file:
        file.write(data)


# ---- writing ----


def test_what_is_written_is_read(tmp_path):
    path, versions = write(tmp_path)
    version, info = read_manifest(path)
    assert version == versions[-1]
    assert (info.number, info.edits, info.torn_bytes, info.sealed) == (7, len(history()), 0, True)
    assert info.size_bytes == os.path.getsize(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o444


def test_a_manifest_that_begins_with_much(tmp_path):
    path, _ = write(tmp_path, [], base=grown())
    assert read_manifest(path)[0] == grown()


def test_a_process_that_died_left_no_seal(tmp_path):
    path, versions = write(tmp_path, close=False)
    version, info = read_manifest(path)
    assert version == versions[-1]
    assert not info.sealed


def test_each_edit_is_synced_when_append_returns(tmp_path):
    writer = ManifestWriter(tmp_path, 7, empty())
    files.start_trace()
    writer.append(history()[0])
    assert [event[0] for event in files.stop_trace()] == ["write", "sync"]
    writer.close()


def test_a_new_manifest_is_on_disk_name_included(tmp_path):
    files.start_trace()
    writer = ManifestWriter(tmp_path, 7, empty())
    assert [event[0] for event in files.stop_trace()] == ["create", "write", "sync", "sync_dir"]
    writer.close()


def test_a_number_is_never_used_twice(tmp_path):
    path, versions = write(tmp_path)
    with pytest.raises(FileExistsError):
        ManifestWriter(tmp_path, 7, empty())
    assert read_manifest(path)[0] == versions[-1]


def test_closing(tmp_path):
    writer = ManifestWriter(tmp_path, 7, empty())
    writer.close()
    writer.close()
    with pytest.raises(ClosedError):
        writer.append(history()[0])


@pytest.mark.parametrize("operation", ["write", "pwrite_short", "sync"])
def test_after_a_failed_append_the_writer_takes_no_more(tmp_path, operation):
    writer = ManifestWriter(tmp_path, 7, empty())
    writer.append(history()[0])
    before = empty().apply(history()[0])
    files.inject(operation, 0, errno.ENOSPC)
    with pytest.raises(OSError):
        writer.append(history()[1])
    assert writer.broken
    with pytest.raises(PoisonedError, match="reopen"):
        writer.append(history()[2])
    writer.close()
    version, info = read_manifest(writer.path)
    assert not info.sealed
    assert version in (before, before.apply(history()[1])), "the failed edit as a whole, or nothing of it"


def test_an_edit_that_cannot_be_written_breaks_nothing(tmp_path):
    class Unwritable(CreatePartition):
        def to_json(self):
            return {"name": float("nan")}

    writer = ManifestWriter(tmp_path, 7, empty())
    with pytest.raises(ValueError):
        writer.append(Edit.of(Unwritable(1, "p", PartitionOptions())))
    assert not writer.broken
    writer.append(history()[0])
    writer.close()
    assert read_manifest(writer.path)[0] == empty().apply(history()[0])


@pytest.mark.parametrize("operation", ["create", "write", "sync", "sync_dir"])
def test_a_manifest_that_cannot_be_started_raises(tmp_path, operation):
    files.inject(operation, 0, errno.EIO)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError) as caught:
        ManifestWriter(tmp_path, 7, empty())
    assert len(os.listdir("/proc/self/fd")) == before, (
        "while the error, and with it the frame, is there still"
    )
    del caught


@pytest.mark.parametrize("operation", ["write", "sync", "seal"])
def test_a_seal_that_fails_is_reported_and_harmless(tmp_path, operation):
    _, versions = write(tmp_path, close=False, number=6)
    writer = ManifestWriter(tmp_path, 7, versions[-1])
    files.inject(operation, 0, errno.EIO)
    with pytest.raises(OSError):
        writer.close()
    writer.close()
    assert read_manifest(writer.path)[0] == versions[-1]


def test_rolling_over_starts_when_the_edits_outweigh_the_version(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "ROLL_MINIMUM_BYTES", 1000)
    writer = ManifestWriter(tmp_path, 7, empty())
    assert not writer.should_roll()
    while writer.size_bytes <= 1000:
        assert not writer.should_roll()
        writer.append(Edit.of(Counters(1, 1, 1)))
    assert writer.should_roll()
    writer.close()


def test_a_large_version_is_not_rolled_over_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "ROLL_MINIMUM_BYTES", 0)
    writer = ManifestWriter(tmp_path, 7, grown())
    assert not writer.should_roll()
    writer.close()


def test_a_child_of_fork_does_not_write_to_its_parents_manifest(tmp_path, monkeypatch):
    writer = ManifestWriter(tmp_path, 7, empty())
    size = os.path.getsize(writer.path)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(ClosedError):
        writer.append(history()[0])
    writer.close()
    assert os.path.getsize(writer.path) == size


# ---- torn tails ----


def test_cut_anywhere_it_is_the_version_of_some_edit_or_corruption(tmp_path):
    path, versions = write(tmp_path)
    data = files.read_file(path)
    offsets = boundaries(data)
    versions.append(versions[-1])  # the seal changes nothing
    for size in range(len(data)):
        rewrite(path, data[:size])
        if size < offsets[1]:
            with pytest.raises(CorruptionError):
                read_manifest(path)
            continue
        whole = sum(offset <= size for offset in offsets) - 2
        version, info = read_manifest(path)
        assert version == versions[whole]
        assert info.torn_bytes == size - offsets[whole + 1]


@pytest.mark.parametrize(
    "tail", [bytes(5000), b"\xff" * 300, b'{"keyspace":"', b"\x05\0\0\0\0\0\0\0abcdefgh12345"]
)
def test_zeros_and_garbage_after_the_last_edit_of_a_process_that_died(tmp_path, tail):
    path, versions = write(tmp_path, close=False)
    with open(path, "ab") as file:
        file.write(tail)
    version, info = read_manifest(path)
    assert version == versions[-1]
    assert info.torn_bytes == len(tail)


def test_the_last_edit_of_a_process_that_died_may_be_torn_in_its_middle(tmp_path):
    path, versions = write(tmp_path, close=False)
    data = files.read_file(path)
    start = boundaries(data)[-2]
    for at in range(start, len(data), 7):
        rewrite(path, data[:at] + bytes(len(data) - at))
        assert read_manifest(path)[0] == versions[-2]


# ---- damage ----


def read_or_refuse(path):
    """The version, or None where the file was refused; the error names it."""
    try:
        return read_manifest(path)[0]
    except (CorruptionError, UnsupportedFormatError) as error:
        message = str(error)
    assert path in message
    return None


def test_every_flipped_bit_of_a_closed_manifest_is_found_or_harmless(tmp_path):
    """The seal vouches for all that is before it; only the seal itself can be lost without a word."""
    path, versions = write(tmp_path, history()[:4])
    data = files.read_file(path)
    seal = boundaries(data)[-2]
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        rewrite(path, damaged)
        assert read_or_refuse(path) in ([None] if position < seal else [None, versions[-1]])


def test_every_flipped_bit_of_an_unclosed_manifest_is_found_but_in_its_last_edit(tmp_path):
    """There it may look like a torn write; most of the time it does not."""
    path, versions = write(tmp_path, history()[:4], close=False)
    data = files.read_file(path)
    last = boundaries(data)[-2]
    refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        rewrite(path, damaged)
        version = read_or_refuse(path)
        assert version in ([None] if position < last else [None, versions[-2]])
        refused += position >= last and version is None
    assert refused > (len(data) - last) / 2


@pytest.mark.parametrize("sector_bytes", [64, 512])
def test_any_sectors_of_the_last_edit_may_be_missing_after_a_power_cut(tmp_path, sector_bytes):
    edits = history()
    for padding in range(16):  # so that the record begins at different places in its sector
        partition = CreatePartition(1, "x" * (padding + 1), PartitionOptions())
        path, versions = write(tmp_path, [Edit.of(partition), edits[1]], number=20 + padding, close=False)
        data = files.read_file(path)
        start = boundaries(data)[-2]
        for sector in range(start // sector_bytes, len(data) // sector_bytes + 1):
            torn = bytearray(data)
            left, right = max(start, sector * sector_bytes), min(len(data), (sector + 1) * sector_bytes)
            torn[left:right] = bytes(right - left)
            rewrite(path, torn)
            assert read_manifest(path)[0] == (versions[-2] if left < right else versions[-1])


@pytest.mark.parametrize("index", range(1, 8))
def test_a_damaged_record_is_named_by_file_and_offset(tmp_path, index):
    path, _ = write(tmp_path)
    data = bytearray(files.read_file(path))
    offset = boundaries(data)[index]
    data[offset + 20] ^= 1
    rewrite(path, data)
    with pytest.raises(CorruptionError, match="others follow") as caught:
        read_manifest(path)
    assert (caught.value.path, caught.value.offset) == (path, offset)


def test_records_left_out_repeated_or_displaced_are_found(tmp_path):
    path, _ = write(tmp_path)
    data = files.read_file(path)
    for left, right in itertools.pairwise(boundaries(data)[:-1]):
        displaced = [
            data[:left] + data[right:],
            data[:right] + data[left:],
            data[:left] + b"x" + data[left:],
            data[: left + 40] + data[left + 30 :],
            data[: left + 30] + data[left + 40 :],
            data[:left] + bytes(right - left) + data[right:],
        ]
        for damaged in displaced:
            rewrite(path, damaged)
            with pytest.raises(CorruptionError):
                read_manifest(path)


def test_nothing_may_follow_the_seal(tmp_path):
    path, _ = write(tmp_path)
    data = files.read_file(path)
    more = framing.encode_record({"keyspace": ID, "manifest": 7, "edit": []}, len(data))
    for tail in (b"\0", more):
        rewrite(path, data + tail)
        with pytest.raises(CorruptionError, match="follow the seal"):
            read_manifest(path)


# ---- identities ----


def test_a_manifest_under_another_number_is_not_believed(tmp_path):
    path, _ = write(tmp_path)
    os.rename(path, tmp_path / "MANIFEST-000008")
    with pytest.raises(CorruptionError, match="manifest 7 under another"):
        read_manifest(tmp_path / "MANIFEST-000008")
    with pytest.raises(CorruptionError, match="not the name"):
        read_manifest(tmp_path / "elsewhere")


@pytest.mark.parametrize(("keyspace", "number"), [(OTHER_ID, 7), (ID, 6)])
def test_what_the_disk_still_holds_of_another_manifest_is_no_edit_of_this_one(tmp_path, keyspace, number):
    path, versions = write(tmp_path, close=False)
    size = os.path.getsize(path)
    stale = framing.encode_record(
        {"keyspace": keyspace, "manifest": number, "edit": Edit.of(Counters(999, 999, 999)).to_json()}, size
    )
    with open(path, "ab") as file:
        file.write(stale)
    version, info = read_manifest(path)
    assert version == versions[-1]
    assert info.torn_bytes == len(stale)


def forge(tmp_path, *payloads):
    """A manifest of these payloads, with right checksums."""
    data = framing.HEADER
    for payload in payloads:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        length = struct.pack("<I", len(body))
        data += length + bytes(4) + struct.pack("<Q", xxh64(length + body, len(data))) + body
    path = tmp_path / "MANIFEST-000007"
    path.write_bytes(data)
    return path


def record(**content):
    return {"keyspace": ID, "manifest": 7, **content}


SNAPSHOT = record(snapshot=json.loads(empty().text()))


@pytest.mark.parametrize(
    ("payloads", "problem"),
    [
        ((), "first record is damaged"),
        ((record(edit=[]),), "is no snapshot"),
        ((b"[]",), "not a JSON object"),
        (({**SNAPSHOT, "keyspace": OTHER_ID},), "of another keyspace"),
        ((record(snapshot={}),), "the version has no"),
        ((SNAPSHOT, b"{"), "not JSON"),
        ((SNAPSHOT, record()), "no edit"),
        ((SNAPSHOT, record(edit={})), "not a list"),
        ((SNAPSHOT, record(edit=[{"change": "drop_partition", "partition": 5}])), "does not fit"),
        ((SNAPSHOT, record(sealed=False)), "seal is not one"),
    ],
)
def test_a_right_checksum_does_not_make_nonsense_true(tmp_path, payloads, problem):
    path = forge(tmp_path, *payloads)
    with pytest.raises(CorruptionError, match=problem) as caught:
        read_manifest(path)
    assert caught.value.path == str(path)
    assert caught.value.offset is not None


@pytest.mark.parametrize(
    "payloads",
    [
        ({**SNAPSHOT, "shiny": 1},),
        (SNAPSHOT, record(shiny=1)),
        (SNAPSHOT, record(edit=[], shiny=1)),
        (SNAPSHOT, record(edit=[{"change": "shiny"}])),
    ],
)
def test_what_a_newer_version_has_written_is_not_passed_over(tmp_path, payloads):
    with pytest.raises(UnsupportedFormatError, match=r"MANIFEST-000007.*shiny.*upgrade"):
        read_manifest(forge(tmp_path, *payloads))


def test_a_newer_format(tmp_path):
    path, _ = write(tmp_path)
    data = bytearray(files.read_file(path))
    data[8] = 2
    rewrite(path, data)
    with pytest.raises(UnsupportedFormatError, match="format 2"):
        read_manifest(path)


def test_a_reader_goes_on_from_where_it_was(tmp_path):
    edits = history()
    writer = ManifestWriter(tmp_path, 7, empty())
    for edit in edits[:3]:
        writer.append(edit)
    reader = ManifestReader(writer.path)
    assert reader.more() == []
    for edit in edits[3:]:
        writer.append(edit)
    assert reader.more() == edits[3:]
    assert reader.version == grown_from(edits)
    writer.close()
    assert reader.more() == []
    assert reader.info().sealed


def grown_from(edits):
    version = empty()
    for edit in edits:
        version = version.apply(edit)
    return version
