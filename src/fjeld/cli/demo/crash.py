"""The crash: a process that writes is killed with SIGKILL, and nothing that it acknowledged may be missing.

The child says on a pipe, after each commit, how many batches it has been promised. The parent kills it in the
middle, reads what is left in the pipe, opens the keyspace and looks for every entry of every acknowledged
batch. Of the batch that was under way there may be all or nothing.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import fjeld
from fjeld.cli.demo.source import batches, index_entries
from fjeld.cli.demo.writer import FILES, IDENTIFIERS, Writer

__all__ = ["CrashReport", "crash_and_recover"]

_ACKNOWLEDGEMENT = struct.Struct("<Q")  # batches so far; smaller than PIPE_BUF, so never torn


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What was promised, and what was found."""

    killed: bool
    acknowledged_batches: int
    acknowledged_entries: int
    found_batches: int
    """One more than acknowledged where the kill came between the commit and its acknowledgement."""
    found_entries: int
    expected_entries: int
    """Of the batches that were found, so a torn batch shows."""
    lost_entries: int
    """Acknowledged, and missing or different. Must be 0."""
    reopen_seconds: float

    @property
    def holds(self) -> bool:
        return (
            self.killed
            and self.lost_entries == 0
            and self.found_entries == self.expected_entries
            and 0 <= self.found_batches - self.acknowledged_batches <= 1
        )


def write_until_killed(keyspace_path: Path, list_path: Path, acknowledge_fd: int) -> None:
    """The child's work."""
    paths = [Path(os.fsdecode(name)) for name in list_path.read_bytes().split(b"\0") if name]
    with fjeld.open(keyspace_path) as keyspace:
        writer = Writer(keyspace)
        for number, (key, contents) in enumerate(batches(paths), 1):
            writer.write(key, contents)
            os.write(acknowledge_fd, _ACKNOWLEDGEMENT.pack(number))


def run_and_kill(
    command: Sequence[str], kill_after: int, on_batch: Callable[[int], None]
) -> tuple[int, bool]:
    """Starts the child and kills it once it has acknowledged so many.

    Returns the last acknowledged batch, and whether it was SIGKILL that ended the child.
    """
    last = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            while message := child.stdout.read(_ACKNOWLEDGEMENT.size):
                if len(message) == _ACKNOWLEDGEMENT.size:
                    (last,) = _ACKNOWLEDGEMENT.unpack(message)
                    on_batch(last)
                if last == kill_after:
                    child.kill()  # and read on: what is in the pipe was acknowledged
        finally:
            child.kill()
    return last, child.returncode == -9


def check(
    keyspace_path: Path,
    paths: Sequence[Path],
    acknowledged: int,
    killed: bool,
    on_batch: Callable[[int], None],
) -> CrashReport:
    """Opens what the killed process left and compares it with what it promised."""
    start = time.perf_counter()
    with fjeld.open(keyspace_path, create=False) as keyspace:
        reopen_seconds = time.perf_counter() - start
        files, identifiers = keyspace.partition(FILES), keyspace.partition(IDENTIFIERS)
        found_batches = len(files)
        expected = acknowledged_entries = lost = 0
        for number, (key, contents) in enumerate(batches(paths), 1):
            if number > max(acknowledged, found_batches):
                break
            entries = index_entries(key, contents)
            if number <= acknowledged:
                acknowledged_entries += 1 + len(entries)
                lost += files.get(key) != contents
                found = identifiers.get_many([place for place, _ in entries])
                lost += sum(value != lines for value, (_, lines) in zip(found, entries, strict=True))
            if number <= found_batches:
                expected += 1 + len(entries)
            on_batch(number)
        return CrashReport(
            killed=killed,
            acknowledged_batches=acknowledged,
            acknowledged_entries=acknowledged_entries,
            found_batches=found_batches,
            found_entries=found_batches + len(identifiers),
            expected_entries=expected,
            lost_entries=lost,
            reopen_seconds=reopen_seconds,
        )


def crash_and_recover(
    keyspace_path: Path,
    paths: Sequence[Path],
    *,
    kill_after: int,
    on_write: Callable[[int], None],
    on_check: Callable[[int], None],
) -> CrashReport:
    """Writes in a child process, kills it after so many acknowledged batches, reopens, compares."""
    with tempfile.NamedTemporaryFile() as names:
        names.write(b"\0".join(os.fsencode(path) for path in paths))
        names.flush()
        command = [sys.executable, "-m", "fjeld.cli.demo.crash", os.fspath(keyspace_path), names.name]
        acknowledged, killed = run_and_kill(command, kill_after, on_write)
    return check(keyspace_path, paths, acknowledged, killed, on_check)


if __name__ == "__main__":
    write_until_killed(Path(sys.argv[1]), Path(sys.argv[2]), sys.stdout.fileno())
