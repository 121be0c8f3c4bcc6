"""What an event loop asks: the turn and the commit at once or not at all, and handing a transaction to another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import fjeld
from tests.transaction.kinds import AnyTxKeyspace, Client


@pytest.fixture
def other() -> Iterator[Client]:
    client = Client()
    yield client
    client.stop()


def test_a_batch_does_not_go_past_the_turn(ks: AnyTxKeyspace, other: Client) -> None:
    p = ks.partition("p")
    held = other.do(ks.hold_turn)
    batch = ks.batch(durability=fjeld.PersistMode.BUFFER)
    batch.insert(p, b"k", b"v")
    assert not batch.write_without_waiting()
    assert not p.insert_now(b"k", b"v")
    assert ks.hold_turn_now() is None
    other.do(held.rollback)
    del held
    assert p.get(b"k") is None
    assert batch.write_without_waiting()
    assert p.get(b"k") == b"v"
    with pytest.raises(fjeld.ClosedError):
        batch.write_without_waiting()
    p.insert(b"k", b"the turn is free")


def test_the_turn_now(ks: AnyTxKeyspace, other: Client) -> None:
    held = ks.hold_turn_now()
    assert held is not None
    held.partition("p").insert(b"k", b"v")
    assert other.do(ks.hold_turn_now) is None
    with pytest.raises(fjeld.MisuseError):
        ks.partition("p").insert(b"k", b"v")
    assert held.commit_now()
    with pytest.raises(fjeld.ClosedError):
        held.commit_now()
    taken = other.do(ks.hold_turn_now)
    assert taken.partition is not None
    other.do(taken.rollback)
    assert ks.partition("p").get(b"k") == b"v"
    ks.close()
    with pytest.raises(fjeld.ClosedError):
        ks.hold_turn_now()
    with pytest.raises(fjeld.ClosedError):
        ks.hold_turn()


def test_an_optimistic_commit_now(optimistic: fjeld.OptimisticTxKeyspace, other: Client) -> None:
    p = optimistic.partition("p")
    tx = optimistic.write_tx()
    tx.partition("p").update_fetch(b"n", lambda _: b"1")
    held = other.do(optimistic.hold_turn)
    assert not tx.commit_now()
    assert tx.is_open
    other.do(held.rollback)
    assert tx.commit_now()
    assert p.get(b"n") == b"1"
    loser = optimistic.write_tx()
    loser.partition("p").update_fetch(b"n", lambda _: b"2")
    p.insert(b"n", b"3")
    with pytest.raises(fjeld.ConflictError):
        loser.commit_now()
    assert not loser.is_open
    slow = optimistic.write_tx()
    slow.partition("p").update_fetch(b"n", lambda _: b"4")
    optimistic.partition("p").insert(b"other", b"1")
    p.flush()
    assert not slow.commit_now(), "what it has read may have changed in tables"
    slow.commit()
    wide = optimistic.write_tx()
    view = wide.partition("p")
    for number in range(1000):
        view.get(b"%d" % number)
    view.insert(b"k", b"v")
    assert not wide.commit_now(), "much to check"
    wide.commit()
    assert optimistic._engine.figures().open_snapshots == 0


def test_handed_to_another_thread_and_back(ks: AnyTxKeyspace, other: Client) -> None:
    here, there = threading.get_ident(), other.do(threading.get_ident)
    tx = ks.write_tx()
    tx.partition("p").insert(b"k", b"v")
    tx.hand_to(there)
    with pytest.raises(fjeld.MisuseError):
        tx.rollback()
    with pytest.raises(fjeld.MisuseError):
        tx.hand_to(here)
    assert other.do(lambda: tx.partition("p").get(b"k")) == b"v"
    other.do(lambda: tx.hand_to(here))
    with pytest.raises(fjeld.MisuseError):
        other.do(lambda: tx.partition("p"))
    tx.commit()
    tx.hand_to(there)  # ended: nothing
    other.do(lambda: ks.partition("p").insert(b"k", b"the turn is free"))
    ks.partition("p").insert(b"k", b"here too")
