"""Where to cut a large merge into ranges of keys that are merged at once: a pure function."""

from __future__ import annotations

import bisect
import itertools

from fjeld.maintenance.strategies.choice import Tables

__all__ = ["most_pieces", "piece_keys"]

# A piece ends with a table that is not full. With four full ones before it, that costs an eighth more tables
# at most; in bytes nothing.
MIN_PIECE_TABLES = 4


def most_pieces(tables: Tables, table_bytes: int) -> int:
    """How many pieces a merge is worth, at least one."""
    total_bytes = sum(table.size_bytes for table in tables)
    return max(1, total_bytes // (MIN_PIECE_TABLES * table_bytes))


def piece_keys(tables: Tables, table_bytes: int, max_pieces: int) -> tuple[bytes, ...]:
    """The first keys of all pieces but the first, so that each has about the same number of bytes.

    Cuts are only made where a table begins, and a table's bytes are taken to lie evenly between the cuts
    that it spans: no file is read for this.
    """
    total_bytes = sum(table.size_bytes for table in tables)
    pieces = min(max_pieces, most_pieces(tables, table_bytes))
    edges = sorted({table.smallest for table in tables})
    if pieces < 2 or len(edges) < 2:
        return ()
    keys: list[bytes] = []
    passed_bytes = 0.0
    for edge, next_bytes in zip(edges, _bytes_between(edges, tables), strict=True):
        # A cut at the edge that is nearest to where the next piece is due.
        if keys or passed_bytes:
            due_bytes = total_bytes * (len(keys) + 1) / pieces
            if passed_bytes + next_bytes / 2 >= due_bytes:
                keys.append(edge)
        passed_bytes += next_bytes
    return tuple(keys)


def _bytes_between(edges: list[bytes], tables: Tables) -> list[float]:
    """How many bytes begin at each edge and end before the next."""
    changes = [0.0] * (len(edges) + 1)
    for table in tables:
        start = bisect.bisect_left(edges, table.smallest)
        stop = bisect.bisect_right(edges, table.largest)
        changes[start] += table.size_bytes / (stop - start)
        changes[stop] -= table.size_bytes / (stop - start)
    return list(itertools.accumulate(changes[:-1]))
