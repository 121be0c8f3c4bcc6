"""A history that can be checked at any length: what operation `number` writes, and what is there after the
first n.

Each operation is one atomic batch over two partitions, and says its own number in both: a torn batch, a lost
one and one that came back all show.
"""

from __future__ import annotations

import random
from typing import Any

KEYS = 500
COUNTER = b"counter"


def operation(number: int) -> list[tuple[str, bytes, bytes | None]]:
    """(partition, key, value or None for a removal)"""
    chance = random.Random(number)
    key = b"%04d" % chance.randrange(KEYS)
    writes: list[tuple[str, bytes, bytes | None]] = [
        ("a", COUNTER, b"%d" % number),
        ("b", COUNTER, b"%d" % number),
    ]
    if chance.random() < 0.3:
        writes += [("a", key, None), ("b", b"%s-%d" % (key, number % 7), None)]
    else:
        value = b"%d " % number * chance.randrange(1, 20)
        writes += [("a", key, value), ("b", b"%s-%d" % (key, number % 7), value[:9])]
    return writes


def perform(keyspace: Any, partitions: dict[str, Any], number: int) -> None:
    with keyspace.batch() as batch:
        for name, key, value in operation(number):
            if value is None:
                batch.remove(partitions[name], key)
            else:
                batch.insert(partitions[name], key, value)


def state_after(count: int) -> dict[str, dict[bytes, bytes]]:
    """What is there after the operations 1 to `count`."""
    state: dict[str, dict[bytes, bytes]] = {"a": {}, "b": {}}
    for number in range(1, count + 1):
        for name, key, value in operation(number):
            if value is None:
                state[name].pop(key, None)
            else:
                state[name][key] = value
    return state


def check(keyspace: Any) -> int:
    """How many operations the keyspace holds; what is in it must be those, and nothing else."""
    found = {name: dict(keyspace.partition(name).items()) for name in keyspace.partitions()}
    count = int(found["a"].get(COUNTER, b"0"))
    assert found == state_after(count), f"the content is not that after {count} operations"
    return count
