"""The writer of the journal: the bytes it writes, mapped or not, and what it does when the system refuses."""

import errno
import os
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjeld.kernel import files
from fjeld.kernel.checksum import xxh64, xxh128_hex
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_record import encode_entry

Batch = list[tuple[int, int, bytes, bytes]]  # kind, partition, key, value

values = st.tuples(st.just(1), st.integers(0, 2**32 - 1), st.binary(max_size=20), st.binary(max_size=300))
tombstones = st.tuples(st.sampled_from([0, 2]), st.integers(0, 300), st.binary(max_size=20), st.just(b""))
batches = st.lists(st.lists(values | tombstones, min_size=1, max_size=5), max_size=8)


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    files.clear_faults()
    files.stop_trace()


# ---- the reference: the bytes as docs/FORMATS.md has them ----


def varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def reference_entry(kind: int, partition: int, key: bytes, value: bytes) -> bytes:
    return bytes([kind]) + varint(partition) + varint(len(key)) + varint(len(value)) + key + value


def reference_record(
    number: int, offset: int, body: bytes, count: int, seqno: int, time_ns: int, persisted: int
) -> bytes:
    rest = struct.pack("<IIQQQ", 40 + len(body), count, seqno, time_ns, persisted) + body
    record = struct.pack("<Q", xxh64(rest, (number << 32) % 2**64 ^ offset)) + rest
    return record + bytes(-len(record) % 8)


def reference_journal(number: int, all_batches: list[Batch], *, sealed: bool) -> bytes:
    header = b"FJELDJNL" + struct.pack("<IIQ", 1, 0, number)
    out = header + struct.pack("<Q", xxh64(header))
    seqno = time_ns = persisted = last = 0
    for batch in all_batches:
        seqno, time_ns, persisted = last + 1, time_ns + 4_000_000, last // 2
        body = b"".join(reference_entry(*entry) for entry in batch)
        out += reference_record(number, len(out), body, len(batch), seqno, time_ns, persisted)
        last = seqno + len(batch) - 1
    if sealed:
        out += reference_record(number, len(out), b"", 0xFFFFFFFF, last, time_ns, persisted)
    return out


