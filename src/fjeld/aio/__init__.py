"""Fjeld for asyncio: the same keyspaces, with methods to be awaited that never block the loop.

    async with fjeld.aio.open("data") as ks:
        users = await ks.partition("users")
        await users.insert(b"alice", b"1")
        async for key, value in users.prefix(b"al"):
            ...
        await ks.backup_to("backups/monday")

    async with fjeld.aio.open_tx("data") as ks, ks.write_tx() as tx:
        users = await tx.partition("users")
        await users.fetch_update(b"alice", lambda old: b"%d" % (int(old or 0) + 1))

What is in memory is had at once, in the loop; a thread waits for the rest. Tasks that ask for durability at the
same time share a sync. Functions of a path (`fjeld.restore`, `import_from`, `verify`, `backup_offline`) have no face
of their own here: `await asyncio.to_thread(fjeld.verify, path)`.
"""

from fjeld.aio.batch import AsyncBatch
from fjeld.aio.cursor import AsyncCursor
from fjeld.aio.direct import AsyncDirectPartition
from fjeld.aio.keyspace import AsyncKeyspace, open
from fjeld.aio.partition import AsyncPartition
from fjeld.aio.reader import AsyncReader
from fjeld.aio.readonly import AsyncReadOnlyKeyspace, AsyncReadOnlyPartition, open_readonly
from fjeld.aio.scan import AsyncScan
from fjeld.aio.snapshot import AsyncSnapshot
from fjeld.aio.transaction import AsyncSavepoint, AsyncTransaction
from fjeld.aio.tx_keyspace import AsyncOptimisticTxKeyspace, AsyncTxKeyspace, open_optimistic_tx, open_tx
from fjeld.aio.tx_partition import AsyncTxPartition

__all__ = [
    "AsyncBatch",
    "AsyncCursor",
    "AsyncDirectPartition",
    "AsyncKeyspace",
    "AsyncOptimisticTxKeyspace",
    "AsyncPartition",
    "AsyncReadOnlyKeyspace",
    "AsyncReadOnlyPartition",
    "AsyncReader",
    "AsyncSavepoint",
    "AsyncScan",
    "AsyncSnapshot",
    "AsyncTransaction",
    "AsyncTxKeyspace",
    "AsyncTxPartition",
    "open",
    "open_optimistic_tx",
    "open_readonly",
    "open_tx",
]
