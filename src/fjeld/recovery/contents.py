"""A moment, ready to be read from: each partition with its tables and what the journals add in memory."""

from __future__ import annotations

from dataclasses import dataclass

from fjeld.kernel.commit import Commit
from fjeld.kernel.core import TreeCore
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.view import View
from fjeld.manifest.state import PartitionState
from fjeld.recovery.moment import HeldBlob, HeldTable, Moment
from fjeld.recovery.replaying import Replay, replay_journals

__all__ = ["Contents", "read_contents"]

# As large as what a keyspace has by default: a look-up asks one memtable, or a few.
MEMTABLE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Contents:
    """What a keyspace holds at a moment: a view of each partition, constant, and the seqno that it shows."""

    views: dict[int, View]
    """By partition id."""
    replay: Replay

    @property
    def seqno(self) -> int:
        """What was written up to this seqno is there, and nothing later."""
        return self.replay.seqno


def read_contents(moment: Moment, commit: Commit) -> Contents:
    """Replay the journals of a moment, which must not lack a table. CorruptionError for damage."""
    cores = {
        state.id: TreeCore(
            commit,
            state.id,
            state.name,
            MEMTABLE_BYTES,
            View((MemtableOwner(),), levels(moment, state), blobs(moment, state)),
        )
        for state in moment.version.partitions.values()
    }
    replay = replay_journals(moment.version, moment.replays, moment.open_journal, cores, _add_memtable)
    return Contents({number: core.current_view() for number, core in cores.items()}, replay)


def levels(moment: Moment, state: PartitionState) -> tuple[tuple[HeldTable, ...], ...]:
    """The readers of a partition's tables, by level."""
    return tuple(tuple(moment.tables[table.number] for table in tables) for tables in state.levels)


def blobs(moment: Moment, state: PartitionState) -> tuple[HeldBlob, ...]:
    """The readers of a partition's blob files, in order."""
    return tuple(moment.blobs[blob.number] for blob in state.blobs)


def _add_memtable(core: TreeCore) -> None:
    view = core.current_view()
    core.replace(View((MemtableOwner(), *view.memtables), view.levels, view.blobs))
    view.memtables[0].seal()