def append_all(journal: JournalWriter, all_batches: list[Batch]) -> None:
    last = time_ns = 0
    for batch in all_batches:
        body = b"".join(encode_entry(*entry) for entry in batch)
        time_ns += 4_000_000
        journal.append(body, len(batch), last + 1, time_ns, last // 2)
        last += len(batch)
    assert journal.last_seqno == last


# ---- the bytes ----


@given(values | tombstones)
def test_entries_are_the_bytes_of_the_format(entry: tuple[int, int, bytes, bytes]) -> None:
    assert encode_entry(*entry) == reference_entry(*entry)


@settings(deadline=None, max_examples=40)  # each example syncs a file
@given(batches, st.booleans(), st.integers(0, 2**40))
def test_journals_are_the_bytes_of_the_format(all_batches: list[Batch], mapped: bool, number: int) -> None:
    capacity = 1 << 16
    journal = JournalWriter("j", number, capacity, mapped=mapped)
    try:
        assert (journal.mapped, journal.capacity_bytes, journal.number) == (mapped, capacity, number)
        append_all(journal, all_batches)
        expected = reference_journal(number, all_batches, sealed=False)
        assert journal.position == len(expected)
        assert Path("j").read_bytes() == expected.ljust(capacity, b"\0")

        journal.seal()
        journal.seal()
        assert journal.sealed
        expected = reference_journal(number, all_batches, sealed=True)
        assert Path("j").read_bytes() == expected.ljust(capacity, b"\0")

        summary = journal.finish()
        assert Path("j").read_bytes() == expected
        assert summary == {"size_bytes": len(expected), "xxh128": xxh128_hex(expected)}
        assert journal.finish() == summary
        assert stat.S_IMODE(os.stat("j").st_mode) == 0o444
    finally:
        os.unlink("j")


@pytest.mark.parametrize("mapped", [True, False])
def test_it_is_full_before_the_seal_has_no_room(mapped: bool) -> None:
    journal = JournalWriter("j", 1, 4096, mapped=mapped)
    entry = encode_entry(1, 1, b"k", b"v" * 50)
    appended = 0
    with pytest.raises(ValueError, match="no room"):
        for seqno in range(1, 100):
            journal.append(entry, 1, seqno, 0, 0)
            appended += 1
    assert appended == (4096 - 32 - 40) // 96
    journal.seal()
    assert journal.finish()["size_bytes"] <= 4096
    with pytest.raises(ValueError, match="no room"):
        journal.append(b"", 1, 1000, 0, 0)


def test_a_journal_of_exactly_its_capacity() -> None:
    journal = JournalWriter("j", 1, 32 + 48 + 40)
    journal.append(encode_entry(1, 1, b"k", b"v"), 1, 1, 0, 0)
    assert journal.position == 80
    journal.seal()
    assert journal.finish()["size_bytes"] == 120


@pytest.mark.parametrize("mapped", [True, False])
def test_many_windows_are_populated_and_given_back(mapped: bool) -> None:
    """Over 8 MiB with and without a helper that populates ahead: no byte is lost by giving pages back."""
    journal = JournalWriter("j", 3, 8 << 20, mapped=mapped)
    body = encode_entry(1, 1, b"key", bytes(range(256)) * 300)
    expected = reference_journal(3, [], sealed=False)
    seqno = 0
    populated = 0
    while len(expected) + 40 + len(body) + 8 + 40 <= journal.capacity_bytes:
        seqno += 1
        journal.append(body, 1, seqno, 7, 0)
        expected += reference_record(3, len(expected), body, 1, seqno, 7, 0)
        if seqno % 7 == 0:
            populated += journal.prefault()
    assert (populated > 0) == mapped
    journal.close()
    assert Path("j").read_bytes() == expected.ljust(8 << 20, b"\0")


def test_prefaulting_keeps_two_windows_ahead_and_no_more() -> None:
    journal = JournalWriter("j", 3, 4 << 20)
    assert journal.prefault() == 1 << 20
    assert journal.prefault() == 1 << 20
    assert journal.prefault() == 64 << 10  # 32 bytes, the header, were missing to two whole windows ahead
    assert journal.prefault() == 0
    journal.append(encode_entry(1, 1, b"k", bytes(1 << 20)), 1, 1, 0, 0)
    assert journal.prefault() == 1 << 20
    assert journal.prefault() == 0
    assert journal.populated == (3 << 20) + (64 << 10)
    journal.close()
    assert journal.prefault() == 0


def test_prefaulting_beside_the_writer() -> None:
    journal = JournalWriter("j", 3, 16 << 20)
    done = threading.Event()

    def populate() -> None:
        while not done.is_set():
            journal.prefault()

    helper = threading.Thread(target=populate)
    helper.start()
    body = encode_entry(1, 1, b"key", bytes(1000))
    for seqno in range(1, 10_001):
        journal.append(body, 1, seqno, 0, 0)
    journal.seal()
    journal.finish()  # unmaps while the helper is still at it
    done.set()
    helper.join()
    assert journal.prefault() == 0


# ---- where the system refuses ----


@pytest.mark.parametrize("operation", ["allocate", "write", "create"])
def test_a_creation_that_fails_leaves_no_file(operation: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    files.inject(operation, 0, errno.ENOSPC)
    with pytest.raises(OSError) as raised:
        JournalWriter("j", 1, 1 << 20)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "j")
    assert os.listdir() == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_never_replaces_a_file() -> None:
    Path("j").write_bytes(b"other")
    with pytest.raises(FileExistsError):
        JournalWriter("j", 1, 1 << 20)
    assert Path("j").read_bytes() == b"other"


def test_a_capacity_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        JournalWriter("j", 1, 100)
    assert os.listdir() == []


def test_without_mapping_it_writes() -> None:
    files.inject("map", 0, errno.ENODEV)
    journal = JournalWriter("j", 5, 1 << 16)
    assert not journal.mapped
    batch: Batch = [(1, 2, b"k", b"v")]
    append_all(journal, [batch])
    journal.seal()
    journal.finish()
    assert Path("j").read_bytes() == reference_journal(5, [batch], sealed=True)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOMEM])
def test_without_populating_it_takes_page_faults(number: int) -> None:
    files.inject("populate", 0, number, count=1000)
    journal = JournalWriter("j", 5, 1 << 20)
    batch: Batch = [(1, 2, b"k", b"v" * 600_000)]
    append_all(journal, [batch])
    journal.close()
    assert Path("j").read_bytes() == reference_journal(5, [batch], sealed=False).ljust(1 << 20, b"\0")


def test_space_that_is_taken_back_is_an_error_not_a_signal() -> None:
    journal = JournalWriter("j", 5, 1 << 20)
    files.inject("populate", 0, errno.EFAULT)
    body = encode_entry(1, 1, b"k", b"v")
    with pytest.raises(OSError) as raised:
        journal.append(body, 1, 1, 0, 0)
    assert (raised.value.errno, raised.value.filename) == (errno.EIO, "j")
    assert (journal.position, journal.last_seqno) == (32, 0)
    journal.append(body, 1, 1, 0, 0)
    assert journal.last_seqno == 1


def test_a_write_that_fails_does_not_count() -> None:
    journal = JournalWriter("j", 5, 1 << 16, mapped=False)
    first: Batch = [(1, 2, b"k", b"v")]
    append_all(journal, [first])
    position = journal.position
    files.inject("pwrite_short", 0, errno.ENOSPC)
    with pytest.raises(OSError):
        journal.append(encode_entry(1, 1, b"longer", b"value" * 20), 1, 2, 0, 0)
    assert (journal.position, journal.last_seqno) == (position, 1)
    journal.seal()
    journal.finish()
    assert Path("j").read_bytes() == reference_journal(5, [first], sealed=True)


