"""The digest of the logical content of a whole keyspace: names of partitions, keys and values.

XXH3-128 over, for each partition in order of names: length of the name (u16), name, entries (u64), and the digest
of the partition (`kernel.digest`). It says nothing of files: equal content has an equal digest.
"""

from __future__ import annotations

from typing import Protocol

from fjeld.kernel.checksum import Xxh128
from fjeld.kernel.core import Access
from fjeld.kernel.digest import digest_entries
from fjeld.kernel.files import CancelFlag

__all__ = ["ContentDigest", "Digestible", "content_digest", "count_and_digest"]


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


class Digestible(Protocol):
    """A snapshot, or whatever else shows one moment."""

    def partitions(self) -> list[str]: ...
    def partition(self, name: str, /) -> Access: ...


def content_digest(moment: Digestible) -> str:
    """The digest, in hex. Reads everything, without the GIL."""
    return count_and_digest(moment)[1]


def count_and_digest(moment: Digestible, cancel: CancelFlag | None = None) -> tuple[int, str]:
    """The number of entries in all partitions, and the digest. CancelledError once `cancel` is set."""
    total = ContentDigest()
    entries = 0
    for name in sorted(moment.partitions()):
        content = Xxh128()
        count = digest_entries(moment.partition(name), content, cancel)
        total.add(name, count, content.hexdigest())
        entries += count
    return entries, total.hexdigest()
