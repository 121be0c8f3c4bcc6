"""The writer: one atomic batch a file, across both partitions."""

from __future__ import annotations

import time
from dataclasses import dataclass

import fjeld
from fjeld.cli.demo.latency import LatencyRecorder
from fjeld.cli.demo.source import index_entries

__all__ = ["FILES", "IDENTIFIERS", "Writer", "Written"]

FILES = "files"
IDENTIFIERS = "identifiers"


@dataclass(slots=True)
class Written:
    """What went in so far."""

    batches: int = 0
    entries: int = 0
    bytes: int = 0


class Writer:
    """Writes to one keyspace and times each commit. For one thread."""

    def __init__(self, keyspace: fjeld.Keyspace) -> None:
        self._keyspace = keyspace
        self._files = keyspace.partition(FILES)
        self._identifiers = keyspace.partition(IDENTIFIERS)
        self.written = Written()
        self.latencies = LatencyRecorder()

    def write(self, key: bytes, contents: bytes) -> None:
        """A file and the places of all its words, or nothing of it. Timed: the commit."""
        entries = index_entries(key, contents)
        identifiers = self._identifiers
        with self._keyspace.batch() as batch:
            insert = batch.insert
            insert(self._files, key, contents)
            for place, lines in entries:
                insert(identifiers, place, lines)
            start_ns = time.perf_counter_ns()
        self.latencies.record(start_ns, time.perf_counter_ns())
        self.written.batches += 1
        self.written.entries += 1 + len(entries)
        self.written.bytes += len(key) + len(contents)
        self.written.bytes += sum(len(place) + len(lines) for place, lines in entries)
