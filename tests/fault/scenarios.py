"""What may fail, and how: operations, the state they begin with, and a ledger of what was acknowledged.

`SCENARIOS` is the table: a new operation (a restore, an export) is one entry, and meets every fault at every
file operation that it makes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fjeld
from fjeld.kernel import files
from tests.fault.copies import (
    Step,
    copy,
    in_folder,
    old_one,
    read_only,
    replace,
    taken_thrice,
    verify,
    verify_export,
    with_copies,
)
from tests.fault.ledger import Ledger, put_some, value_of, with_entry
from tests.small import SMALL_PARTITION, SMALL_SEPARATED, small_options
from tests.support import Content, content_at, content_of, crash_copy, leftovers, opened, settle

FOR_EVER = 1_000_000


def make_bases(folder: Path) -> dict[str, tuple[Path, Content]]:
    """Folders to start from: "tables" was closed, "journals" belonged to a process that died; and the same with every
    value in blob files, parts of which are garbage.
    """
    made = {}
    for kind, chosen in (("", SMALL_PARTITION), ("blobs, ", SMALL_SEPARATED)):
        path = folder / f"{kind}keyspace"
        with opened(path, memtable_bytes=1 << 20) as keyspace:
            keyspace._engine.maintainer.pause_compaction()
            for name in ("a", "b"):
                partition = keyspace.partition(name, options=chosen)
                for part in range(3):
                    for number in range(part, 30, 2):
                        partition.insert(b"%04d" % number, value_of(number + part))
                    if part < 2:
                        partition.flush()
            expected = content_of(keyspace)
            settle(keyspace)
            made[f"{kind}journals"] = crash_copy(path, folder / f"{kind}journals"), expected
        made[f"{kind}tables"] = path.rename(folder / f"{kind}tables"), expected
    return made


def options(**changed: object) -> dict[str, object]:
    return {"memtable_bytes": 1 << 20, "journal_bytes": 4 << 10, "workers": 1} | changed


# ---- operations ----


def put(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    partition = keyspace.partition("a")
    for number in range(100, 125):  # two journals are filled
        key, value = b"%04d" % number, value_of(number)
        ledger.change(
            lambda key=key, value=value: partition.insert(key, value),
            with_entry(ledger.content, "a", key, value),
        )


def put_large(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """Values that stay in the journal, and ones that a system call writes there."""
    partition = keyspace.partition("a")
    for number in range(100, 112):
        key, value = b"%04d" % number, value_of(number) * (4 if number % 2 else 8)
        ledger.change(
            lambda key=key, value=value: partition.insert(key, value),
            with_entry(ledger.content, "a", key, value),
        )


def put_batches(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    a, b = keyspace.partition("a"), keyspace.partition("b")

    def write(number: int) -> None:
        with keyspace.batch() as batch:
            batch.insert(a, b"%04d" % number, value_of(number))
            batch.remove(b, b"%04d" % (number % 30))
            batch.insert(b, b"%04d" % number, value_of(-number))

    for number in range(100, 120):
        after = with_entry(ledger.content, "a", b"%04d" % number, value_of(number))
        after = with_entry(after, "b", b"%04d" % number, value_of(-number))
        del after["b"][b"%04d" % (number % 30)]
        ledger.change(lambda number=number: write(number), after)


def flush(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    put_some(keyspace, ledger)
    keyspace.flush()


def compact(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    keyspace.compact()


def overwrite(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """Twice, in two runs: as soon as they are merged, most of what is in older blob files is garbage."""
    partition = keyspace.partition("a")
    for part in range(2):
        for number in range(part, 30, 3):
            key, value = b"%04d" % number, value_of(-number)
            ledger.change(
                lambda key=key, value=value: partition.insert(key, value),
                with_entry(ledger.content, "a", key, value),
            )
        keyspace.flush()


def collect(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """By jobs of the background, which fail by themselves and are tried again; reading goes on meanwhile."""
    keyspace._engine.maintainer.resume_compaction()
    settle(keyspace)
    read(keyspace, ledger)


def catalog(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    ledger.change(lambda: keyspace.partition("new"), ledger.content | {"new": {}})
    ledger.change(
        lambda: keyspace.partition("new").insert(b"k", b"v"), with_entry(ledger.content, "new", b"k", b"v")
    )
    ledger.change(lambda: keyspace.partition("a").clear(), ledger.content | {"a": {}})
    without = {name: entries for name, entries in ledger.content.items() if name != "b"}
    ledger.change(lambda: keyspace.drop_partition("b"), without)


def persist(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    put(keyspace, ledger)
    keyspace.persist(fjeld.PersistMode.SYNC_ALL)


def ingest(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    put_some(keyspace, ledger)
    pairs = {b"%04d" % number: value_of(number) for number in range(20, 50)}
    after = ledger.content | {"a": ledger.content["a"] | pairs}
    ledger.change(lambda: keyspace.partition("a").ingest(sorted(pairs.items())), after)


def read(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    assert content_of(keyspace) == ledger.content
    partition = keyspace.partition("a")
    assert all(partition.get(key) == value for key, value in ledger.content["a"].items())


def close(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    put_some(keyspace, ledger)
    keyspace.close()


def backup(**chosen: object) -> Callable[[fjeld.Keyspace, Ledger], None]:
    """A checkpoint beside the keyspace: whole, or an error and nothing."""

    def take(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
        put_some(keyspace, ledger)
        target = Path(keyspace.path).parent / "checkpoint"
        try:
            keyspace.backup_to(target, **chosen)
        except BaseException:
            assert not target.exists(), "a failure leaves no target"
            assert leftovers(target.parent) == [], "nor anything else"
            raise
        ledger.checkpoint = (target, ledger.content)

    return take


def commit(keyspace: fjeld.TxKeyspace, ledger: Ledger) -> None:
    """Transactions over two partitions, some of them durable, some rolled back."""

    def write(number: int) -> None:
        with keyspace.write_tx(fjeld.PersistMode.SYNC_DATA if number % 3 == 0 else None) as tx:
            tx.partition("a").insert(b"%04d" % number, value_of(number))
            tx.partition("b").take(b"%04d" % (number % 30))

    for number in range(100, 118):
        after = with_entry(ledger.content, "a", b"%04d" % number, value_of(number))
        b = {key: value for key, value in after["b"].items() if key != b"%04d" % (number % 30)}
        ledger.change(lambda number=number: write(number), after | {"b": b})
        with keyspace.write_tx() as tx:
            tx.partition("a").insert(b"never", b"1")
            tx.rollback()


@dataclass(frozen=True)
class Scenario:
    """`step` is done with a keyspace opened from `base`, after `prepare`; `opening`: the opening may fail as well."""

    step: Step
    base: str = "tables"
    options: dict[str, object] = field(default_factory=dict)
    opening: bool = False
    prepare: Step | None = None
    open_as: Callable[..., Any] = fjeld.open


SCENARIOS: dict[str, Scenario] = {
    "open": Scenario(read, opening=True),
    "open after a crash": Scenario(read, "journals", opening=True),
    "read": Scenario(read, options={"cache_bytes": 0}),
    "put": Scenario(put),
    "put without a map": Scenario(put, options={"mapped_journal": False}),
    "put large values": Scenario(put_large, options={"journal_bytes": 8 << 10}),
    "put durably": Scenario(put, options={"durability": fjeld.PersistMode.SYNC_DATA}),
    "put batches": Scenario(put_batches),
    "put batches without a map": Scenario(put_batches, options={"mapped_journal": False}),
    "persist": Scenario(persist),
    "flush": Scenario(flush),
    "flush after a crash": Scenario(flush, "journals"),
    "compact": Scenario(compact),
    "catalog": Scenario(catalog),
    "ingest": Scenario(ingest),
    "close": Scenario(close),
    "backup": Scenario(backup()),
    "backup by copies": Scenario(backup(link="never")),
    "backup after a flush": Scenario(backup(flush=True)),
    "backup after a crash": Scenario(backup(), "journals"),
    "backup, compacted": Scenario(backup(compact=True)),
    "backup, verified": Scenario(backup(verify=True)),
    "commit": Scenario(commit, open_as=fjeld.open_tx),
    "commit, optimistic": Scenario(commit, open_as=fjeld.open_optimistic_tx),
    "restore": Scenario(
        copy("restored", lambda _, parent, target: fjeld.restore(parent / "source", target)),
        prepare=with_copies,
    ),
    "restore by copies": Scenario(
        copy("restored", lambda _, parent, target: fjeld.restore(parent / "source", target, link="never")),
        prepare=with_copies,
    ),
    "restore over an old one": Scenario(replace(), prepare=old_one),
    "restore over an old one by copies": Scenario(replace(link="never"), prepare=old_one),
    "export": Scenario(
        copy("export", lambda keyspace, _, target: keyspace.export_to(target)), prepare=put_some
    ),
    "import": Scenario(
        copy("imported", lambda _, parent, target: fjeld.import_from(parent / "exported", target)),
        prepare=with_copies,
    ),
    "verify": Scenario(verify, prepare=put_some),
    "verify after a crash": Scenario(verify, "journals"),
    "verify an export": Scenario(verify_export, prepare=with_copies),
    "open_readonly": Scenario(read_only, prepare=put_some),
    "take": Scenario(in_folder(lambda keyspace, folder: folder.take(keyspace)), prepare=taken_thrice),
    "expire": Scenario(
        in_folder(lambda _, folder: folder.expire(fjeld.RetentionPolicy(last=1))), prepare=taken_thrice
    ),
    "blobs, open": Scenario(read, "blobs, tables", opening=True),
    "blobs, open after a crash": Scenario(read, "blobs, journals", opening=True),
    "blobs, put": Scenario(put, "blobs, tables"),
    "blobs, flush": Scenario(flush, "blobs, tables"),
    "blobs, compact": Scenario(compact, "blobs, tables", prepare=overwrite),
    "blobs, collect": Scenario(collect, "blobs, tables", prepare=overwrite),
    "blobs, ingest": Scenario(ingest, "blobs, tables"),
    "blobs, close": Scenario(close, "blobs, tables"),
    "blobs, backup": Scenario(backup(flush=True), "blobs, tables"),
    "blobs, backup by copies": Scenario(backup(link="never", verify=True), "blobs, tables"),
    "blobs, backup, compacted": Scenario(backup(compact=True), "blobs, tables"),
    "blobs, restore": Scenario(
        copy("restored", lambda _, parent, target: fjeld.restore(parent / "source", target)),
        "blobs, tables",
        prepare=with_copies,
    ),
    "blobs, restore over an old one": Scenario(replace(link="never"), "blobs, tables", prepare=old_one),
    "blobs, export": Scenario(
        copy("export", lambda keyspace, _, target: keyspace.export_to(target)), "blobs, tables"
    ),
    "blobs, import": Scenario(
        copy("imported", lambda _, parent, target: fjeld.import_from(parent / "exported", target)),
        "blobs, tables",
        prepare=with_copies,
    ),
    "blobs, verify": Scenario(verify, "blobs, tables"),
}


# ---- faults ----


@dataclass(frozen=True)
class Kind:
    """How operations fail: with an errno; half of a write done before; or half a write, the rest in a second one."""

    errnum: int
    operation: str | None = None

    def arm(self, after: int, count: int = 1) -> None:
        files.inject(self.operation, after, self.errnum, count=count)


KINDS: dict[str, Kind] = {
    **{
        name: Kind(getattr(errno, name))
        for name in ("ENOSPC", "EIO", "EINTR", "EMFILE", "EXDEV", "EMLINK", "EPERM", "EROFS", "EDQUOT")
    },
    "a write cut short, then ENOSPC": Kind(errno.ENOSPC, "pwrite_short"),
    "a write in two": Kind(0, "pwrite_short"),
}

# What a failing operation may say instead of raising OSError.
SAYS = ("reopen", "open the keyspace again", "close and open")


def check_error(error: BaseException, kind: Kind) -> None:
    """It names the file and the cause, or it is one of ours that says what to do."""
    if isinstance(error, fjeld.FjeldError):
        assert any(what in str(error) for what in SAYS), error
        return
    assert isinstance(error, OSError), error
    assert error.errno == kind.errnum, error
    assert error.filename is not None, error
    assert os.strerror(kind.errnum) in str(error) or "raise the hard limit" in str(error)


def difference(found: Content, ledger: Ledger) -> str:
    """For the reader of a failed test: where the content departs from what was acknowledged."""
    wrong = []
    for name in sorted(found.keys() | ledger.content.keys()):
        there, due = found.get(name), ledger.content.get(name)
        if there is None or due is None:
            wrong.append(f"{name}: {'missing' if there is None else 'too much'}")
        else:
            wrong += [
                f"{name}/{key!r}"
                for key in sorted(there.keys() | due.keys())
                if there.get(key) != due.get(key)
            ]
    return ", ".join(wrong)


def check_read(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """Reads go on, whatever has failed."""
    found = content_of(keyspace)
    assert ledger.allows(found), difference(found, ledger)


def check_reopened(path: Path, ledger: Ledger) -> None:
    with opened(path) as keyspace:
        check_read(keyspace, ledger)
        keyspace._engine.store.version.check()
        settle(keyspace)
        version = keyspace._engine.store.version
        for folder, living in (("tables", version.tables()), ("blobs", version.blobs())):
            there = {file.name for file in (path / folder).glob("*")}
            assert there == {Path(file.path).name for file in living}, "nothing is left lying about"


def attempt(
    scenario: Scenario, path: Path, ledger: Ledger, arm: Callable[[], None]
) -> tuple[BaseException | None, bool]:
    """Carry it out with a fault: what it raised, and whether the fault was met. The keyspace goes on or is
    poisoned, and is closed then, the fault over.
    """
    raised: BaseException | None = None
    if scenario.opening:
        arm()
    try:
        keyspace = scenario.open_as(path, options=small_options(**options(**scenario.options)))
    except (OSError, fjeld.FjeldError) as error:
        hit = _disarm()
        return error, hit
    settle(keyspace)
    keyspace._engine.maintainer.pause_compaction()
    if scenario.prepare is not None:
        scenario.prepare(keyspace, ledger)
    if not scenario.opening:
        arm()
    try:
        scenario.step(keyspace, ledger)
        if not keyspace._engine.closed:
            settle(keyspace)
    except (OSError, fjeld.FjeldError) as error:
        raised = error
    hit = _disarm()
    if ledger.checkpoint is not None:
        assert _content_of_copy(ledger.checkpoint[0]) == ledger.checkpoint[1]
    for check in ledger.afterwards:
        check()
    if not keyspace._engine.closed:
        go_on(keyspace, ledger)
        keyspace.close()
    return raised, hit


def _content_of_copy(path: Path) -> Content:
    if path.is_file():
        path = fjeld.import_from(path, f"{path}.imported").path
    return content_at(path)


def _disarm() -> bool:
    hit = files.faults_hit() > 0
    files.clear_faults()
    return hit


def go_on(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    check_read(keyspace, ledger)
    if keyspace.stats()["poisoned"]:
        for refused in (lambda: keyspace.partition("a").insert(b"refused", b"v"), keyspace.flush):
            try:
                refused()
            except fjeld.PoisonedError:
                continue
            raise AssertionError("a poisoned keyspace writes")
        return
    ledger.maybe.clear()
    ledger.content = content_of(keyspace)
    if "a" in ledger.content:
        ledger.change(
            lambda: keyspace.partition("a").insert(b"goes on", b"v"),
            with_entry(ledger.content, "a", b"goes on", b"v"),
        )
