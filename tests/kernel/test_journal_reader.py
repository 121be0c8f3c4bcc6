"""The reader of the journal: what it believes, and how it tells a torn tail from damage."""

import os
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.kernel import files
from fjeld.kernel.checksum import xxh64
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.journal_record import encode_entry

Entry = tuple[int, int, bytes, bytes]
Records = list[tuple[int, int, list[Entry]]]

NUMBER = 7
SEAL = 0xFFFFFFFF


def record(
    offset: int,
    body: bytes,
    count: int,
    seqno: int,
    *,
    persisted: int = 0,
    number: int = NUMBER,
    time_ns: int = 9,
) -> bytes:
    """One record as the format has it, whether or not it makes sense."""
    rest = struct.pack("<IIQQQ", 40 + len(body), count, seqno, time_ns, persisted) + body
    out = struct.pack("<Q", xxh64(rest, (number << 32) ^ offset)) + rest
    return out + bytes(-len(out) % 8)


def header(*, number: int = NUMBER, version: int = 1) -> bytes:
    out = b"FJELDJNL" + struct.pack("<IIQ", version, 0, number)
    return out + struct.pack("<Q", xxh64(out))


def value(key: bytes, data: bytes = b"v") -> bytes:
    return encode_entry(1, 1, key, data)


def journal(*persisted: int, sealed: bool = False, seal_claims: int = 0) -> bytes:
    """A journal with one record of one entry for each `persisted`: seqnos from 1."""
    out = header()
    for i, claim in enumerate(persisted):
        out += record(len(out), value(b"key%d" % i), 1, i + 1, persisted=claim)
    if sealed:
        out += record(len(out), b"", SEAL, len(persisted), persisted=seal_claims)
    return out


def offset_of(index: int) -> int:
    return 32 + index * 56  # 40 + 4 + 4 + 1 bytes, padded


def read(
    data: bytes, *, allow_torn: bool, after_seqno: int = 0, end_bytes: int | None = None
) -> tuple[Records, JournalReader]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        path.write_bytes(data)
        reader = JournalReader(
            str(path), NUMBER, allow_torn=allow_torn, after_seqno=after_seqno, end_bytes=end_bytes
        )
        return list(reader), reader


def records_of(data: bytes) -> Records:
    return read(data, allow_torn=True)[0]


# ---- round trips ----


entries = st.tuples(st.just(1), st.integers(0, 2**32 - 1), st.binary(max_size=20), st.binary(max_size=300))
tombstones = st.tuples(st.sampled_from([0, 2]), st.integers(0, 300), st.binary(max_size=20), st.just(b""))
batches = st.lists(st.lists(entries | tombstones, min_size=1, max_size=5), max_size=8)


@settings(deadline=None, max_examples=40)  # each example syncs a file
@given(batches, st.booleans(), st.integers(0, 2**40))
def test_what_is_written_is_read(all_batches: list[list[Entry]], mapped: bool, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "j")
        writer = JournalWriter(path, number, 1 << 16, mapped=mapped)
        expected: Records = []
        last = 0
        for batch in all_batches:
            body = b"".join(encode_entry(*entry) for entry in batch)
            writer.append(body, len(batch), last + 1, 1_000 + last, 0)
            expected.append((last + 1, 1_000 + last, batch))
            last += len(batch)

        live = JournalReader(path, number, allow_torn=True)
        assert list(live) == expected
        assert (live.outcome, live.torn_offset, live.last_seqno) == ("open", None, last)
        assert live.position == writer.position

        writer.seal()
        untruncated = JournalReader(path, number, allow_torn=False)
        assert list(untruncated) == expected
        writer.finish()
        for allow_torn in (False, True):
            sealed = JournalReader(path, number, allow_torn=allow_torn)
            assert list(sealed) == expected
            assert (sealed.outcome, sealed.torn_offset, sealed.last_seqno) == ("sealed", None, last)


