"""Tables for tests: made from entries, opened with a cache and a pool of their own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.table import TableReader
from fjeld.kernel.table_writer import TableWriter

Version = tuple[bytes, int, int, bytes]  # key, seqno, kind, value

# Few letters: keys that share prefixes or are prefixes of others, equal heads, many versions of a key.
letters = st.sampled_from([b"", b"\x00", b"a", b"b", b"\xff", b"abcdefgh", b"\xff" * 8])
keys = st.builds(lambda parts: b"".join(parts), st.lists(letters, max_size=4))
seqnos = st.integers(0, 12) | st.just(2**56 - 1)
values = st.sampled_from([b"", b"v", b"value" * 9]) | st.binary(max_size=12)


@st.composite
def versions(draw: st.DrawFn, max_size: int = 40) -> list[Version]:
    prefix = draw(st.sampled_from([b"", b"p", b"a long common prefix/"]))
    found = draw(
        st.dictionaries(
            st.tuples(keys, seqnos), st.tuples(st.integers(0, 2), values), min_size=1, max_size=max_size
        )
    )
    return sorted(((prefix + key, seqno, *rest) for (key, seqno), rest in found.items()), key=order)


options = st.fixed_dictionaries(
    {
        "block_bytes": st.sampled_from([1, 30, 100, 4096]),
        "filter_bits": st.sampled_from([0, 1, 10]),
        "codec": st.integers(0, 2),
    }
)


def order(version: Version) -> tuple[bytes, int]:
    return version[0], -version[1]


def write(path: Path, entries: Iterable[Version], **options: Any) -> dict[str, Any]:
    writer = TableWriter(path, keyspace_id="test", number=7, **options)
    for key, seqno, kind, value in entries:
        writer.add(key, seqno, kind, value)
    return writer.finish()


def open_table(path: Path, *, budget_bytes: int = 1 << 24, limit: int = 4) -> TableReader:
    return TableReader(path, BlockCache(budget_bytes), DescriptorPool(limit))


def numbered(n: int, value: bytes = b"x" * 50) -> list[Version]:
    return [(b"key%06d" % i, i + 1, 1, value) for i in range(n)]
