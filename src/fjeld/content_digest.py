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

__all__ = ["Digestible", "content_digest", "count_and_digest"]


class Digestible(Protocol):
    """A snapshot, or whatever else shows one moment."""

    def partitions(self) -> list[str]: ...
    def partition(self, name: str, /) -> Access: ...


def content_digest(moment: Digestible) -> str:
    """The digest, in hex. Reads everything, without the GIL."""
    return count_and_digest(moment)[1]


def count_and_digest(moment: Digestible, cancel: CancelFlag | None = None) -> tuple[int, str]:
    """The number of entries in all partitions, and the digest. CancelledError once `cancel` is set."""
    total = Xxh128()
    entries = 0
    for name in sorted(moment.partitions()):
        encoded = name.encode()
        content = Xxh128()
        count = digest_entries(moment.partition(name), content, cancel)
        total.update(len(encoded).to_bytes(2, "little") + encoded + count.to_bytes(8, "little"))
        total.update(bytes.fromhex(content.hexdigest()))
        entries += count
    return entries, total.hexdigest()
