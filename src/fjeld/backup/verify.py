"""`fjeld.verify`: is every byte of a keyspace or checkpoint what it was when it was written?

    marker, CURRENT      as opening checks them
    manifest             every record, and the invariants of the version that it leads to
    every file           that the version names: there, size, checksum of the whole, and all that its kind has
                         (`file_checks`), in one pass over its bytes, several files at a time
    checkpoint.json      its own checksum, and, of a checkpoint never opened, identity, seqno and list of files
    journals             that they go on without a gap from what the tables have
    scan                 everything merged and read as a user would: the number of entries, and the digest

Damage is collected, all of it, and nothing is repaired: the report says which files to restore. Where the manifest
itself cannot be read, checkpoint.json says which files there were; without it each table is checked against itself.

A live keyspace is verified as of one moment (`recovery.moment`), while its owner goes on. The scan is a second
pass: one that also checked the files would have to read all of a partition's tables in step, and could not tell
which file is damaged when the merge stops at the first.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from fjeld.backup.checkpoint_file import CheckpointDocument, find_document, was_opened
from fjeld.backup.file_checks import FileCheck, Finding, Problem, checks_of, checks_without_manifest
from fjeld.backup.file_kinds import kind_of_file
from fjeld.backup.info import CHECKPOINT_NAME
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.read_ahead import ahead_bytes
from fjeld.backup.report import VerifyReport
from fjeld.content_digest import count_and_digest
from fjeld.errors import CancelledError, ClosedError, CorruptionError, UnsupportedFormatError
from fjeld.kernel import files
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.commit import Commit
from fjeld.kernel.core import Access, TreeCore
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.files import CancelFlag
from fjeld.manifest import names
from fjeld.manifest.fields import MAX_SEQNO
from fjeld.manifest.marker import check_marker
from fjeld.manifest.version import Version
from fjeld.recovery.contents import MEMTABLE_BYTES, read_contents
from fjeld.recovery.folder import list_folder
from fjeld.recovery.moment import Moment, read_moment
from fjeld.recovery.replaying import Replay, replay_journals

__all__ = ["verify"]

T = TypeVar("T")

# Four for each processor: some check what they have while what the others need is on its way. Two threads on two
# processors kept these busy for a third of the time, and the disk waited in turn; from three times as many on it does not.
THREADS = min(16, 4 * len(os.sched_getaffinity(0)))
# How soon a call notices that it is not wanted any more.
POLL_SECONDS = 0.1
UNLIMITED_FILES = 1 << 30


def verify(
    path: str | os.PathLike[str],
    *,
    scan: bool = True,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> VerifyReport:
    """Check every byte of a keyspace, live or closed, a checkpoint, or the file of an export; nothing is written.

    scan:      also read all entries as a user would, and count and digest them.
    progress:  called as progress(done_files, total_files, done_bytes, total_bytes).
    cancel:    set it and the call raises CancelledError.

    Damage is in the report, not raised. NotAKeyspaceError: there is none. UnsupportedFormatError: a newer Fjeld
    wrote it. OSError (EMFILE, EAGAIN): as open_readonly.
    """
    place = os.path.abspath(os.fsdecode(path))
    try:
        if os.path.isfile(place):
            return kind_of_file(place).verify(place, scan=scan, progress=progress, cancel=cancel)
        return _Verification(place, progress, cancel).run(scan)
    except CancelledError:
        raise CancelledError("the verification was cancelled") from None


class _Verification:
    """One call of `verify`."""

    def __init__(self, path: str, progress: Progress | None, cancel: threading.Event | None) -> None:
        self._path = path
        self._progress = progress
        self._cancel = cancel
        self._problems: list[Problem] = []
        self._notes: list[Problem] = []
        self._files = 0
        self._bytes = 0

    def run(self, scan: bool) -> VerifyReport:
        started = time.perf_counter()
        self._guard(lambda: check_marker(self._path))
        in_use = files.is_locked(os.path.join(self._path, names.LOCK_NAME))
        opened = was_opened(self._path)
        document = self._guard(lambda: find_document(self._path))
        moment = self._guard(self._read_moment)
        entries = digest = replay = None
        leftovers: tuple[str, ...] = ()
        if moment is None:
            self._check_without_manifest(document)
        else:
            try:
                leftovers = () if in_use else _leftovers(moment)
                self._check_manifest(moment, leftovers, in_use, opened, document)
                self._run_checks(list(checks_of(moment, ahead_bytes(self._path))))
                replay = self._replay(moment)
                if scan and not self._problems:
                    entries, digest = self._guard(lambda: self._scan(moment)) or (None, None)
            finally:
                moment.release()
        has_document = os.path.lexists(os.path.join(self._path, CHECKPOINT_NAME))
        return VerifyReport(
            path=Path(self._path),
            kind="checkpoint" if has_document and not opened else "keyspace",
            in_use=in_use,
            id=None if moment is None else moment.version.id,
            seqno=None if replay is None else replay.seqno,
            files_checked=self._files,
            bytes_checked=self._bytes,
            entries=entries,
            digest=digest,
            problems=tuple(self._problems),
            notes=tuple(self._notes),
            leftovers=leftovers,
            elapsed_seconds=time.perf_counter() - started,
        )

    # ---- damage ----

    def _guard(self, step: Callable[[], T]) -> T | None:
        """The step's result; None where it met damage, which is kept."""
        try:
            return step()
        except CorruptionError as error:
            relative = os.path.relpath(error.path or self._path, self._path)
            self._add(Problem(relative, error.offset, error.what))
        return None

    def _add(self, problem: Problem) -> None:
        if problem not in self._problems:
            self._problems.append(problem)

    # ---- the small files ----

    def _read_moment(self) -> Moment:
        pool = DescriptorPool(UNLIMITED_FILES)
        try:
            return read_moment(self._path, cache=BlockCache(0), descriptors=pool, lenient=True)
        except UnsupportedFormatError as error:
            # The marker, which says how new the keyspace is, was understood: so this is damage.
            raise CorruptionError(str(error), path=os.path.join(self._path, names.CURRENT_NAME)) from error

    def _check_manifest(
        self,
        moment: Moment,
        leftovers: Sequence[str],
        in_use: bool | None,
        opened: bool,
        document: CheckpointDocument | None,
    ) -> None:
        manifest, name = moment.manifest, names.manifest_name(moment.manifest.number)
        self._files += 3 if document is None else 4  # marker, CURRENT, manifest, checkpoint.json
        self._bytes += manifest.size_bytes
        for relative, error in moment.failed.items():
            missing = isinstance(error, FileNotFoundError)
            what = "the file is missing" if missing else f"it cannot be read ({error.strerror or error})"
            self._add(Problem(relative, None, what))
        end = manifest.size_bytes - manifest.torn_bytes
        if not manifest.sealed and not moment.journals and any(map(_is_table, leftovers)):
            what = "it is cut short: it has no seal, there is no journal, but tables that it does not name"
            self._add(Problem(name, end, what))
        elif manifest.torn_bytes and not in_use:
            self._notes.append(Problem(name, end, "a part of an edit that was never acknowledged"))
        if document is not None:
            if not opened and not manifest.sealed:
                self._add(Problem(name, end, "it is cut short: it has no seal"))
            for what in _against_document(document, moment.version, opened):
                self._add(Problem(CHECKPOINT_NAME, None, what))

    def _check_without_manifest(self, document: CheckpointDocument | None) -> None:
        listing = self._guard(lambda: list_folder(self._path, lenient=True))
        if listing is not None:
            records = () if document is None or was_opened(self._path) else document.files
            self._run_checks(list(checks_without_manifest(self._path, listing, records)))

    # ---- the large ones ----

    def _run_checks(self, checks: Sequence[FileCheck]) -> None:
        meter = Meter(len(checks), sum(check.size_bytes for check in checks), self._progress, self._cancel)
        found: dict[int, Finding] = {}
        with closing(self._findings(checks, meter)) as findings:
            for index, finding in findings:
                found[index] = finding
                self._files += 1
                self._bytes += finding.size_bytes
                meter.add(1, checks[index].size_bytes)
        for _, finding in sorted(found.items()):
            for problem in finding.problems:
                self._add(problem)

    def _findings(
        self, checks: Sequence[FileCheck], meter: Meter
    ) -> Generator[tuple[int, Finding], None, None]:
        """What the checks give, as they end. What a thread raises is raised here."""
        results: queue.SimpleQueue[tuple[int, Finding] | BaseException] = queue.SimpleQueue()
        waiting = iter(range(len(checks)))
        flag = CancelFlag()
        taking = threading.Lock()

        def work() -> None:
            try:
                while not flag.is_set():
                    with taking:
                        index = next(waiting, None)
                    if index is None:
                        return
                    finding = checks[index].run(flag)
                    if finding is not None:
                        results.put((index, finding))
            except BaseException as error:
                results.put(error)

        with ThreadPoolExecutor(THREADS, thread_name_prefix="fjeld-verify") as pool:
            try:
                for _ in range(min(THREADS, len(checks))):
                    pool.submit(work)
                for _ in checks:
                    result = self._poll(lambda: results.get(timeout=POLL_SECONDS), meter.check)
                    if isinstance(result, BaseException):
                        raise result
                    yield result
            finally:
                flag.set()

    def _poll(self, get: Callable[[], T], check: Callable[[], object]) -> T:
        while True:
            try:
                return get()
            except (queue.Empty, TimeoutError):
                check()

    def _replay(self, moment: Moment) -> Replay | None:
        """Do the journals go on without a gap?"""
        if any(relative.startswith(names.JOURNALS_DIRECTORY) for relative in moment.failed):
            return None
        replay = self._guard(
            lambda: replay_journals(moment.version, moment.replays, moment.open_journal, {}, None)
        )
        if replay is not None and replay.torn is not None:
            path, offset = replay.torn
            what = "its end is torn: what was written there last was not persisted, and is lost"
            self._notes.append(Problem(os.path.relpath(path, self._path), offset, what))
        return replay

    def _scan(self, moment: Moment) -> tuple[int, str]:
        shown, flag = _Shown(moment), CancelFlag()
        meter = Meter(0, 0, None, self._cancel)
        with ThreadPoolExecutor(1, thread_name_prefix="fjeld-verify") as pool:
            try:
                future = pool.submit(count_and_digest, shown, flag)
                return self._poll(lambda: future.result(POLL_SECONDS), meter.check)
            finally:
                flag.set()


