"""What keyspaces do before the power goes: one function a workload, pluggable by one line in WORKLOADS."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import fjeld
from fjeld.kernel import files
from fjeld.sync_points import clear_sync_points, set_sync_point
from tests.crash.life import Life, OptimisticLife, Recording, SeparatedLife, TransactionalLife
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


def restores(life: Life) -> None:
    """To new places, by links and by copies; the source goes on, and what was restored is worked with."""
    for number in range(4):
        life.write(8)
        source = life.quiet_checkpoint(f"checkpoint {number}", flush=life.chance.random() < 0.5)
        life.restore(source, f"restored {number}", link=life.chance.choice(("auto", "never")))
        life.act()


def restores_over_an_old_one(life: Life) -> None:
    for number in range(3):
        life.write(8)
        source = life.quiet_checkpoint(f"checkpoint {number}", link=life.chance.choice(("auto", "never")))
        content = life.history.content
        life.write(8)
        life.act()
        life.restore_over(source, content, link=life.chance.choice(("auto", "never")))
        life.write(4)
        if number:
            life.discard_replaced()


def folder_of_checkpoints(life: Life) -> None:
    folder = fjeld.CheckpointFolder(life.root / "folder")
    for number in range(8):
        life.write(5)
        life.take(folder, link=life.chance.choice(("auto", "auto", "never")))
        if number % 2:
            life.expire(folder, fjeld.RetentionPolicy(last=life.chance.randrange(1, 3)))
        life.chance.choice((life.flush, life.compact, life.persist, folder.clean))()


def exports(life: Life) -> None:
    """Out of the keyspace, and into new ones."""
    for number in range(5):
        life.write(10)
        source = life.export(f"export {number}")
        life.import_from(source, f"imported {number}")
        life.act()


def transactions(life: Life) -> None:
    """Commits, those that are rolled back, and checkpoints while one is open."""
    for number in range(14):
        life.write(life.chance.randrange(1, 6), durable=life.chance.random() < 0.3)
        life.partition("c")
        with life.keyspace.write_tx() as tx:
            tx.partition("c").insert(b"never", b"%d" % number)
            if life.chance.random() < 0.4:
                life.checkpoint()
            tx.rollback()
        life.chance.choice((life.persist, life.flush, life.compact, life.die_and_reopen, life.reopen))()


def large_values(life: Life) -> None:
    """Overwritten until their blob files are collected: by jobs of their own, by merges, and while the process dies."""
    for number in range(12):
        life.write(10)
        if number % 4 == 3:
            life.ingest("a", {b"%03d" % key: b"%03d" % number * 40 for key in range(number, number + 12)})
        life.chance.choice((life.flush, life.flush, life.compact, life.die_and_reopen, life.reopen))()
        settle(life.keyspace)


def copies_of_large_values(life: Life) -> None:
    """What the copies hold is collected in the source; what was restored takes the source's place."""
    for number in range(4):
        life.write(12)
        life.chance.choice((life.flush, life.persist))()
        chosen: dict[str, object] = life.chance.choice(
            ({}, {"link": "never"}, {"compact": True}, {"flush": True})
        )
        source = life.quiet_checkpoint(f"checkpoint {number}", **chosen)
        content = life.history.content
        life.restore(source, f"restored {number}", link=life.chance.choice(("auto", "never")))
        if number % 2:
            life.restore_over(source, content)
        else:
            life.import_from(life.export(f"export {number}"), f"imported {number}")
        life.write(12)
        life.compact()


LIVES: dict[str, type[Life]] = {
    "large values": SeparatedLife,
    "large values without a map": SeparatedLife,
    "copies of large values": SeparatedLife,
    "transactions": TransactionalLife,
    "optimistic transactions": OptimisticLife,
}
"""Of a keyspace that is not a plain one."""

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
    "restores": (restores, {}),
    "restores over an old one": (restores_over_an_old_one, {}),
    "folder of checkpoints": (folder_of_checkpoints, {}),
    "exports": (exports, {}),
    "transactions": (transactions, {}),
    "optimistic transactions": (transactions, {}),
    "large values": (large_values, {}),
    "large values without a map": (large_values, {"mapped_journal": False}),
    "copies of large values": (copies_of_large_values, {}),
}


def record(name: str, root: Path, seed: int) -> Recording:
    """Run a workload in an empty folder: its trace, and the oracle."""
    workload, options = WORKLOADS[name]
    files.start_trace()
    trace: list = []
    try:
        life = LIVES.get(name, Life)(root, random.Random(f"{name} {seed}"), **options)
        workload(life)
        life.close()
    finally:
        clear_sync_points()
        trace += files.stop_trace()
    life.learn()
    return trace, life.history, life.checkpoints
