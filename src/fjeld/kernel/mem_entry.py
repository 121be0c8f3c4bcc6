"""An entry of a memtable: one version of a key, in an arena, never changed.

    near    tag, value_bytes, key_bytes, key, value
    far     tag, value_bytes, key_bytes, key, address of the value       a value of FAR_BYTES or more

Mostly a far value is *lent*: it lies in the mapped journal, where it has just been written (`journal_map`). To copy
it would cost more than all the rest of an insert, page faults above all, and as much memory again. One that nobody
lends, because the journal is not mapped or is being replayed, lies in the arena too, behind its entry.
"""

import cython
from cython.cimports.fjeld.kernel.arena import arena_take
from cython.cimports.fjeld.kernel.coding import cbytes
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.libc.string import memcpy

# Before the key: tag and lengths.
ENTRY_BYTES = cython.declare(cython.size_t, 14)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def entry_new(
    a: cython.pointer[Arena],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    value: cbytes,
    value_bytes: cython.size_t,
    lent: cython.bint,
) -> cython.pointer[MemEntry]:
    far: cython.bint = value_bytes >= FAR_BYTES
    address_bytes: cython.size_t = cython.sizeof(cbytes) if far else 0
    copied_bytes: cython.size_t = 0 if far and lent else value_bytes
    taken: cython.pointer[uint8_t] = cython.cast(
        cython.pointer[uint8_t], arena_take(a, ENTRY_BYTES + key_bytes + address_bytes + copied_bytes)
    )
    entry: cython.pointer[MemEntry] = cython.cast(cython.pointer[MemEntry], taken)
    if taken == cython.NULL:
        return entry
    entry.tag = tag
    entry.key_bytes = key_bytes
    entry.value_bytes = value_bytes
    taken += ENTRY_BYTES
    memcpy(taken, key, key_bytes)
    taken += key_bytes
    if copied_bytes > 0:
        memcpy(taken + address_bytes, value, copied_bytes)
        value = taken + address_bytes
    if far:
        memcpy(taken, cython.address(value), address_bytes)
    return entry
