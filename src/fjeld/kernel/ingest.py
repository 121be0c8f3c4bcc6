"""The seqno of an ingestion, and whether memtables hold what it is about to replace.

Seqnos in the journals have no gaps, which is how recovery knows that none is missing. So the seqno of entries
that are in no journal is put there too, as a record of one empty tombstone of partition 0, which never exists.
"""

import os

import cython
from cython.cimports.fjeld.kernel.coding import KIND_TOMBSTONE, cbytes, fj_atomic_store64, fj_compare
from cython.cimports.fjeld.kernel.commit import Commit
from cython.cimports.fjeld.kernel.journal_record import (
    RECORD_HEADER_BYTES,
    Stamp,
    entry_bytes,
    journal_fits,
    journal_put,
)
from cython.cimports.fjeld.kernel.memtable import MemCursor, MemtableOwner, mem_init, mem_seek
from cython.cimports.libc.stdint import uint64_t


def reserve_seqno(commit: Commit) -> int:
    """Take the next seqno, in the journal but not yet shown to readers; 0 where the journal is full.

    Requires: writers are held, until `publish_seqno`.
    """
    now: uint64_t = commit.now_ns()
    commit.lock()
    try:
        return put_record(commit, now)
    finally:
        commit.unlock()


@cython.cfunc
def put_record(commit: Commit, now: uint64_t) -> object:
    """Requires: commit lock."""
    needed: cython.size_t = RECORD_HEADER_BYTES + entry_bytes(NO_PARTITION, 0, 0)
    status: cython.int
    stamp: Stamp
    if commit.journal == cython.NULL or not journal_fits(commit.journal, needed):
        return 0
    stamp.seqno = commit.seqno + 1
    stamp.time_ns = now
    stamp.persisted = commit.persisted
    status = journal_put(
        commit.journal,
        KIND_TOMBSTONE,
        NO_PARTITION,
        cython.NULL,
        0,
        cython.NULL,
        0,
        cython.address(stamp),
    )
    if status != 0:
        raise OSError(-status, os.strerror(-status), commit.writer.path)
    commit.seqno += 1
    return commit.seqno


def publish_seqno(commit: Commit, seqno: uint64_t) -> None:
    """Readers may see it from here on. Requires: it is the last one taken, and writers are held."""
    fj_atomic_store64(cython.address(commit.visible), seqno)


def memtable_meets(memtable: MemtableOwner, smallest: bytes, largest: bytes) -> bool:
    """Does it hold an entry with a key between these two, both included? Requires: nobody writes to it."""
    c: MemCursor
    first: cbytes = smallest
    last: cbytes = largest
    mem_init(cython.address(c), memtable.memtable)
    mem_seek(cython.address(c), first, len(smallest), ~cython.cast(uint64_t, 0))
    return c.entry != cython.NULL and (
        fj_compare(cython.address(c.entry.data[0]), c.entry.key_bytes, last, len(largest)) <= 0
    )
