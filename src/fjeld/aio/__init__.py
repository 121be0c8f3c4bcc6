"""Fjeld for asyncio: the same keyspaces, with methods to be awaited that never block the loop.

    async with fjeld.aio.open("data") as ks:
        users = await ks.partition("users")
        await users.insert(b"alice", b"1")
        async for key, value in users.prefix(b"al"):
            ...
        await ks.backup_to("backups/monday")

What is in memory is had at once, in the loop; a thread waits for the rest. Tasks that ask for durability at the
same time share a sync.
"""

from fjeld.aio.batch import AsyncBatch
from fjeld.aio.cursor import AsyncCursor
from fjeld.aio.keyspace import AsyncKeyspace, open
from fjeld.aio.partition import AsyncPartition
from fjeld.aio.reader import AsyncReader
from fjeld.aio.scan import AsyncScan
from fjeld.aio.snapshot import AsyncSnapshot

__all__ = [
    "AsyncBatch",
    "AsyncCursor",
    "AsyncKeyspace",
    "AsyncPartition",
    "AsyncReader",
    "AsyncScan",
    "AsyncSnapshot",
    "open",
]
