"""Fjeld: an embedded, ordered key-value store that is backed up while it runs.

    import fjeld

    with fjeld.open("data") as ks:
        users = ks.partition("users")
        users[b"alice"] = b"1"
        ks.backup_to("backups/monday")

For asyncio: `import fjeld.aio`.
"""

from fjeld.backup.file_checks import Problem
from fjeld.backup.info import CheckpointInfo
from fjeld.backup.inspect import InspectedPartition, Inspection, inspect
from fjeld.backup.report import VerifyReport
from fjeld.backup.verify import verify
from fjeld.batch import Batch
from fjeld.errors import (
    CancelledError,
    ClosedError,
    ConflictError,
    CorruptionError,
    FjeldError,
    InvalidOptionError,
    LockedError,
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
from fjeld.readonly.keyspace import ReadOnlyKeyspace, open_readonly
from fjeld.readonly.partition import ReadOnlyPartition
from fjeld.snapshot import Snapshot

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
    "InspectedPartition",
    "Inspection",
    "InvalidOptionError",
    "Keyspace",
    "KeyspaceOptions",
    "Leveled",
    "LockedError",
    "NotAKeyspaceError",
    "Partition",
    "PartitionOptions",
    "PersistMode",
    "Pin",
    "PinnedFile",
    "PoisonedError",
    "Problem",
    "ReadOnlyKeyspace",
    "ReadOnlyPartition",
    "SizeTiered",
    "Snapshot",
    "UnsupportedFormatError",
    "VerifyReport",
    "__version__",
    "expiring",
    "inspect",
    "open",
    "open_readonly",
    "prometheus_text",
    "verify",
]
