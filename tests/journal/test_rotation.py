"""The life of the journals, without partitions: records are appended by hand."""

from __future__ import annotations

import errno
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fjeld.errors import ClosedError, PoisonedError
from fjeld.journal.rotation import FINISH_AFTER_SECONDS, JournalRotation, Moment
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import file_xxh128
from fjeld.kernel.commit import Commit
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.journal_record import encode_entry
from fjeld.manifest.edit import Edit, RetireJournals
from fjeld.manifest.live_file import Reaper
from fjeld.manifest.log import read_manifest
from fjeld.manifest.state import JournalMeta
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from fjeld.options import PersistMode
from fjeld.sync_points import set_sync_point
from tests.manifest.samples import ID
from tests.support import Gate, Task, journals_of, manifest_of

JOURNAL_BYTES = 8192


class Bench:
    """A rotation with all that it stands on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for folder in (path, path / "journals", path / "tables"):
            folder.mkdir()
        self.store = VersionStore(
            str(path),
            Version(id=ID),
            cache=BlockCache(0),
            descriptors=DescriptorPool(8),
            reaper=Reaper(),
        )
        self.store.start_manifest()
        self.commit = Commit(self, None)
        self.woken = 0
        self.now = 0.0
        self.poisoned: list[BaseException] = []
        self.rotation = JournalRotation(
            self.store,
            self.commit,
            journal_bytes=JOURNAL_BYTES,
            mapped=True,
            wake=self._wake,
            poison=self.poisoned.append,
            clock=lambda: self.now,
        )
        self.rotation.start()
        self.seqno = 0

    def _wake(self) -> None:
        self.woken += 1

    def write(self, value_bytes: int = 100) -> None:
        """One record, as the kernel would write it."""
        entry = encode_entry(1, 1, b"key", bytes(value_bytes))
        self.rotation.make_room(len(entry) + 40)
        self.commit.acquire()
        self.seqno += 1
        active = self.commit.active_journal
        assert active is not None
        active.append(entry, 1, self.seqno, 0, 0)
        self.commit.start_at(self.seqno)
        self.commit.release()

    def finish(self) -> None:
        """Once it is due."""
        self.now += FINISH_AFTER_SECONDS
        self.rotation.finish_sealed()

    @property
    def has_unfinished(self) -> bool:
        return self.rotation.finish_due_seconds() is not None

    def cut(self) -> None:
        self.rotation.cut(lambda: None)

    @property
    def numbers(self) -> list[int]:
        return [journal.number for journal in self.store.version.journals]

    @property
    def active(self) -> int:
        journal = self.commit.active_journal
        assert journal is not None
        return journal.number

    def close(self) -> None:
        self.rotation.close()
        self.store.close()


@pytest.fixture
def bench(path: Path) -> Iterator[Bench]:
    made = Bench(path)
    yield made
    files.clear_faults()
    made.close()


# ---- switching ----


def test_a_record_that_fits_switches_nothing(bench: Bench) -> None:
    first = bench.active
    bench.write()
    bench.rotation.make_room(100)
    assert (bench.active, bench.numbers, bench.woken) == (first, [], 0)


def test_a_full_journal_is_sealed_and_listed(bench: Bench) -> None:
    first = bench.active
    bench.write(5000)
    bench.write(5000)
    assert bench.numbers == [first]
    assert bench.store.version.journals[0] == JournalMeta(number=first, last_seqno=1)
    assert bench.active > first
    assert bench.woken == 1
    assert bench.has_unfinished


def test_a_record_larger_than_a_journal_gets_one_of_its_own(bench: Bench) -> None:
    bench.rotation.prepare_spares()
    bench.write()
    bench.write(10 * JOURNAL_BYTES)
    active = bench.commit.active_journal
    assert active is not None
    assert active.capacity_bytes > 10 * JOURNAL_BYTES
    bench.write(5000)
    assert bench.numbers == sorted(bench.numbers)
    assert bench.active > bench.numbers[-1]


def test_a_cut_seals_what_was_written(bench: Bench) -> None:
    bench.write()
    first = bench.active
    seen: list[list[int]] = []
    seconds = bench.rotation.cut(lambda: seen.append(bench.numbers))
    assert seen == [[first]]
    assert seconds >= 0
    assert bench.active > first


def test_a_cut_of_an_empty_journal_switches_nothing(bench: Bench) -> None:
    bench.rotation.prepare_spares()
    first = bench.active
    for _ in range(3):
        bench.cut()
    assert (bench.active, bench.numbers) == (first, [])
    assert not bench.rotation.needs_spare


def test_a_cut_whose_moment_fails_keeps_the_lock_free(bench: Bench) -> None:
    def fail() -> None:
        raise KeyError("fails")

    bench.write()
    with pytest.raises(KeyError):
        bench.rotation.cut(fail)
    bench.write()
    bench.cut()


def test_no_space_for_a_journal(bench: Bench) -> None:
    bench.write(5000)
    files.inject("allocate", 0, errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        bench.write(5000)
    assert (bench.numbers, bench.seqno) == ([], 1)
    assert len(journals_of(bench.path)) == 1
    files.inject("sync_dir", 0, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        bench.write(5000)
    assert len(journals_of(bench.path)) == 1, "the one whose name is not on disk is gone"
    bench.write(5000)
    assert bench.poisoned == []


# ---- syncing ----


def test_persist_syncs_oldest_first(bench: Bench) -> None:
    bench.write(5000)
    bench.write(5000)
    files.start_trace()
    bench.rotation.persist(PersistMode.SYNC_DATA)
    synced = [str(event[1]) for event in files.stop_trace() if event[0] == "sync"]
    assert synced == [str(file) for file in journals_of(bench.path)]
    assert bench.commit.persisted_seqno == 2


def test_persist_does_nothing_where_nothing_is_to_do(bench: Bench) -> None:
    bench.write()
    files.start_trace()
    bench.rotation.persist(PersistMode.BUFFER)
    assert files.stop_trace() == []
    bench.rotation.persist(PersistMode.SYNC_DATA)
    files.start_trace()
    bench.rotation.persist(PersistMode.SYNC_DATA)
    bench.rotation.persist(PersistMode.SYNC_DATA, 1)
    assert files.stop_trace() == []
    files.start_trace()
    bench.rotation.persist(PersistMode.SYNC_ALL)
    assert [event[0] for event in files.stop_trace()] == ["sync_all"]


def test_those_who_wait_share_a_sync(bench: Bench) -> None:
    bench.write()
    gate = Gate("journal:before_sync")
    first = Task(lambda: bench.rotation.persist(PersistMode.SYNC_DATA))
    gate.wait()
    bench.write()
    others = [Task(lambda: bench.rotation.persist(PersistMode.SYNC_DATA)) for _ in range(4)]
    syncs: list[None] = []
    set_sync_point("journal:before_sync", lambda: syncs.append(None))
    gate._go.set()
    for task in [first, *others]:
        task.result()
    assert len(syncs) <= 1, "one for the second record, whoever of the four came first"
    assert bench.commit.persisted_seqno == 2


def test_a_failed_sync_poisons(bench: Bench) -> None:
    bench.write()
    files.inject("sync", 0, errno.EIO)
    with pytest.raises(PoisonedError, match="a sync failed"):
        bench.rotation.persist(PersistMode.SYNC_DATA)
    assert [type(error) for error in bench.poisoned] == [OSError]
    assert bench.commit.persisted_seqno == 0


# ---- finishing ----


def test_finish_cuts_seals_and_records(bench: Bench) -> None:
    bench.write(5000)
    bench.write(5000)
    bench.finish()
    assert not bench.has_unfinished
    (journal,) = bench.store.version.journals
    file = Path(bench.store.journal_path(journal.number))
    assert (journal.size_bytes, journal.xxh128) == file_xxh128(str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert read_manifest(manifest_of(bench.path))[0].journals == (journal,)
    bench.finish()


def test_unfinished_journals_are_not_in_the_manifest(bench: Bench) -> None:
    bench.write()
    bench.cut()
    bench.store.start_manifest()
    assert read_manifest(manifest_of(bench.path))[0].journals == ()
    assert bench.numbers


def test_a_finish_that_fails_poisons_also_the_next_sync(bench: Bench) -> None:
    """The file is closed by then: a sync of what is in it cannot succeed any more."""
    bench.write()
    bench.cut()
    files.inject("close", 0, errno.EIO, path_contains="journals")
    with pytest.raises(PoisonedError):
        bench.finish()
    assert bench.poisoned
    with pytest.raises(PoisonedError):
        bench.rotation.persist(PersistMode.SYNC_DATA)
    with pytest.raises(PoisonedError):
        bench.rotation.finish(bench.rotation.unfinished()[0])


def test_a_manifest_that_cannot_be_written_is_tried_again(bench: Bench) -> None:
    bench.write()
    bench.cut()
    files.inject("write", 0, errno.ENOSPC, path_contains="MANIFEST")
    with pytest.raises(OSError, match="No space"):
        bench.finish()
    assert bench.has_unfinished
    assert bench.poisoned == []
    bench.finish()
    assert bench.store.version.journals[0].finished


def test_finishing_waits_until_it_is_due(bench: Bench) -> None:
    """Under many writes a journal is retired before: then it is never brought to disk."""
    bench.write()
    bench.cut()
    assert bench.rotation.finish_due_seconds() == FINISH_AFTER_SECONDS
    bench.now += FINISH_AFTER_SECONDS - 0.5
    assert bench.rotation.finish_due_seconds() == 0.5
    files.start_trace()
    bench.rotation.finish_sealed()
    assert files.stop_trace() == []
    assert bench.has_unfinished
    retire_everything(bench)
    assert bench.rotation.finish_due_seconds() == 0.0
    files.start_trace()
    bench.rotation.finish_sealed()
    assert "sync" not in {event[0] for event in files.stop_trace()}
    assert not bench.has_unfinished


@pytest.mark.parametrize("reason", ["a hurry", "a persist", "a checkpoint that has finished it"])
def test_finishing_does_not_wait_for_ever(bench: Bench, reason: str) -> None:
    bench.write()
    bench.cut()
    if reason == "a hurry":
        bench.rotation.hurry()
    elif reason == "a persist":
        bench.rotation.persist(PersistMode.SYNC_DATA)
    else:
        bench.rotation.finish(bench.rotation.unfinished()[0])
    assert bench.rotation.finish_due_seconds() == 0.0
    bench.rotation.finish_sealed()
    assert not bench.has_unfinished
    bench.write()
    bench.cut()
    assert bench.rotation.finish_due_seconds() == FINISH_AFTER_SECONDS  # that was only once


def retire_everything(bench: Bench) -> None:
    bench.store.edit(Edit.of(RetireJournals(bench.active)), seqno=bench.seqno)


def test_one_that_is_retired_before_it_is_finished(bench: Bench) -> None:
    bench.write()
    bench.cut()
    retire_everything(bench)
    bench.finish()
    assert not bench.has_unfinished
    assert bench.numbers == []


@pytest.mark.parametrize("moment", ["journal:finished", "manifest:synced"])
def test_one_that_is_retired_while_it_is_finished(bench: Bench, moment: str) -> None:
    bench.write()
    bench.cut()
    if moment == "journal:finished":
        set_sync_point(moment, lambda: retire_everything(bench))
        bench.finish()
    else:
        gate = Gate(moment)
        retiring = Task(lambda: retire_everything(bench))
        gate.wait()
        finishing = Task(bench.finish)
        gate.open()
        retiring.result()
        finishing.result()
    assert bench.numbers == []
    assert not bench.has_unfinished


# ---- retirement ----


def test_the_floor() -> None:
    journals = tuple(JournalMeta(number=number, last_seqno=10 * number) for number in (2, 3, 5))
    moment = Moment(7, journals)
    assert moment.floor(None) == 7
    assert moment.floor(51) == 7
    for oldest, floor in [(1, 2), (20, 2), (21, 3), (30, 3), (31, 5), (50, 5)]:
        assert moment.floor(oldest) == floor


def test_the_moment(bench: Bench) -> None:
    bench.write()
    bench.cut()
    moment = bench.rotation.moment()
    assert moment.active == bench.active
    assert [journal.number for journal in moment.sealed] == bench.numbers
    bench.rotation.close()
    assert bench.rotation.moment().active == 0


def test_bytes(bench: Bench) -> None:
    bench.write(1000)
    assert bench.rotation.sealed_bytes() == 0
    assert 1000 < bench.rotation.total_bytes() < JOURNAL_BYTES
    bench.cut()
    assert 1000 < bench.rotation.sealed_bytes() < 2000
    bench.finish()
    assert 1000 < bench.rotation.sealed_bytes() < 2000


def test_retire_all(bench: Bench) -> None:
    bench.write()
    bench.cut()
    bench.write()
    bench.rotation.retire_all()
    bench.store.reaper.reap()
    assert journals_of(bench.path) == []
    assert bench.store.version.journal_floor > 0
    bench.rotation.retire_all()  # there is none


# ---- the end ----


def test_after_close(bench: Bench) -> None:
    bench.write()
    bench.cut()
    (sealed,) = bench.rotation.unfinished()
    bench.write()
    bench.rotation.prepare_spares()
    bench.rotation.close()
    bench.rotation.close()
    for refused in (
        lambda: bench.rotation.make_room(10),
        bench.cut,
        lambda: bench.rotation.persist(PersistMode.SYNC_DATA),
        lambda: bench.rotation.finish(sealed),
    ):
        with pytest.raises(ClosedError, match="open it again"):
            refused()
    assert bench.commit.active_journal is None
    assert len(journals_of(bench.path)) == 2, "those with records stay, the spares go"
    bench.finish()
    assert bench.poisoned == []


def test_close_waits_for_who_is_at_work(bench: Bench) -> None:
    bench.write()
    gate = Gate("journal:before_sync")
    syncing = Task(lambda: bench.rotation.persist(PersistMode.SYNC_DATA))
    gate.wait()
    began = threading.Event()
    closing = Task(lambda: (began.set(), bench.rotation.close()))
    assert began.wait(10)
    assert closing.running
    gate.open()
    syncing.result()
    closing.result()
    assert bench.commit.persisted_seqno == 1