def test_a_large_journal_with_a_long_empty_tail(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    writer = JournalWriter(path, 1, 256 << 20)
    for seqno in range(1, 51):
        writer.append(value(b"%d" % seqno, os.urandom(100_000)), 1, seqno, 0, 0)
    reader = JournalReader(path, 1, allow_torn=True)
    assert [seqno for seqno, _, _ in reader] == list(range(1, 51))
    assert reader.outcome == "open"
    writer.close()


def test_a_value_that_ends_in_a_hole_is_whole(tmp_path: Path) -> None:
    """A copy may turn zeros into holes (cp --sparse=always): they are bytes like others."""
    data = header() + record(32, value(b"k", b"x" + bytes(300_000)), 1, 1)
    path = tmp_path / "j"
    with path.open("wb") as f:
        f.write(data[:4096])
        f.truncate(len(data) + (1 << 20))
    [(_, _, [(_, _, _, found)])] = list(JournalReader(str(path), NUMBER, allow_torn=True))
    assert found == b"x" + bytes(300_000)


# ---- every truncation, every flipped byte ----


@pytest.mark.parametrize("sealed", [True, False])
def test_every_truncation(sealed: bool) -> None:
    data = journal(0, 1, 2, 3, sealed=sealed)
    whole = records_of(data)
    for cut in range(len(data)):
        with pytest.raises(CorruptionError):
            read(data[:cut], allow_torn=False)
        try:
            found, reader = read(data[:cut], allow_torn=True)
        except CorruptionError:
            assert cut < 32  # a header that is cut short
            continue
        complete = max(0, cut - 32) // 56
        # The last bytes of a record are padding: without them it is still whole.
        assert found in (whole[:complete], whole[: complete + 1])
        assert reader.outcome in ("open", "torn")


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("allow_torn", [True, False])
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_flipped_byte(sealed: bool, allow_torn: bool, flip: int) -> None:
    data = journal(0, 1, 2, 3, sealed=sealed) + bytes(0 if sealed else 64)
    whole = records_of(data)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= flip
        try:
            found, reader = read(bytes(damaged), allow_torn=allow_torn)
        except (CorruptionError, UnsupportedFormatError) as error:
            offset = error.offset if isinstance(error, CorruptionError) else None
            assert offset is not None
            assert offset <= at or not allow_torn
            continue
        assert found == whole[: len(found)]
        if not allow_torn:
            assert found == whole  # a padding byte
        elif len(found) < len(whole):
            # Only the last record may be lost: the others are proved by what follows them.
            assert (len(found), reader.outcome) == (len(whole) - 1, "torn")


@settings(deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_behind_a_header(data: bytes, allow_torn: bool) -> None:
    try:
        found, reader = read(header() + data, allow_torn=allow_torn)
    except CorruptionError as error:
        assert None not in (error.path, error.offset)
    else:
        assert found == []
        assert reader.outcome in ("open", "torn")


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100), st.integers(1, 20))
def test_any_entries_under_a_right_checksum(body: bytes, count: int) -> None:
    """Either they are `count` entries exactly, or it is damage."""
    data = header() + record(32, body, count, 1)
    try:
        [(_, _, found)] = records_of(data)
    except CorruptionError as error:
        assert error.offset == 32
    else:
        assert len(found) == count


# ---- the header ----


def test_headers() -> None:
    with pytest.raises(CorruptionError, match="cut short"):
        read(b"FJELD", allow_torn=False)
    with pytest.raises(CorruptionError, match="header"):
        read(b"X" + header()[1:], allow_torn=True)
    with pytest.raises(CorruptionError, match="journal 8"):
        read(header(number=8), allow_torn=True)
    with pytest.raises(UnsupportedFormatError, match="newer"):
        read(header(version=2), allow_torn=True)
    damaged = bytearray(header(version=2))
    damaged[20] ^= 1
    with pytest.raises(CorruptionError):
        read(bytes(damaged), allow_torn=True)


