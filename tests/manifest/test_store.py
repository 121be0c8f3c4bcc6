from __future__ import annotations

import errno
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fjeld.errors import ClosedError
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.manifest.current import read_current
from fjeld.manifest.edit import (
    ChangeTables,
    ClearPartition,
    CreatePartition,
    DropPartition,
    Edit,
    FinishJournal,
    RetireJournals,
    SealJournal,
)
from fjeld.manifest.live_file import Reaper
from fjeld.manifest.log import read_manifest
from fjeld.manifest.state import JournalMeta
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from fjeld.options import PartitionOptions
from fjeld.sync_points import set_sync_point
from tests.manifest.samples import ID, SUM, table
from tests.support import manifest_of

CREATE = Edit.of(CreatePartition(1, "users", PartitionOptions()))


def made(path: Path, version: Version | None = None) -> VersionStore:
    return VersionStore(
        str(path),
        version or Version(id=ID),
        cache=BlockCache(0),
        descriptors=DescriptorPool(8),
        reaper=Reaper(),
    )


@pytest.fixture
def store(path: Path) -> Iterator[VersionStore]:
    for folder in (path, path / "tables", path / "journals"):
        folder.mkdir()
    store = made(path)
    store.start_manifest()
    yield store
    files.clear_faults()
    store.close()


def recorded(path: Path) -> Version:
    """What the next opening would find."""
    return read_manifest(manifest_of(path))[0]


def add(store: VersionStore, number: int) -> None:
    Path(store.table_path(number)).touch()
    store.edit(Edit.of(ChangeTables(1, added=((0, table(number)),))), seqno=10 * number)


# ---- edits ----


def test_an_edit_is_recorded_and_becomes_current(store: VersionStore, path: Path) -> None:
    installed: list[Version] = []
    version = store.edit(CREATE, seqno=7, install=installed.append)
    assert installed == [version] == [store.version]
    assert version.partition("users") is not None
    assert (version.seqno, recorded(path)) == (7, version)


def test_numbers_rise_and_are_recorded(store: VersionStore, path: Path) -> None:
    numbers = [store.next_file() for _ in range(3)]
    partitions = [store.next_partition() for _ in range(3)]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert partitions == [1, 2, 3]
    store.edit(Edit.of(CreatePartition(2, "second", PartitionOptions())), seqno=0)
    version = recorded(path)
    assert (version.next_file, version.next_partition) == (numbers[-1] + 1, 3)


def test_a_misfit_reaches_neither_manifest_nor_version(store: VersionStore, path: Path) -> None:
    created = Path(store.table_path(99))
    created.touch()
    before = (store.version, manifest_of(path).read_bytes())
    with pytest.raises(ValueError, match="there is no partition"):
        store.edit(Edit.of(DropPartition(1)), seqno=0, created=[str(created)])
    assert (store.version, manifest_of(path).read_bytes()) == before
    store.reaper.reap()
    assert not created.exists()


def test_installed_may_differ_from_what_is_recorded(store: VersionStore, path: Path) -> None:
    journal = JournalMeta(number=store.next_file(), last_seqno=5)
    store.seal(journal, store.prepare_seal(journal.number))
    assert store.version.journals == (journal,)
    assert recorded(path).journals == ()
    finished = JournalMeta(number=journal.number, last_seqno=5, size_bytes=100, xxh128=SUM)
    store.edit(
        Edit.of(SealJournal(finished)), seqno=5, installed=Edit.of(FinishJournal(journal.number, 100, SUM))
    )
    assert store.version.journals == recorded(path).journals == (finished,)


# ---- files ----


def test_files_live_as_long_as_they_are_held(store: VersionStore) -> None:
    store.edit(CREATE, seqno=0)
    number = store.next_file()
    add(store, number)
    file = Path(store.table_path(number))
    (held,) = store.levels(store.version.partitions[1])[0]
    assert store.live_table(number) is held
    assert held.path == str(file)
    store.edit(Edit.of(ClearPartition(1, store.version.seqno)), seqno=0)
    gc.collect()
    store.reaper.reap()
    assert file.exists(), "somebody holds it"
    del held
    store.reaper.reap()
    assert not file.exists()


def test_a_table_that_moves_stays_the_same_object(store: VersionStore) -> None:
    store.edit(CREATE, seqno=0)
    number = store.next_file()
    add(store, number)
    before = store.live_table(number)
    moved = table(number)
    store.edit(Edit.of(ChangeTables(1, added=((2, moved),), removed=((0, number),))), seqno=0)
    assert store.live_table(number) is before
    assert not before.file.obsolete


def test_a_drop_lets_go_of_its_tables(store: VersionStore) -> None:
    store.edit(CREATE, seqno=0)
    number = store.next_file()
    add(store, number)
    store.edit(Edit.of(DropPartition(1)), seqno=0)
    store.reaper.reap()
    assert not Path(store.table_path(number)).exists()
    with pytest.raises(KeyError):
        store.live_table(number)


def test_journals_live_as_long_as_they_are_held(store: VersionStore) -> None:
    number = store.next_file()
    file = Path(store.journal_path(number))
    file.touch()
    held = [store.prepare_seal(number)]
    store.seal(JournalMeta(number=number, last_seqno=3), held[0])
    assert store.live_journals() == held
    store.edit(Edit.of(RetireJournals(number + 1)), seqno=3)
    store.reaper.reap()
    assert file.exists()
    held.clear()
    store.reaper.reap()
    assert not file.exists()


