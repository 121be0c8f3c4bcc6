"""A commit with a real journal and a control plane of a few lines: what writes need, without an engine."""

from __future__ import annotations

import itertools
from pathlib import Path

from fjeld.errors import ClosedError
from fjeld.kernel.commit import Commit
from fjeld.kernel.core import TreeCore
from fjeld.kernel.journal import JournalWriter
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.tree import Tree
from fjeld.kernel.view import View

Row = tuple[bytes, int, int, bytes]  # key, seqno, kind, value
Record = tuple[int, int, list[tuple[int, int, bytes, bytes]]]  # seqno, time, (kind, partition, key, value)

REFUSE, DURABLE, PRESSURE = 1, 2, 4


class Control:
    """Rotates journals, seals memtables, and notes what it was asked for."""

    def __init__(self, folder: Path, journal_bytes: int, memtable_bytes: int) -> None:
        self.folder = folder
        self.journal_bytes = journal_bytes
        self.memtable_bytes = memtable_bytes
        self.asked: list[str] = []
        self.persisted: list[int] = []
        self.poisoned: BaseException | None = None
        self.clock_ns = 0
        self.numbers = itertools.count(1)
        self.commit = Commit(self, self._now)
        self.cores: list[TreeCore] = []
        self.commit.replace_journal(self._journal(0))

    def _now(self) -> int:
        self.clock_ns += 1000
        return self.clock_ns

    def _journal(self, record_bytes: int) -> JournalWriter:
        number = next(self.numbers)
        capacity = max(self.journal_bytes, record_bytes + 256)
        return JournalWriter(str(self.folder / f"{number}.jnl"), number, capacity)

    def tree(self, name: str = "p") -> Tree:
        view = View((MemtableOwner(),), ())
        core = TreeCore(self.commit, len(self.cores) + 1, name, self.memtable_bytes, view)
        self.cores.append(core)
        return Tree(core)

    def records(self) -> list[Record]:
        """Everything that is in the journals."""
        found: list[Record] = []
        for number in range(1, 1000):
            path = self.folder / f"{number}.jnl"
            if not path.exists():
                break
            found += list(JournalReader(str(path), number, allow_torn=True))
        return found

    # ---- kernel.commit.Control ----

    def refuse(self) -> None:
        self.asked.append("refuse")
        raise ClosedError("refused")

    def refuse_partition(self, core: TreeCore) -> None:
        self.asked.append(f"refuse {core.name}")
        raise ClosedError(f"{core.name} was dropped")

    def relieve(self) -> None:
        self.asked.append("relieve")

    def switch_journal(self, record_bytes: int) -> None:
        self.asked.append("switch")
        self.commit.acquire()
        self.commit.replace_journal(self._journal(record_bytes))
        self.commit.release()

    def sync_failed(self, error: OSError) -> None:
        self.asked.append("sync failed")
        raise error

    def seal_memtable(self, core: TreeCore) -> None:
        self.asked.append(f"seal {core.name}")
        self.commit.acquire()
        view = core.current_view()
        view.memtables[0].seal()
        core.replace(View((MemtableOwner(), *view.memtables), view.levels))
        self.commit.release()

    def persist_write(self, seqno: int) -> None:
        self.asked.append("persist")
        self.persisted.append(seqno)

    def poison(self, cause: BaseException) -> None:
        self.poisoned = cause


def rows(core: TreeCore) -> list[Row]:
    """All versions in its memtables."""
    found = [row for memtable in core.current_view().memtables for row in memtable.scan()]
    return sorted(found, key=lambda row: (row[0], -row[1]))
