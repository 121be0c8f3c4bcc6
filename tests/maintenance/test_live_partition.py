from __future__ import annotations

from pathlib import Path

from tests.maintenance.engines import by_hand, sealed
from tests.support import fill


def test_sealing(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        live = engine.find("a")
        assert (live.name, live.id) == ("a", 1)
        assert not live.seal_active(engine.store), "there is nothing in it"
        assert live.sealed_memtables() == ()
        assert live.oldest_seqno() is None
        fill(keyspace.partition("a"), 10)
        first = live.core.current_view().memtables[0]
        sealed(engine, "a")
        assert live.sealed_memtables() == (first,)
        fill(keyspace.partition("a"), 10)
        sealed(engine, "a")
        newest, oldest = live.sealed_memtables()
        assert oldest is first
        assert (oldest.first_seqno, newest.first_seqno) == (1, 11)
        assert live.oldest_seqno() == 1
        assert live.oldest_seqno((first,)) == 11
        assert live.oldest_seqno((first, newest)) is None


def test_swapping_keeps_what_was_written_meanwhile(path: Path) -> None:
    with by_hand(path, "a") as (keyspace, engine):
        partition = keyspace.partition("a")
        partition.insert(b"k", b"old")
        live = sealed(engine, "a")
        memtables = live.sealed_memtables()
        partition.insert(b"k", b"new")
        with engine.store.install_lock:
            live.swap(engine.store, engine.store.version.partitions[live.id], memtables)
        assert live.sealed_memtables() == ()
        assert partition.get(b"k") == b"new"