@pytest.mark.parametrize("operation", ["truncate", "seal", "sync_all"])
def test_a_finish_that_fails_says_so(operation: str) -> None:
    journal = JournalWriter("j", 5, 1 << 16)
    journal.seal()
    files.inject(operation, 0, errno.EIO)
    with pytest.raises(OSError) as raised:
        journal.finish()
    assert (raised.value.errno, raised.value.filename) == (errno.EIO, "j")


def test_a_sync_that_fails_says_so() -> None:
    journal = JournalWriter("j", 5, 1 << 16)
    files.inject("sync", 0, errno.EIO)
    with pytest.raises(OSError, match="j"):
        journal.sync()


def test_what_is_closed_cannot_be_used() -> None:
    journal = JournalWriter("j", 5, 1 << 16)
    with pytest.raises(ValueError, match="sealed"):
        journal.finish()
    journal.close()
    journal.close()
    for call in (journal.sync, journal.seal, journal.finish, lambda: journal.append(b"0000", 1, 1, 0, 0)):
        with pytest.raises(ValueError):
            call()


def test_a_sync_after_the_finish_has_nothing_to_do() -> None:
    journal = JournalWriter("j", 5, 1 << 16)
    journal.seal()
    journal.finish()
    files.inject(None, 0, errno.EIO)
    journal.sync()


# ---- the trace ----


@pytest.mark.parametrize("mapped", [True, False])
def test_the_trace_has_the_appends_mapped_or_not(mapped: bool) -> None:
    files.start_trace()
    journal = JournalWriter("j", 5, 4096, mapped=mapped)
    batch: Batch = [(1, 2, b"k", b"v")]
    append_all(journal, [batch])
    journal.sync()
    journal.seal()
    journal.finish()
    trace = [event for event in files.stop_trace() if event[0] != "open"]
    whole = reference_journal(5, [batch], sealed=True)
    assert trace == [
        ("create", "j"),
        ("allocate", "j", 4096),
        ("write", "j", 0, whole[:32]),
        ("write", "j", 32, whole[32:80]),
        ("sync", "j"),
        ("write", "j", 80, whole[80:]),
        ("truncate", "j", 120),
        ("seal", "j"),
        ("sync_all", "j"),
        ("close", "j"),
        ("close", "j"),
    ]


# ---- space ----


@pytest.mark.parametrize("mapped", [True, False])
def test_space_is_allocated_ahead_in_steps(mapped: bool) -> None:
    journal = JournalWriter("j", 5, 8 << 20, mapped=mapped)
    assert os.stat("j").st_size == 512 << 10
    body = encode_entry(1, 1, b"key", bytes(100_000))
    for seqno in range(1, 30):
        journal.append(body, 1, seqno, 0, 0)
        assert journal.position + 40 <= os.stat("j").st_size <= journal.position + (2 << 20)
    journal.close()


@pytest.mark.parametrize("mapped", [True, False])
def test_a_disk_that_is_full_in_the_middle(mapped: bool) -> None:
    """An error before anything is written; the seal has its place; with space it goes on."""
    journal = JournalWriter("j", 5, 8 << 20, mapped=mapped)
    body = encode_entry(1, 1, b"key", bytes(100_000))
    written = expected = reference_journal(5, [], sealed=False)
    files.inject("allocate", 0, errno.ENOSPC, count=10_000)
    seqno = 0
    with pytest.raises(OSError) as raised:
        for seqno in range(1, 100):
            journal.append(body, 1, seqno, 7, 0)
            written += reference_record(5, len(written), body, 1, seqno, 7, 0)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "j")
    assert (journal.position, journal.last_seqno) == (len(written), seqno - 1)
    assert len(expected) < len(written) <= 512 << 10
    files.clear_faults()
    journal.append(body, 1, seqno, 7, 0)
    files.inject("allocate", 0, errno.ENOSPC, count=10_000)
    journal.seal()
    journal.finish()
    assert (
        os.stat("j").st_size
        == len(written) + len(reference_record(5, len(written), body, 1, seqno, 7, 0)) + 40
    )


@pytest.mark.parametrize("mapped", [True, False])
def test_the_seal_has_its_place_whatever_the_last_record(mapped: bool) -> None:
    for short in range(0, 200, 8):
        journal = JournalWriter(f"j{short}", 5, 1 << 20, mapped=mapped)
        files.inject("allocate", 0, errno.ENOSPC, count=10_000)
        room = (512 << 10) - journal.position - 40 - 40 - 8 - short  # the record and the seal, just or almost
        journal.append(encode_entry(1, 1, b"", bytes(room)), 1, 1, 0, 0)
        with pytest.raises(OSError, match="j"):
            for seqno in range(2, 10):
                journal.append(encode_entry(1, 1, b"", bytes(20)), 1, seqno, 0, 0)
        journal.seal()
        files.clear_faults()
        journal.finish()
