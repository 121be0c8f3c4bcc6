"""What a checkpoint does to files, operation by operation, compared with testdata/checkpoint.trace.

FJELD_REWRITE=1 pytest tests/backup/test_trace.py writes the file anew: read the difference before committing
it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.backup.trace import Scribe
from tests.support import fill, opened, settle, traced

EXPECTED = Path(__file__).parent / "testdata" / "checkpoint.trace"


CASES: dict[str, dict[str, Any]] = {
    "a table and unflushed writes": {},
    "nothing new since": {},
    "link=never": {"link": "never"},
    "flush=True": {"flush": True},
    "compact=True": {"compact": True},
    "partitions": {"partitions": ["a"], "verify": True},
}


def chapters(tmp_path: Path) -> dict[str, str]:
    """What the backup did, by the name of the case."""
    found = {}
    scribe = Scribe(tmp_path)
    options = {"memtable_bytes": 1 << 20, "journal_bytes": 1 << 20, "journals_max_bytes": 1 << 22}
    with opened(tmp_path / "source", **options) as keyspace:
        fill(keyspace.partition("a"), 100)
        keyspace.flush()
        fill(keyspace.partition("b"), 10)
        settle(keyspace)
        # What makes spare journals, finishes sealed ones and deletes files has nothing to do with it.
        keyspace._engine.maintainer._journal_worker.stop()
        keyspace._engine.maintainer._workers.stop()
        for name, chosen in CASES.items():
            with traced() as trace:
                keyspace.backup_to(tmp_path / "target", **chosen)
            found[name] = scribe.write(trace)
            (tmp_path / "target").rename(tmp_path / f"target of {name}")
    return found


def test_the_trace_of_a_checkpoint(tmp_path: Path) -> None:
    text = "\n".join(f"# {name}\n{trace}" for name, trace in chapters(tmp_path).items())
    if os.environ.get("FJELD_REWRITE"):
        EXPECTED.write_text(text)
    assert text == EXPECTED.read_text()
