"""A folder of checkpoints: take, find, verify, expire.

    FOLDER/20261123T001500.250000Z-000000012345/    a checkpoint: when it was cut (UTC), and its seqno
    FOLDER/.TAKEN.<12 hex digits>.fjeld-taken/      one that is whole, but has not got its name yet
    FOLDER/.*.fjeld-staging/                        one in the making, or the left-over of one
    FOLDER/.*.fjeld-removing/                       one that is being removed

There is no catalogue that could disagree with what is there: each checkpoint says itself what it is (checkpoint.json),
and its name is for people. So folders may be renamed, copied in and taken out by hand.

Invariants:
  1. A name without a dot in front is a whole checkpoint (law 4); what has a dot is nobody's until it has lost it.
  2. Removal begins with a rename, so a checkpoint is there whole or not at all, also after a crash.
  3. `expire` removes only what it could read: a damaged checkpoint counts for no rule, and stays, to be looked at.
  4. Nothing here takes a lock on the folder: any number of processes take, list and expire side by side. Who comes
     second finds that the work is done.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from fjeld.backup.checkpoint_file import read_checkpoint
from fjeld.backup.closed_keyspace import hold_closed
from fjeld.backup.file_checks import Problem
from fjeld.backup.folder_space import FolderSpace, measure
from fjeld.backup.info import CHECKPOINT_NAME, CheckpointInfo
from fjeld.backup.leftovers import remove_abandoned_stagings
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.removal import finish_removals, remove_folder
from fjeld.backup.report import VerifyReport, not_verified
from fjeld.backup.retention import RetentionPolicy
from fjeld.backup.verify import verify
from fjeld.errors import CancelledError, CorruptionError, FjeldError, LockedError
from fjeld.kernel import files
from fjeld.sync_points import sync_point

__all__ = ["CheckpointFolder", "DamagedCheckpoint", "ExpireReport", "KeptCheckpoint"]

log = logging.getLogger("fjeld")

TAKEN_SUFFIX = ".fjeld-taken"

# What reading a checkpoint may say that is the checkpoint's fault, and not that of the process or the machine.
OF_THE_CHECKPOINT = {
    None,  # of our own making: NotAKeyspaceError
    errno.EACCES, errno.EIO, errno.EISDIR, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EPERM,
}  # fmt: skip

Checkpoints: TypeAlias = list[CheckpointInfo]  # `list` is a method here
Paths: TypeAlias = list[str]


class Keyspace(Protocol):
    """Whatever backs itself up: a Keyspace of any kind."""

    @property
    def backup_to(self) -> Callable[..., CheckpointInfo]: ...


@dataclass(frozen=True, slots=True)
class DamagedCheckpoint:
    """A folder that is no checkpoint that can be read, and why."""

    path: Path
    error: Exception


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A checkpoint that `expire` kept, and why."""

    checkpoint: CheckpointInfo
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireReport:
    """What `expire` did, or would do."""

    kept: tuple[KeptCheckpoint, ...]
    """Oldest first."""
    removed: tuple[CheckpointInfo, ...]
    """Oldest first; with dry_run: what would be removed."""
    damaged: tuple[DamagedCheckpoint, ...]
    """They were left alone."""
    dry_run: bool


Damages: TypeAlias = list[DamagedCheckpoint]