@pytest.mark.parametrize("size", [0, 20, 32, 4096])
def test_a_header_that_was_never_on_disk(size: int) -> None:
    found, reader = read(bytes(size), allow_torn=True)
    assert (found, reader.outcome, reader.torn_offset) == ([], "torn", 0)
    with pytest.raises(CorruptionError):
        read(bytes(size), allow_torn=False)


@pytest.mark.parametrize("written", range(32))
def test_a_header_that_was_being_written(written: int) -> None:
    for torn in (header()[:written], header()[:written].ljust(4096, b"\0")):
        found, reader = read(torn, allow_torn=True)
        assert (found, reader.outcome, reader.torn_offset) == ([], "torn", 0)
        with pytest.raises(CorruptionError):
            read(torn, allow_torn=False)


def test_a_header_before_a_record_is_not_torn() -> None:
    """They are in one sector: who sees the one must see the other."""
    with pytest.raises(CorruptionError, match="header"):
        read(header()[:30] + bytes(2) + journal(0, 1)[32:], allow_torn=True)


def test_a_header_that_had_been_on_disk() -> None:
    with pytest.raises(CorruptionError) as raised:
        read(bytes(32) + journal(0, 1)[32:], allow_torn=True)
    assert raised.value.offset == 0


# ---- a torn tail, or damage ----


def test_zeros_are_the_open_end() -> None:
    found, reader = read(journal(0, 0) + bytes(1000), allow_torn=True)
    assert (len(found), reader.outcome, reader.torn_offset) == (2, "open", None)
    with pytest.raises(CorruptionError, match="no seal") as raised:
        read(journal(0, 0) + bytes(1000), allow_torn=False)
    assert raised.value.offset == offset_of(2)


def test_garbage_is_torn() -> None:
    found, reader = read(journal(0, 0) + b"garbage!" * 100, allow_torn=True)
    assert (len(found), reader.outcome, reader.torn_offset) == (2, "torn", offset_of(2))
    with pytest.raises(CorruptionError, match="damaged") as raised:
        read(journal(0, 0) + b"garbage!" * 100, allow_torn=False)
    assert raised.value.offset == offset_of(2)


def lose(data: bytes, index: int, filler: bytes = b"\0") -> bytes:
    """The bytes of one record were never written."""
    return data[: offset_of(index)] + filler * 56 + data[offset_of(index + 1) :]


@pytest.mark.parametrize("filler", [b"\0", b"\xa5"])
def test_a_lost_record_before_one_that_claims_nothing_of_it_is_torn(filler: bytes) -> None:
    """No record is believed behind the torn one."""
    found, reader = read(lose(journal(0, 0, 1, 1), 1, filler), allow_torn=True)
    assert [seqno for seqno, _, _ in found] == [1]
    assert (reader.outcome, reader.torn_offset) == ("torn", offset_of(1))


@pytest.mark.parametrize("filler", [b"\0", b"\xa5"])
@pytest.mark.parametrize("claims", [(0, 0, 2, 2), (0, 0, 0, 2), (0, 0, 0, 3)])
def test_a_lost_record_that_a_later_one_knew_on_disk_is_damage(
    claims: tuple[int, ...], filler: bytes
) -> None:
    with pytest.raises(CorruptionError) as raised:
        read(lose(journal(*claims), 1, filler), allow_torn=True)
    assert raised.value.offset == offset_of(1)
    assert raised.value.path is not None


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_seal_proves_what_it_claims_and_no_more(index: int) -> None:
    """A power cut may keep the page of the seal and lose one in front of it, until the journal is finished."""
    found, reader = read(lose(journal(0, 0, 0, sealed=True), index), allow_torn=True)
    assert (len(found), reader.outcome, reader.torn_offset) == (index, "torn", offset_of(index))
    with pytest.raises(CorruptionError) as raised:
        read(lose(journal(0, 0, 0, sealed=True, seal_claims=3), index), allow_torn=True)
    assert raised.value.offset == offset_of(index)


