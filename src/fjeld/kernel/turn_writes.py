"""Writes outside of a transaction in a transactional keyspace: each takes the turn, as a transaction of its own.

None of them is persisted while it has the turn: so many of them share a sync, as elsewhere.
"""

import cython
from cython.cimports.fjeld.kernel.coding import fj_atomic_load64
from cython.cimports.fjeld.kernel.core import TreeCore
from cython.cimports.fjeld.kernel.turn import Turn
from cython.cimports.fjeld.kernel.view import NOT_NOW
from cython.cimports.fjeld.kernel.write_batch import WriteBatch, persist_due, put_one
from cython.cimports.libc.stdint import uint64_t


@cython.cfunc
@cython.exceptval(-1, check=False)
def write_in_turn(
    turn: Turn, core: TreeCore, kind: cython.int, key: bytes, value: bytes | None, wait: cython.bint
) -> cython.int:
    """One entry; without `wait`, NOT_NOW where it would have to, also for the turn."""
    seqno: uint64_t = 0
    status: cython.int
    if wait:
        turn.take(0)
    elif not turn.try_take(0):
        return NOT_NOW
    try:
        status = put_one(core, kind, key, value, wait, cython.address(seqno))
    finally:
        turn.give(0)
    if status == NOT_NOW:
        return NOT_NOW
    return persist_due(core.commit, -1, seqno)


@cython.ccall
def write_batch_in_turn(turn: Turn, batch: WriteBatch, durable: object = None) -> object:
    """A batch; as `WriteBatch.write_now`."""
    seqno: uint64_t
    empty: cython.bint = batch.count == 0
    turn.take(0)
    try:
        batch.write_now(False)
        seqno = fj_atomic_load64(cython.address(batch.commit.visible))
    finally:
        turn.give(0)
    if not empty:
        persist_due(batch.commit, -1 if durable is None else bool(durable), seqno)


def write_batch_if_free(turn: Turn, batch: WriteBatch) -> bool:
    """As `WriteBatch.write_without_waiting`: False, and nothing has happened, also where the turn is not free."""
    if not turn.try_take(0):
        return False
    try:
        return WriteBatch.write_without_waiting(batch)
    finally:
        turn.give(0)


def write_decided(turn: Turn, batch: WriteBatch, decide: object) -> object:
    """decide() puts what is to be written into the batch, with the turn; what it returns."""
    seqno: uint64_t = 0
    turn.take(0)
    try:
        result: object = decide()
        if batch.count:
            batch.write_now(False)
            seqno = fj_atomic_load64(cython.address(batch.commit.visible))
    finally:
        turn.give(0)
    if seqno:
        persist_due(batch.commit, -1, seqno)
    return result