def test_what_a_version_names_is_there_from_the_start(path: Path, store: VersionStore) -> None:
    store.edit(CREATE, seqno=0)
    number = store.next_file()
    add(store, number)
    again = made(path, recorded(path))
    assert again.live_table(number).path == store.table_path(number)
    adopted = Version(
        id=ID, journals=(JournalMeta(number=number + 1, last_seqno=2, size_bytes=9, xxh128=SUM),)
    )
    again.adopt(adopted)
    assert again.version is adopted
    for store_of_it in (again, made(path, adopted)):
        assert [file.path for file in store_of_it.live_journals()] == [again.journal_path(number + 1)]


# ---- failures ----


@pytest.mark.parametrize("operation", ["write", "pwrite_short", "sync"])
def test_a_write_that_fails_changes_nothing_and_the_next_begins_a_new_manifest(
    store: VersionStore, path: Path, operation: str
) -> None:
    created = Path(store.table_path(store.next_file()))
    created.touch()
    before, manifest = store.version, manifest_of(path)
    files.inject(operation, 0, errno.EIO, path_contains="MANIFEST")
    with pytest.raises(OSError, match="Input/output"):
        store.edit(CREATE, seqno=1, created=[str(created)])
    assert store.version is before
    store.reaper.reap()
    assert created.exists(), "an edit that names it may be on disk"
    store.edit(CREATE, seqno=1)
    assert manifest_of(path) != manifest
    assert not manifest.exists()
    assert recorded(path) == store.version
    store.reaper.reap()
    assert not created.exists(), "now it is known that none does"


@pytest.mark.parametrize(
    ("operation", "pattern"),
    [
        ("create", "MANIFEST"),
        ("write", "MANIFEST"),
        ("write", "CURRENT"),
        ("rename", "CURRENT"),
        ("sync_dir", ""),
    ],
)
def test_a_new_manifest_that_fails(store: VersionStore, path: Path, operation: str, pattern: str) -> None:
    """The old one counts, or it is not known which: nothing is lost, and the next attempt succeeds."""
    store.edit(CREATE, seqno=1)
    files.inject(operation, 0, errno.EIO, path_contains=pattern)
    with pytest.raises(OSError, match="Input/output"):
        store.start_manifest()
    assert recorded(path) == store.version
    if pattern == "MANIFEST":
        assert list(path.glob("MANIFEST*")) == [manifest_of(path)], "nothing names the new one"
    store.edit(Edit.of(CreatePartition(2, "more", PartitionOptions())), seqno=2)
    assert recorded(path) == store.version
    assert store.version.partition("more") is not None


def test_a_switch_that_happened_although_it_failed(store: VersionStore, path: Path) -> None:
    """CURRENT names the new manifest already: an edit that went to the old one would be lost."""
    store.edit(CREATE, seqno=1)
    before = read_current(path)
    files.inject("sync_dir", 1, errno.EIO)  # the one behind the rename
    with pytest.raises(OSError, match="Input/output"):
        store.start_manifest()
    assert read_current(path) != before
    store.edit(Edit.of(CreatePartition(2, "more", PartitionOptions())), seqno=2)
    assert recorded(path).partition("more") is not None


def test_an_old_manifest_that_cannot_be_deleted_is_left(store: VersionStore, path: Path) -> None:
    old = manifest_of(path)
    files.inject("unlink", 0, errno.EPERM, path_contains="MANIFEST")
    store.start_manifest()
    assert old.exists()
    assert manifest_of(path) != old


# ---- rolling and closing ----


def test_a_manifest_that_has_grown_is_replaced(
    store: VersionStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fjeld.manifest.log.ROLL_MINIMUM_BYTES", 2000)
    store.edit(CREATE, seqno=0)
    sizes, numbers = [], set()
    for seqno in range(1, 60):
        store.edit(Edit.of(ClearPartition(1, seqno)), seqno=seqno)
        sizes.append(store.manifest_bytes)
        numbers.add(read_current(path))
    assert len(numbers) > 2
    assert max(sizes) < 20_000
    assert [file.name for file in path.glob("MANIFEST*")] == [manifest_of(path).name]
    assert recorded(path).partitions == store.version.partitions


def test_edits_take_turns_and_installs_are_in_their_order(store: VersionStore) -> None:
    order: list[str] = []
    set_sync_point("manifest:synced", lambda: order.append("synced"))
    store.edit(CREATE, seqno=0, install=lambda version: order.append("installed"))
    store.edit(Edit.of(DropPartition(1)), seqno=0, install=lambda version: order.append("installed"))
    assert order == ["synced", "installed"] * 2


def test_after_close(store: VersionStore, path: Path) -> None:
    created = Path(store.table_path(store.next_file()))
    created.touch()
    store.close()
    store.close()
    assert read_manifest(manifest_of(path))[1].sealed
    with pytest.raises(ClosedError):
        store.edit(CREATE, seqno=0, created=[str(created)])
    with pytest.raises(ClosedError):
        store.next_file()
    assert store.manifest_bytes == 0
    store.reaper.reap()
    assert not created.exists()
