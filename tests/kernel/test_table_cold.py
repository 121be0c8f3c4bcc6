"""Look-ups whose blocks are in the system's page cache, and those whose are not: the same answers."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

import fjeld
from fjeld.errors import CorruptionError

KEYS = [b"%06d" % number for number in range(0, 40_000, 2)]


@pytest.fixture
def keyspace(path: Path):
    """All in tables, and next to nothing of it in the block cache."""
    options = fjeld.KeyspaceOptions(cache_bytes=0)
    with fjeld.open(path, options=options) as keyspace:
        partition = keyspace.partition("p", options=fjeld.PartitionOptions(block_bytes=1024))
        partition.insert_many([(key, key * 5) for key in KEYS])
        keyspace.compact()
        yield keyspace


def forget(path: Path) -> None:
    """Let the system drop the pages of all tables."""
    for table in (path / "tables").iterdir():
        fd = os.open(table, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def test_in_the_page_cache_or_not(path: Path, keyspace: fjeld.Keyspace) -> None:
    partition = keyspace.partition("p")
    chance = random.Random(5)
    for _ in range(20):
        for key in chance.sample(KEYS, 50):
            assert partition.get(key) == key * 5
            assert partition.get(key[:-1] + b"x") is None
        forget(path)


def test_large_blocks(path: Path) -> None:
    with fjeld.open(path, options=fjeld.KeyspaceOptions(cache_bytes=0)) as keyspace:
        partition = keyspace.partition("p")
        chance = random.Random(1)
        values = [chance.randbytes(100_000) for _ in range(20)]
        for number, value in enumerate(values):
            partition.insert(b"%d" % number, value)
        keyspace.compact()
        assert [partition.get(b"%d" % number) for number in range(20)] == values


def test_from_many_threads(keyspace: fjeld.Keyspace) -> None:
    partition = keyspace.partition("p")
    wrong: list[bytes] = []

    def read(seed: int) -> None:
        for key in random.Random(seed).sample(KEYS, 3000):
            if partition.get(key) != key * 5:
                wrong.append(key)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_damage_is_said_by_the_one_that_may_wait(path: Path, keyspace: fjeld.Keyspace) -> None:
    partition = keyspace.partition("p")
    assert partition.get(KEYS[0]) is not None  # the table is open
    (table,) = (path / "tables").iterdir()
    data = bytearray(table.read_bytes())
    data[5000] ^= 1
    table.chmod(0o644)
    table.write_bytes(data)
    with pytest.raises(CorruptionError) as raised:
        for key in KEYS:
            partition.get(key)
    assert raised.value.path == str(table)
    assert raised.value.offset is not None
