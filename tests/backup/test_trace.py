"""What a checkpoint does to files, operation by operation, compared with testdata/checkpoint.trace.

FJELD_REWRITE=1 pytest tests/backup/test_trace.py writes the file anew: read the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.backup.trace import as_text
from tests.support import fill, opened, settle, traced

EXPECTED = Path(__file__).parent / "testdata" / "checkpoint.trace"


def chapters(tmp_path: Path) -> dict[str, str]:
    """Each case by its name: what the backup did."""
    found = {}
    with opened(tmp_path / "source", memtable_bytes=1 << 20, journal_bytes=1 << 20, journals_max_bytes=1 << 22) as keyspace:
        fill(keyspace.partition("a"), 100)
        keyspace.flush()
        fill(keyspace.partition("b"), 10)
        settle(keyspace)
        # The worker that makes spare journals and finishes sealed ones has nothing to do with it.
        keyspace._engine.maintainer._journal_worker.stop()
        for name, options in (
            ("a table and unflushed writes", {}),
            ("nothing new since", {}),
            ("link=never", {"link": "never"}),
            ("flush=True", {"flush": True}),
        ):
            with traced() as trace:
                keyspace.backup_to(tmp_path / "target", **options)
            found[name] = as_text(trace, tmp_path)
            (tmp_path / "target").rename(tmp_path / f"target of {name}")
            settle_workers(keyspace)
    return found


def settle_workers(keyspace) -> None:
    keyspace._engine.maintainer._workers.wait_idle()


def test_the_trace_of_a_checkpoint(tmp_path: Path) -> None:
    text = "\n".join(f"# {name}\n{trace}" for name, trace in chapters(tmp_path).items())
    if os.environ.get("FJELD_REWRITE"):
        EXPECTED.write_text(text)
    assert text == EXPECTED.read_text()
