"""Recovery: the records of a journal go back into the memtables they were meant for."""

import cython
from cython.cimports.fjeld.kernel.coding import cbytes
from cython.cimports.fjeld.kernel.core import TreeCore
from cython.cimports.fjeld.kernel.failure import ST_OK
from cython.cimports.fjeld.kernel.journal_reader import JournalEntry, JournalReader, entry_next
from cython.cimports.fjeld.kernel.memtable import memtable_insert
from cython.cimports.libc.stdint import uint64_t

from fjeld.errors import CorruptionError


def replay_journal(
    reader: JournalReader, cores: dict, flushed: dict, last_seqno: int, on_full: object
) -> int:
    """Put every entry newer than its partition's flushed seqno into its memtable; the last seqno read.

    cores: TreeCore by partition id (entries of others were dropped: they are passed over); flushed: seqno by
    id; last_seqno: of the journal before (0: none): seqnos must go on from there without a gap.

    on_full(core) is called when a memtable has reached its size, to put a fresh one in its place.

    Not thread-safe: nobody else uses the keyspace yet.
    """
    entry: JournalEntry
    p: cbytes
    core: TreeCore = None
    found: object
    flushed_seqno: uint64_t = 0
    seqno: uint64_t
    last: uint64_t = last_seqno
    partition: cython.longlong = -1
    while reader.next_record():
        seqno = reader.record.seqno
        if last and seqno != last + 1:
            raise CorruptionError(
                f"seqno {seqno} follows {last}: a journal is missing or out of place",
                path=reader.path,
                offset=reader.record.offset,
            )
        last = seqno + reader.record.entries - 1
        p = reader.record.body
        while p < reader.record.body_end:
            entry_next(cython.address(p), reader.record.body_end, cython.address(entry))
            if partition != entry.partition:
                partition = entry.partition
                found = cores.get(partition)
                core = found
                flushed_seqno = flushed[partition] if found is not None else 0
            if core is not None and seqno > flushed_seqno:
                if core.is_full():
                    on_full(core)
                if (
                    memtable_insert(
                        core.active,
                        entry.key,
                        entry.key_bytes,
                        (seqno << 8) | cython.cast(uint64_t, entry.kind),
                        entry.value,
                        entry.value_bytes,
                        False,
                    )
                    != ST_OK
                ):
                    raise MemoryError
            seqno += 1
    return last
