"""Compaction: the strategy chooses, this carries out."""

from __future__ import annotations

from fjeld.errors import CancelledError
from fjeld.kernel.compaction import Compaction
from fjeld.kernel.view import View
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.open_snapshots import OpenSnapshots
from fjeld.maintenance.output import write_tables
from fjeld.maintenance.strategies.choice import Choice, Merge, Move, Nothing
from fjeld.maintenance.strategies.leveled import choose, major
from fjeld.manifest.edit import ChangeTables, Edit
from fjeld.manifest.state import PartitionState
from fjeld.manifest.store import VersionStore
from fjeld.manifest.version import Version
from fjeld.sync_points import sync_point

__all__ = ["Compactor"]


class Compactor:
    """Compacts partitions of one keyspace. Safe from any thread; compactions of one partition take turns."""

    def __init__(self, store: VersionStore, snapshots: OpenSnapshots) -> None:
        self._store = store
        self._snapshots = snapshots

    def wanted(self, partition: LivePartition) -> bool:
        """Would the strategy do anything now?"""
        state = self._store.version.partitions.get(partition.id)
        return state is not None and not isinstance(choose(state, (), partition.options.compaction), Nothing)

    def compact_once(self, partition: LivePartition) -> bool:
        """Carry out one choice of the strategy; False where there is nothing to do."""
        with partition.compaction_lock:
            state = self._store.version.partitions.get(partition.id)
            if state is None:
                return False
            choice = choose(state, (), partition.options.compaction)
            return self._carry_out(partition, state, choice)

    def compact_all(self, partition: LivePartition) -> None:
        """Merge everything into one run."""
        with partition.compaction_lock:
            state = self._store.version.partitions.get(partition.id)
            if state is not None:
                self._carry_out(partition, state, major(state, partition.options.compaction))

    def _carry_out(self, partition: LivePartition, state: PartitionState, choice: Choice) -> bool:
        if isinstance(choice, Nothing):
            return False
        if isinstance(choice, Move):
            self._move(partition, state, choice)
        else:
            self._merge(partition, state, choice)
        return True

    def _move(self, partition: LivePartition, state: PartitionState, move: Move) -> None:
        tables = {table.number: table for table in state.tables()}
        edit = ChangeTables(
            partition.id,
            added=tuple((move.output_level, tables[number]) for _, number in move.inputs),
            removed=tuple(move.inputs),
        )
        self._install(partition, edit, [])

    def _inputs(self, state: PartitionState, merge: Merge) -> View:
        """A view of the inputs alone: level 0 as separate runs, each deeper level as one."""
        chosen = set(merge.inputs)
        with self._store.install_lock:
            levels = tuple(
                tuple(
                    self._store.live_table(table.number)
                    for table in tables
                    if (level, table.number) in chosen
                )
                for level, tables in enumerate(state.levels)
            )
        return View((), levels)

    def _merge(self, partition: LivePartition, state: PartitionState, merge: Merge) -> None:
        inputs = self._inputs(state, merge)
        # The inputs are fixed: now ask what must stay readable.
        compaction = Compaction(inputs, self._snapshots.seqnos(), merge.drop_tombstones)
        partition.compaction = compaction
        try:
            if partition.core.is_refused:  # closed just before it could be cancelled
                raise CancelledError("the compaction was cancelled")
            sync_point("compaction:start")
            tables = write_tables(
                self._store,
                partition.options,
                compaction,
                level=merge.output_level,
                table_bytes=merge.table_bytes,
            )
        finally:
            partition.compaction = None
        sync_point("compaction:written")
        edit = ChangeTables(
            partition.id,
            added=tuple((merge.output_level, table) for table in tables),
            removed=tuple(merge.inputs),
        )
        self._install(partition, edit, [self._store.table_path(table.number) for table in tables])
        sync_point("compaction:installed")

    def _install(self, partition: LivePartition, change: ChangeTables, created: list[str]) -> None:
        def swap(version: Version) -> None:
            partition.swap(self._store, version.partitions[partition.id])

        try:
            self._store.edit(Edit.of(change), seqno=0, created=created, install=swap)
        except ValueError as error:  # cleared or dropped meanwhile: the result is not wanted any more
            raise CancelledError("the partition was cleared or dropped during its compaction") from error
