"""Whether checkpoints are what they say: every file against its checksum, and the manifest against the document.

The one place where a folder of checkpoints is verified from: whoever knows how to look deeper (blocks, references,
entries) is called from here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fjeld.backup.closed_keyspace import hold_closed, read_closed
from fjeld.backup.file_check import check_file
from fjeld.backup.info import CheckpointInfo
from fjeld.backup.progress import Meter, Progress
from fjeld.errors import CancelledError, CorruptionError, FjeldError

__all__ = ["CheckpointVerdict", "verify_checkpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointVerdict:
    """What was found of one checkpoint."""

    path: Path
    checkpoint: CheckpointInfo | None
    """None: it could not be read."""
    problems: tuple[Exception, ...]
    """A CorruptionError for each file that is not what was written; LockedError: it is open."""

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_checkpoint(
    checkpoints: Sequence[CheckpointInfo], progress: Progress | None, cancel: threading.Event | None
) -> list[CheckpointVerdict]:
    """A verdict for each. It raises only CancelledError, and what is no matter of a checkpoint."""
    sizes = [sum(record.size_bytes or 0 for record in each.files) for each in checkpoints]
    meter = Meter(len(checkpoints), sum(sizes), progress, cancel, what="verification")
    meter.check()
    return [_verdict(each, meter) for each in checkpoints]


def _verdict(checkpoint: CheckpointInfo, meter: Meter) -> CheckpointVerdict:
    problems: list[Exception] = []
    try:
        with hold_closed(str(checkpoint.path)):
            found = read_closed(str(checkpoint.path))
            if found.version.seqno == checkpoint.seqno and set(found.files) != set(checkpoint.files):
                problems.append(
                    CorruptionError(
                        "manifest and description name different files", path=str(checkpoint.path)
                    )
                )
            for record in found.files:
                try:
                    check_file(checkpoint.path, record)
                except (CorruptionError, OSError) as error:
                    problems.append(error)
                meter.add(0, record.size_bytes or 0)
    except CancelledError:
        raise
    except (FjeldError, OSError) as error:
        problems.append(error)
    meter.add(1, 0)
    return CheckpointVerdict(path=checkpoint.path, checkpoint=checkpoint, problems=tuple(problems))
