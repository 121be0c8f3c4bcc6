"""What keyspaces do before the power goes: one function a workload, pluggable by one line in WORKLOADS."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import fjeld
from fjeld.kernel import files
from fjeld.sync_points import clear_sync_points, set_sync_point
from tests.crash.life import Life, Recording
from tests.support import settle

Workload = Callable[[Life], None]


def writes(life: Life) -> None:
    """Batches, and what happens to their files at any moment."""
    for _ in range(24):
        life.write(life.chance.randrange(1, 12))
        life.act()


def durable_writes(life: Life) -> None:
    for _ in range(20):
        life.write(life.chance.randrange(1, 6), durable=life.chance.random() < 0.6)
        if life.chance.random() < 0.3:
            life.act()


def checkpoints(life: Life) -> None:
    """Checkpoints by links and by copies, with and without a flush, and writes and flushes in between their steps."""

    def busy() -> None:
        life.write(4)
        life.chance.choice((life.flush, life.compact, life.persist, lambda: None))()

    for link in ("auto", "never", "auto", "never", "auto"):
        life.write(8)
        point = life.chance.choice(("staged", "cut", "finished", "linked", "written", "published"))
        set_sync_point(f"backup:{point}", busy)
        life.checkpoint(link=link, flush=life.chance.random() < 0.3)
        clear_sync_points()
        if life.chance.random() < 0.5:
            life.flush()


def catalog(life: Life) -> None:
    """Partitions come, are cleared and go, and come again under the same name."""
    for number in range(12):
        life.write(5)
        life.batch({f"p{number % 3}": {b"k%d" % key: b"%d" % number for key in range(8)}})
        name = f"p{life.chance.randrange(3)}"
        life.chance.choice(
            (life.drop, life.clear, lambda name: life.flush(), lambda name: life.checkpoint())
        )(name)
        settle(life.keyspace)


def ingestion(life: Life) -> None:
    for number in range(10):
        life.write(life.chance.randrange(6))
        first = life.chance.randrange(60)
        life.ingest("a", {b"%03d" % key: b"ingested %d" % number for key in range(first, first + 20)})
        if life.chance.random() < 0.4:
            life.act()


def reopening(life: Life) -> None:
    """Ends in good order and ends by SIGKILL, one after the other: recovery is a workload too."""
    for _ in range(8):
        life.write(life.chance.randrange(1, 14))
        life.chance.choice((life.reopen, life.die_and_reopen, life.die_and_reopen))()
        if life.chance.random() < 0.3:
            life.act()


def checkpoint_of_a_checkpoint(life: Life) -> None:
    """The opened checkpoint is a keyspace of its own that shares files with its source."""
    life.write(20)
    name = life.checkpoint()
    for number in range(3):
        with fjeld.open(life.root / name) as copy:
            name = f"checkpoint of {name} {number}"
            life.checkpoints[name] = -1
            copy.backup_to(life.root / name)
            life.mark(f"taken {name}")
        life.write(5)
        life.act()


WORKLOADS: dict[str, tuple[Workload, dict[str, object]]] = {
    "writes": (writes, {}),
    "writes without a map": (writes, {"mapped_journal": False}),
    "durable writes": (durable_writes, {}),
    "durable writes without a map": (durable_writes, {"mapped_journal": False}),
    "checkpoints": (checkpoints, {}),
    "checkpoints without a map": (checkpoints, {"mapped_journal": False}),
    "catalog": (catalog, {}),
    "ingestion": (ingestion, {}),
    "reopening": (reopening, {}),
    "checkpoint of a checkpoint": (checkpoint_of_a_checkpoint, {}),
}


def record(name: str, root: Path, seed: int) -> Recording:
    """Run a workload in an empty folder: its trace, and the oracle."""
    workload, options = WORKLOADS[name]
    files.start_trace()
    trace: list = []
    try:
        life = Life(root, random.Random(f"{name} {seed}"), **options)
        workload(life)
        life.close()
    finally:
        clear_sync_points()
        trace += files.stop_trace()
    life.learn()
    return trace, life.history, life.checkpoints
