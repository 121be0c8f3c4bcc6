"""What `verify` gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fjeld.backup.file_checks import Problem
from fjeld.errors import CorruptionError

__all__ = ["VerifyReport", "not_verified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` has found."""

    path: Path
    """The folder, or the file of an export; absolute."""
    kind: str
    """"keyspace"; "checkpoint": one that was never opened for writing; or "export"."""
    in_use: bool | None
    """Whether it was open for writing somewhere; None: that could not be told."""
    id: str | None
    """Of an export that of its keyspace. None where the manifest, or the header of an export, cannot be read."""
    seqno: int | None
    """It holds what was written up to this seqno; None where that cannot be told."""
    files_checked: int
    bytes_checked: int
    entries: int | None
    """Visible entries of all partitions; None: not scanned, or not all of it can be read."""
    digest: str | None
    """As Keyspace.digest, of the partitions that there are; None as `entries`."""
    problems: tuple[Problem, ...]
    """All that is wrong."""
    notes: tuple[Problem, ...]
    """What is not wrong, but worth knowing: the torn end of a journal, after a power cut or a kill; an export of some
    of the partitions."""
    leftovers: tuple[str, ...]
    """Relative paths of files that nothing names; opening deletes those that are Fjeld's own. Not looked for
    while the keyspace is open: what its owner is about to name looks the same."""
    elapsed_seconds: float

    @property
    def ok(self) -> bool:
        """Is nothing wrong?"""
        return not self.problems

    def raise_if_bad(self) -> None:
        """CorruptionError for the first problem, which tells how many there are."""
        if self.problems:
            first = self.problems[0]
            more = f" (and {len(self.problems) - 1} more problems)" if len(self.problems) > 1 else ""
            folder = self.path.parent if self.kind == "export" else self.path
            raise CorruptionError(f"{first.what}{more}", path=folder / first.path, offset=first.offset)


def not_verified(path: Path, why: str) -> VerifyReport:
    """The report of a folder that is not even recognised."""
    return VerifyReport(
        path=path,
        kind="checkpoint",
        in_use=None,
        id=None,
        seqno=None,
        files_checked=0,
        bytes_checked=0,
        entries=None,
        digest=None,
        problems=(Problem(".", None, why),),
        notes=(),
        leftovers=(),
        elapsed_seconds=0.0,
    )
