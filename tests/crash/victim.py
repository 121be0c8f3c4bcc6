"""A process that is going to be killed: python -m tests.crash.victim PATH CHECKPOINTS SEED

It writes the history on from where it is, flushes, compacts, persists and takes checkpoints meanwhile, and
says on its output, after each operation, how far it is ("done N"), and how far it knows to be on disk ("kept
N").
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
from pathlib import Path

import fjeld
from tests.crash import history
from tests.small import SMALL_PARTITION, small_options


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def disturb(keyspace: fjeld.Keyspace, checkpoints: Path, chance: random.Random, reached: list[int]) -> None:
    for number in itertools.count():
        choice = chance.randrange(6)
        if choice == 0:
            keyspace.flush()
        elif choice == 1:
            keyspace.compact()
        elif choice == 2:
            count = reached[0]
            keyspace.persist(fjeld.PersistMode.SYNC_DATA)
            say(f"kept {count}")
        else:
            keyspace.backup_to(checkpoints / f"{os.getpid()}-{number}")
            say("checkpoint")


def main(path: str, checkpoints: str, seed: int) -> None:
    chance = random.Random(seed)
    keyspace = fjeld.open(path, options=small_options(mapped_journal=seed % 3 != 0))
    partitions = {name: keyspace.partition(name, options=SMALL_PARTITION) for name in ("a", "b")}
    reached = [history.check(keyspace)]
    say(f"done {reached[0]}")
    arguments = (keyspace, Path(checkpoints), chance, reached)
    threading.Thread(target=disturb, args=arguments, daemon=True).start()
    while True:
        history.perform(keyspace, partitions, reached[0] + 1)
        reached[0] += 1
        say(f"done {reached[0]}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
