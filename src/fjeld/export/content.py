"""The digest of a keyspace: one hash over the names and contents of its partitions, in order of name."""

from __future__ import annotations

from fjeld.kernel.checksum import Xxh128

__all__ = ["ContentDigest"]


class ContentDigest:
    """Partitions are added in order of name; the digest says nothing of how their entries lie in files."""

    def __init__(self) -> None:
        self._total = Xxh128()

    def add(self, name: str, entries: int, xxh128: str) -> None:
        """One partition: its entries, and the digest of its content (`kernel.digest`)."""
        encoded = name.encode()
        self._total.update(len(encoded).to_bytes(2, "little") + encoded + entries.to_bytes(8, "little"))
        self._total.update(bytes.fromhex(xxh128))

    def hexdigest(self) -> str:
        return self._total.hexdigest()