def test_a_record_that_came_while_the_file_was_read(tmp_path: Path) -> None:
    """A writer may get past a place already read: so it is read again before it is called damage."""
    data = journal(0, 0, 2, 3)
    path = tmp_path / "j"
    path.write_bytes(lose(data, 1))
    reader = JournalReader(str(path), NUMBER, allow_torn=True)
    assert next(reader)[0] == 1
    path.write_bytes(data)
    assert [seqno for seqno, _, _ in reader] == [2, 3, 4]
    assert reader.outcome == "open"


def test_a_lost_first_record_is_measured_against_earlier_journals() -> None:
    """Where earlier journals end with 10, a record that says "10 was on disk" proves nothing of 11."""
    data = header() + bytes(56)
    data += record(len(data), value(b"k"), 1, 12, persisted=10)
    found, reader = read(data, allow_torn=True, after_seqno=10)
    assert (found, reader.outcome, reader.torn_offset) == ([], "torn", 32)
    with pytest.raises(CorruptionError):
        read(data, allow_torn=True, after_seqno=9)


def test_a_record_of_another_place_or_journal_proves_nothing() -> None:
    data = journal(0)
    elsewhere = record(8, value(b"k"), 1, 5, persisted=4)
    other_journal = record(len(data) + 16 + len(elsewhere), value(b"k"), 1, 5, persisted=4, number=NUMBER + 1)
    found, reader = read(data + b"garbage!" * 2 + elsewhere + other_journal, allow_torn=True)
    assert (len(found), reader.outcome) == (1, "torn")


def test_bytes_behind_the_seal() -> None:
    """What a writer began and gave up may lie there until the file is cut; in a finished file nothing may."""
    data = journal(0, sealed=True)
    found, reader = read(data + b"garbage!", allow_torn=True)
    assert (len(found), reader.outcome) == (1, "sealed")
    assert read(data + bytes(100), allow_torn=False)[1].outcome == "sealed"
    with pytest.raises(CorruptionError, match="behind the seal") as raised:
        read(data + b"garbage!", allow_torn=False)
    assert raised.value.offset == len(data)


# ---- an end that recovery has found before ----


@pytest.mark.parametrize("tail", [b"", bytes(100), b"garbage!" * 20, journal(0, 0, 2)[offset_of(2) :]])
def test_what_follows_the_end_is_not_read(tail: bytes) -> None:
    data = journal(0, 0)
    found, reader = read(data + tail, allow_torn=False, end_bytes=len(data))
    assert (len(found), reader.outcome, reader.position) == (2, "open", len(data))


def test_damage_before_the_end_is_damage() -> None:
    for data in (lose(journal(0, 0, 0), 1), journal(0)):
        with pytest.raises(CorruptionError) as raised:
            read(data, allow_torn=False, end_bytes=offset_of(3))
        assert raised.value.offset == offset_of(1)


def test_an_end_within_a_record_is_damage() -> None:
    with pytest.raises(CorruptionError, match="end at") as raised:
        read(journal(0, 0), allow_torn=False, end_bytes=offset_of(1) + 8)
    assert raised.value.offset == offset_of(1)


# ---- records that are right by their checksum and still impossible ----


@pytest.mark.parametrize(
    ("body", "count", "seqno"),
    [
        (value(b"k"), 2, 1),  # fewer entries than it says
        (value(b"k") * 2, 1, 1),  # more
        (value(b"k")[:-1], 1, 1),  # cut short
        (value(b"k") + b"\0", 1, 1),  # bytes behind the last
        (b"", 0, 1),  # none
        (b"\x03\x01\x00\x00", 1, 1),  # no such kind
        (b"\x00\x01\x00\x01x", 1, 1),  # a tombstone with a value
        (b"\x01\x80\x80\x80\x80\x10\x00\x00", 1, 1),  # partition 2**32
        (b"\x01\x01\x80\x80\x04\x00" + bytes(65536), 1, 1),  # a key of 65,536 bytes
        (value(b"k"), 1, 0),  # no seqno
        (value(b"k"), 1, 1 << 56),  # no seqno either
    ],
)
@pytest.mark.parametrize("allow_torn", [True, False])
def test_impossible_records(body: bytes, count: int, seqno: int, allow_torn: bool) -> None:
    data = header() + record(32, body, count, seqno)
    data += record(len(data), b"", SEAL, seqno)
    with pytest.raises(CorruptionError) as raised:
        read(data, allow_torn=allow_torn)
    assert raised.value.offset == 32


