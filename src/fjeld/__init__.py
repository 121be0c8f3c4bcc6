"""Fjeld: an embedded, ordered key-value store that is backed up while it runs.

    import fjeld

    with fjeld.open("data") as ks:
        users = ks.partition("users")
        users[b"alice"] = b"1"
        ks.backup_to("backups/monday")

For asyncio: `import fjeld.aio`.
"""

from fjeld.backup.info import CheckpointInfo
from fjeld.backups import backup_offline, backup_together
from fjeld.batch import Batch
from fjeld.errors import (
    CancelledError,
    ClosedError,
    ConflictError,
    CorruptionError,
    FjeldError,
    InvalidOptionError,
    LockedError,
    MisuseError,
    NotAKeyspaceError,
    PoisonedError,
    UnsupportedFormatError,
)
from fjeld.filters import CompactionFilter, expiring
from fjeld.keyspace import Keyspace, open
from fjeld.options import Fifo, KeyspaceOptions, Leveled, PartitionOptions, PersistMode, SizeTiered
from fjeld.partition import Partition
from fjeld.pin import Pin, PinnedFile
from fjeld.prometheus import prometheus_text
from fjeld.snapshot import Snapshot
from fjeld.transaction.keyspaces import OptimisticTxKeyspace, TxKeyspace, open_optimistic_tx, open_tx
from fjeld.transaction.savepoint import Savepoint
from fjeld.transaction.transaction import OptimisticTransaction, Transaction
from fjeld.transaction.tx_partition import TxPartition

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "CancelledError",
    "CheckpointInfo",
    "ClosedError",
    "CompactionFilter",
    "ConflictError",
    "CorruptionError",
    "Fifo",
    "FjeldError",
    "InvalidOptionError",
    "Keyspace",
    "KeyspaceOptions",
    "Leveled",
    "LockedError",
    "MisuseError",
    "NotAKeyspaceError",
    "OptimisticTransaction",
    "OptimisticTxKeyspace",
    "Partition",
    "PartitionOptions",
    "PersistMode",
    "Pin",
    "PinnedFile",
    "PoisonedError",
    "Savepoint",
    "SizeTiered",
    "Snapshot",
    "Transaction",
    "TxKeyspace",
    "TxPartition",
    "UnsupportedFormatError",
    "__version__",
    "backup_offline",
    "backup_together",
    "expiring",
    "open",
    "open_optimistic_tx",
    "open_tx",
    "prometheus_text",
]