class _Shown:
    """A moment as a user would read it, for the digest."""

    def __init__(self, moment: Moment) -> None:
        self._commit = Commit(self)
        contents = read_contents(moment, self._commit)
        self._cores = {
            state.name: TreeCore(self._commit, state.id, state.name, MEMTABLE_BYTES, contents.views[state.id])
            for state in moment.version.partitions.values()
        }

    def refuse_partition(self, core: TreeCore) -> None:
        raise ClosedError(f"the partition {core.name!r} was closed")

    def partitions(self) -> list[str]:
        return list(self._cores)

    def partition(self, name: str) -> Access:
        access = Access(self._cores[name])
        access.fix(MAX_SEQNO)
        return access


# ---- what is named, and by whom ----


def _is_table(relative: str) -> bool:
    return relative.startswith(f"{names.TABLES_DIRECTORY}/")


def _leftovers(moment: Moment) -> tuple[str, ...]:
    """The files in the folder that are not part of the moment."""
    root = {
        names.MARKER_NAME,
        names.LOCK_NAME,
        names.CURRENT_NAME,
        names.manifest_name(moment.manifest.number),
        *names.FILE_DIRECTORIES,
        CHECKPOINT_NAME,
    }
    tables = {names.table_name(number) for number in moment.tables}
    blobs = {names.blob_name(number) for number in moment.blobs}
    journals = {names.journal_name(replay.number) for replay in moment.replays}
    listing = moment.listing
    found = [*(listing.root - root)]
    found += [f"{names.TABLES_DIRECTORY}/{name}" for name in listing.tables - tables]
    found += [f"{names.BLOBS_DIRECTORY}/{name}" for name in listing.blobs - blobs]
    found += [f"{names.JOURNALS_DIRECTORY}/{name}" for name in listing.journals - journals]
    return tuple(sorted(relative for relative in found if relative not in moment.failed))


def _against_document(document: CheckpointDocument, version: Version, opened: bool) -> Iterable[str]:
    """What checkpoint.json and the manifest do not agree on. Once opened, only the identity stays."""
    if document.id != version.id:
        yield f"it is of the checkpoint {document.id}, the manifest of {version.id}"
    if opened:
        return
    if document.parent != version.parent:
        yield "it says another parent than the manifest"
    if document.seqno != version.seqno:
        yield f"it says seqno {document.seqno}, the manifest {version.seqno}"
    if sorted(document.partitions) != sorted(state.name for state in version.partitions.values()):
        yield "it names other partitions than the manifest"
    listed, named = set(document.files), set(version.files())
    for record in sorted(listed ^ named, key=lambda record: record.path):
        yield f"it and the manifest do not agree on {record.path}"