def test_seqnos_ascend() -> None:
    data = journal(0, 0)
    for seqno in (1, 2):
        with pytest.raises(CorruptionError, match="seqno 2"):
            read(data + record(len(data), value(b"k"), 1, seqno), allow_torn=True)
    assert len(records_of(data + record(len(data), value(b"k"), 1, 9))) == 3


def test_a_seal_names_the_last_seqno() -> None:
    data = journal(0, 0)
    with pytest.raises(CorruptionError, match="seal"):
        read(data + record(len(data), b"", SEAL, 3), allow_torn=True)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        JournalReader(str(tmp_path / "nope"), 1, allow_torn=True)
    assert raised.value.filename == str(tmp_path / "nope")


# ---- beside a writer, by descriptor ----


def test_restart_reads_what_was_read_before_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "1.jnl"
    journal = JournalWriter(str(path), 1, 1 << 16)
    journal.append(encode_entry(1, 1, b"a", b"1"), 1, 1, 0, 0)
    descriptor = files.open_file(path)
    reader = JournalReader(str(path), 1, allow_torn=True, descriptor=descriptor)
    with pytest.raises(ValueError, match="once it was read"):
        reader.restart(0)
    assert [seqno for seqno, *_ in reader] == [1]
    journal.append(encode_entry(1, 1, b"b", b"2"), 1, 2, 0, 1)
    path.unlink()
    for _ in range(2):
        reader.restart(0)
        assert reader.outcome is None
        assert [seqno for seqno, *_ in reader] == [1]
        assert (reader.outcome, reader.last_seqno) == ("open", 1)
    again = JournalReader(str(path), 1, allow_torn=True, descriptor=descriptor)
    assert [seqno for seqno, *_ in again] == [1, 2]
    assert not again.reserves
    journal.append(encode_entry(0, 0, b"", b""), 1, 3, 0, 1)
    journal.seal()
    sealed = JournalReader(str(path), 1, allow_torn=True, descriptor=descriptor)
    assert len(list(sealed)) == 3
    assert sealed.reserves
    sealed.restart(0)
    assert len(list(sealed)) == 3
    assert sealed.outcome == "sealed"
    files.close_file(descriptor)
    journal.close()


def test_a_hole_that_a_restart_finds_is_judged_then(tmp_path: Path) -> None:
    """Read in flight: a record behind it proves nothing while the one in front may yet come."""
    path = tmp_path / "1.jnl"
    journal = JournalWriter(str(path), 1, 1 << 16)
    for seqno in (1, 2, 3):
        journal.append(encode_entry(1, 1, b"k", b"v"), 1, seqno, 0, seqno - 1)
    journal.close()
    whole = path.read_bytes()
    place = whole.index(b"kv", whole.index(b"kv") + 1)
    path.write_bytes(whole[:place] + b"??" + whole[place + 2 :])
    reader = JournalReader(str(path), 1, allow_torn=True, after_seqno=(1 << 56) - 1)
    assert [seqno for seqno, *_ in reader] == [1]
    assert reader.outcome == "torn"
    reader.restart(0)
    with pytest.raises(CorruptionError, match="was on disk"):
        list(reader)
    path.write_bytes(whole)  # it came
    reader.restart(0)
    assert [seqno for seqno, *_ in reader] == [1], "what came later is not read"
    assert reader.outcome == "open"


def test_the_summary_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "1.jnl"
    journal = JournalWriter(str(path), 1, 1 << 16)
    journal.append(encode_entry(1, 1, b"k", b"v"), 1, 1, 0, 0)
    journal.seal()
    summary = journal.finish()
    reader = JournalReader(str(path), 1, allow_torn=False)
    assert reader.summary() == (summary["size_bytes"], summary["xxh128"])
