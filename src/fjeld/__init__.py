"""Fjeld: an embedded, ordered key-value store that is backed up while it runs.

    import fjeld

    with fjeld.open("data") as ks:
        users = ks.partition("users")
        users[b"alice"] = b"1"
        ks.backup_to("backups/monday")

For asyncio: `import fjeld.aio`.
"""

from fjeld.backup.checkpoint_folder import CheckpointFolder, DamagedCheckpoint, ExpireReport, KeptCheckpoint
from fjeld.backup.file_checks import Problem
from fjeld.backup.folder_space import CheckpointSpace, FolderSpace
from fjeld.backup.info import CheckpointInfo
from fjeld.backup.inspect import InspectedExport, InspectedPartition, Inspection, inspect
from fjeld.backup.report import VerifyReport
from fjeld.backup.restore import RestoreInfo, discard_replaced, restore
from fjeld.backup.retention import RetentionPolicy
from fjeld.backup.verify import verify
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
from fjeld.export import file_kind as _file_kind  # noqa: F401 - makes exports known to inspect and verify
from fjeld.export.importer import import_from
from fjeld.export.info import ExportInfo, ImportInfo
from fjeld.filters import CompactionFilter, expiring
from fjeld.keyspace import Keyspace, open
from fjeld.options import (
    Fifo,
    KeyspaceOptions,
    KvSeparation,
    Leveled,
    PartitionOptions,
    PersistMode,
    SizeTiered,
)
from fjeld.partition import Partition
from fjeld.pin import Pin, PinnedFile
from fjeld.prometheus import prometheus_text
from fjeld.readonly.keyspace import ReadOnlyKeyspace, open_readonly
from fjeld.readonly.partition import ReadOnlyPartition
from fjeld.snapshot import Snapshot
from fjeld.transaction.keyspaces import OptimisticTxKeyspace, TxKeyspace, open_optimistic_tx, open_tx
from fjeld.transaction.savepoint import Savepoint
from fjeld.transaction.transaction import OptimisticTransaction, Transaction
from fjeld.transaction.tx_partition import TxPartition

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "CancelledError",
    "CheckpointFolder",
    "CheckpointInfo",
    "CheckpointSpace",
    "ClosedError",
    "CompactionFilter",
    "ConflictError",
    "CorruptionError",
    "DamagedCheckpoint",
    "ExpireReport",
    "ExportInfo",
    "Fifo",
    "FjeldError",
    "FolderSpace",
    "ImportInfo",
    "InspectedExport",
    "InspectedPartition",
    "Inspection",
    "InvalidOptionError",
    "KeptCheckpoint",
    "Keyspace",
    "KeyspaceOptions",
    "KvSeparation",
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
    "Problem",
    "ReadOnlyKeyspace",
    "ReadOnlyPartition",
    "RestoreInfo",
    "RetentionPolicy",
    "Savepoint",
    "SizeTiered",
    "Snapshot",
    "Transaction",
    "TxKeyspace",
    "TxPartition",
    "UnsupportedFormatError",
    "VerifyReport",
    "__version__",
    "backup_offline",
    "backup_together",
    "discard_replaced",
    "expiring",
    "import_from",
    "inspect",
    "open",
    "open_optimistic_tx",
    "open_readonly",
    "open_tx",
    "prometheus_text",
    "restore",
    "verify",
]