class CheckpointFolder:
    """The checkpoints of one keyspace, in one folder. Any thread and any process may use it; it holds nothing open.

    Made where it does not exist yet, if its parent does.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(os.fsdecode(path))
        if not os.path.isdir(self._path):
            try:
                files.make_directory(self._path)
            except FileExistsError:
                if not os.path.isdir(self._path):
                    raise NotADirectoryError(f"{self._path} is not a folder") from None
            else:
                files.sync_directory(os.path.dirname(self._path))

    def __repr__(self) -> str:
        return f"<fjeld.CheckpointFolder {self._path}>"

    @property
    def path(self) -> Path:
        """The folder, absolute."""
        return Path(self._path)

    # ---- taking ----

    def take(self, keyspace: Keyspace, **options: Any) -> CheckpointInfo:
        """Back the keyspace up into the folder, under a name of its own. options: those of `backup_to`."""
        taken = os.path.join(self._path, f".taken.{uuid.uuid4().hex[:12]}{TAKEN_SUFFIX}")
        info = keyspace.backup_to(taken, **options)
        try:
            sync_point("checkpoints:taken")
            return replace(info, path=Path(self._name(taken, info)))
        except BaseException:
            if info.snapshot is not None:
                info.snapshot.close()
            shutil.rmtree(taken, ignore_errors=True)
            raise

    def _name(self, taken: str, info: CheckpointInfo) -> str:
        """Give a whole checkpoint the name that it shall have; also one that another process is about to name."""
        name = f"{info.created_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{info.seqno:012d}"
        number = 1
        while True:
            path = os.path.join(self._path, name if number == 1 else f"{name}-{number}")
            try:
                files.rename_noreplace(taken, path)
            except FileExistsError:
                number += 1
            except FileNotFoundError:
                found = self._by_id(info.id)
                if found is None:
                    raise
                return str(found.path)
            else:
                files.sync_directory(self._path)
                return path

    def _by_id(self, identity: str) -> CheckpointInfo | None:
        return next((found for found in self.list() if found.id == identity), None)

    # ---- finding ----

    def list(self) -> Checkpoints:
        """The checkpoints, oldest first. Damaged ones are logged, and given by `damaged`."""
        found, damaged = self._read()
        for checkpoint in damaged:
            log.warning("%s: not listed: %s", checkpoint.path, checkpoint.error)
        return found

    def damaged(self) -> Sequence[DamagedCheckpoint]:
        """The folders in it that cannot be read as a checkpoint."""
        return self._read()[1]

    def latest(self) -> CheckpointInfo | None:
        """The newest checkpoint; None where there is none."""
        found = self.list()
        return found[-1] if found else None

    def at(self, *, seqno: int | None = None, time: datetime | None = None) -> CheckpointInfo | None:
        """The newest checkpoint at or before a seqno, or a time (which must have a zone); None: all are newer."""
        if (seqno is None) == (time is None):
            raise ValueError("give a seqno or a time, one of them")
        if time is not None and time.tzinfo is None:
            raise ValueError(f"the time {time} has no zone: say which, for example tzinfo=UTC")
        fitting = [
            found
            for found in self.list()
            if (seqno is not None and found.seqno <= seqno) or (time is not None and found.created_at <= time)
        ]
        if seqno is not None:
            return max(fitting, key=lambda found: (found.seqno, found.created_at), default=None)
        return fitting[-1] if fitting else None

    def _read(self) -> tuple[Checkpoints, Damages]:
        found, damaged = [], []
        for path in self._folders():
            try:
                found.append(read_checkpoint(path))
            except (FjeldError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in OF_THE_CHECKPOINT:
                    raise  # or the newest one would be passed over, because too many files are open
                if os.path.lexists(path):  # else it was removed meanwhile
                    damaged.append(DamagedCheckpoint(Path(path), error))
        found.sort(key=lambda info: (info.created_at, info.seqno, info.path))
        return found, damaged

    def _folders(self) -> Paths:
        with os.scandir(self._path) as entries:
            return sorted(
                entry.path
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )

    # ---- housekeeping ----

    def verify(
        self,
        *,
        scan: bool = True,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Sequence[VerifyReport]:
        """`fjeld.verify` of every checkpoint, oldest first, then of those that cannot even be listed: a report each.

        scan: also read all entries. progress: called as progress(done_checkpoints, all_checkpoints, done_bytes,
        total_bytes). cancel: set it and the call raises CancelledError.
        """
        found, damaged = self._read()
        sizes = [sum(record.size_bytes or 0 for record in info.files) for info in found]
        meter = Meter(len(sizes), sum(sizes), progress, cancel, what="verification")
        reports = []
        for info, size_bytes in zip(found, sizes, strict=True):
            reports.append(_verified(info.path, scan, cancel))
            meter.add(1, size_bytes)
        return [*reports, *(_verified(each.path, scan, cancel, each.error) for each in damaged)]

    def expire(self, policy: RetentionPolicy, *, dry_run: bool = False) -> ExpireReport:
        """Remove the checkpoints that no rule of the policy keeps; never the newest. dry_run: only say which.

        One that is open as a keyspace is kept, and the reasons say so.
        """
        found, damaged = self._read()
        reasons = policy.kept([info.created_at for info in found])
        kept, removed = [], []
        for place, info in enumerate(found):
            if place in reasons:
                kept.append(KeptCheckpoint(info, reasons[place]))
            elif dry_run or self._remove(info):
                removed.append(info)
            else:
                kept.append(KeptCheckpoint(info, ("it is open",)))
        return ExpireReport(kept=tuple(kept), removed=tuple(removed), damaged=tuple(damaged), dry_run=dry_run)

    def _remove(self, info: CheckpointInfo) -> bool:
        """False where it is open."""
        try:
            with hold_closed(str(info.path)):
                remove_folder(str(info.path))
        except LockedError:
            return False
        except FileNotFoundError:
            pass  # another process was faster
        sync_point("checkpoints:removed")
        return True

    def disk_space(self) -> FolderSpace:
        """What the checkpoints take, and how much of it is theirs alone."""
        return measure(self._folders())

    def clean(self) -> Sequence[Path]:
        """Finish what was interrupted: remove the staging folders whose makers are dead and what was being removed,
        and give checkpoints that are whole their names. The paths of what was dealt with.
        """
        done = [*remove_abandoned_stagings(self._path), *finish_removals(self._path)]
        for name in sorted(os.listdir(self._path)):
            if name.startswith(".") and name.endswith(TAKEN_SUFFIX):
                taken = os.path.join(self._path, name)
                try:
                    self._name(taken, read_checkpoint(taken))
                except FileNotFoundError:
                    continue  # its maker has just named it
                except CorruptionError as error:
                    log.warning("%s: left as it is: %s", taken, error)
                    continue
                done.append(taken)
        files.sync_directory(self._path)
        return [Path(path) for path in done]


def _verified(
    path: Path, scan: bool, cancel: threading.Event | None, known: BaseException | None = None
) -> VerifyReport:
    """known: why it could not be listed."""
    try:
        report = verify(path, scan=scan, cancel=cancel)
    except CancelledError:
        raise
    except (FjeldError, OSError) as error:
        return not_verified(path, str(error))
    if report.ok and known is not None:
        return replace(report, problems=(Problem(CHECKPOINT_NAME, None, str(known)),))
    return report
