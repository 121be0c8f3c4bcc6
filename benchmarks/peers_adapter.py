"""Fjeld as an engine of peerbench: python peerbench.py --plugin benchmarks/peers_adapter.py:Fjeld

Default options and durability; the partition's own methods are bound on the instance, so nothing is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from peerbench import Adapter

Item = tuple[bytes, bytes]


class Fjeld(Adapter):  # type: ignore[misc]  # the harness is not typed
    """One keyspace with one partition."""

    name = "fjeld"
    module = dist = "fjeld"
    checkpoint_kinds = ("hardlink",)
    backup_mode = "checkpoint"

    def open(self, path: str, durable: bool = False) -> None:
        import fjeld

        durability = fjeld.PersistMode.SYNC_DATA if durable else fjeld.PersistMode.BUFFER
        self.keyspace = fjeld.open(path, options=fjeld.KeyspaceOptions(durability=durability))
        self.partition = partition = self.keyspace.partition("kv")
        self.put, self.get, self.delete = partition.insert, partition.get, partition.remove
        self.write_batch = partition.insert_many
        self.multi_get = partition.get_many

    def scan(self, start: bytes | None = None) -> Iterator[Item]:
        return iter(self.partition.range(start))

    def scan_reverse(self) -> Iterable[Item]:
        return self.partition.range(reverse=True)

    def snapshot_get(self) -> Callable[[bytes], bytes | None]:
        self.snapshot = self.keyspace.snapshot()
        return self.snapshot.partition("kv").get

    def checkpoint(self, dst: str, kind: str) -> None:
        self.keyspace.backup_to(dst)

    def flush(self) -> None:
        self.keyspace.flush()

    def compact(self) -> None:
        self.keyspace.flush()
        self.keyspace.compact()

    def close(self) -> None:
        for bound in ("put", "get", "delete", "write_batch", "multi_get"):
            self.__dict__.pop(bound)
        self.keyspace.close()
