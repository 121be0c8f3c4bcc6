"""Records of the journal: how they are put together, and appended (docs/FORMATS.md, "Journal").

    record  = xxh64, length, entries, seqno of the first entry, time, persisted     (40 bytes)
              the entries, then zeros to a multiple of 8

A small record is *stored* into the mapping, whose pages are populated, its checksum last: no system call. A
large one is *written*, in one call, with the checksum over pieces that are nowhere put together: to make pages
and copy into them is a system call's strength (journal_pages.py has the figures). Where there is no mapping, all
are written. Either way the record is in the page cache then, which survives the process; a process that is killed
in between leaves no valid record, and the next one begins at the same place.

Thread safety: everything that takes a Journal requires the commit lock.
"""

import cython
from cython.cimports.fjeld.kernel import file_probe as probe
from cython.cimports.fjeld.kernel.checksum import (
    XXH3_64bits_digest,
    XXH3_64bits_reset_withSeed,
    XXH3_64bits_update,
    XXH3_64bits_withSeed,
    XXH3_createState,
)
from cython.cimports.fjeld.kernel.coding import (
    cbytes,
    fj_atomic_load64,
    fj_atomic_store64,
    fj_put_varint,
    fj_store32,
    fj_store64,
    fj_varint_bytes,
)
from cython.cimports.fjeld.kernel.file_gather import file_write_two
from cython.cimports.fjeld.kernel.journal_pages import pages_expect, pages_reach
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.libc import errno as e
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memset

__all__ = ["encode_entry"]

# Who has persisted what he wrote so few seqnos ago will do so again: zeros for records to come would go to disk too.
SYNCED_SEQNOS = cython.declare(uint64_t, 64)

_RECORD_BYTES_MAX = cython.declare(uint64_t, 0xFFFFFFFF)


# ---- entries ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def entry_bytes(partition: uint32_t, key_bytes: cython.size_t, value_bytes: cython.size_t) -> cython.size_t:
    lengths: cython.size_t = (
        fj_varint_bytes(partition) + fj_varint_bytes(key_bytes) + fj_varint_bytes(value_bytes)
    )
    return 1 + lengths + key_bytes + value_bytes


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _entry_head(
    p: cython.pointer[uint8_t],
    kind: cython.int,
    partition: uint32_t,
    key: cbytes,
    key_bytes: cython.size_t,
    value_bytes: cython.size_t,
) -> cython.pointer[uint8_t]:
    """An entry without its value, which comes last; where that goes."""
    p[0] = kind
    p = fj_put_varint(p + 1, partition)
    p = fj_put_varint(p, key_bytes)
    p = fj_put_varint(p, value_bytes)
    if key_bytes > 0:
        memcpy(p, key, key_bytes)
    return p + key_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def entry_put(
    p: cython.pointer[uint8_t],
    kind: cython.int,
    partition: uint32_t,
    key: cbytes,
    key_bytes: cython.size_t,
    value: cbytes,
    value_bytes: cython.size_t,
) -> cython.pointer[uint8_t]:
    p = _entry_head(p, kind, partition, key, key_bytes, value_bytes)
    if value_bytes > 0:
        memcpy(p, value, value_bytes)
    return p + value_bytes


def encode_entry(kind, partition, key: bytes, value: bytes = b""):
    """The bytes of one entry, for tools and tests."""
    room = bytearray(entry_bytes(partition, len(key), len(value)))
    start: cython.pointer[uint8_t] = room
    key_start: cython.p_char = key
    value_start: cython.p_char = value
    entry_put(
        start,
        kind,
        partition,
        cython.cast(cython.pointer[uint8_t], key_start),
        len(key),
        cython.cast(cython.pointer[uint8_t], value_start),
        len(value),
    )
    return bytes(room)


# ---- records ----


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _padded(n: uint64_t) -> uint64_t:
    return (n + 7) & ~cython.cast(uint64_t, 7)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_fits(j: cython.pointer[cython.const[Journal]], bytes: cython.size_t) -> cython.bint:
    if j.sealed or bytes > _RECORD_BYTES_MAX:
        return False
    return j.position + _padded(bytes) + RECORD_HEADER_BYTES <= j.capacity_bytes


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _is_written(j: cython.pointer[Journal], bytes: cython.size_t) -> cython.bint:
    return bytes >= LARGE_BYTES or j.map == cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_put(
    j: cython.pointer[Journal],
    kind: cython.int,
    partition: uint32_t,
    key: cbytes,
    key_bytes: cython.size_t,
    value: cbytes,
    value_bytes: cython.size_t,
    stamp: cython.pointer[cython.const[Stamp]],
) -> cython.int:
    size: cython.size_t = RECORD_HEADER_BYTES + entry_bytes(partition, key_bytes, value_bytes)
    status: cython.int
    if _is_written(j, size):
        # All but the value is put together; it is what comes last.
        if not reserve(cython.address(j.buffer), cython.address(j.buffer_bytes), size - value_bytes):
            return -e.ENOMEM
        _entry_head(j.buffer + RECORD_HEADER_BYTES, kind, partition, key, key_bytes, value_bytes)
        return _write(j, size - value_bytes, value, value_bytes, 1, stamp)
    status = _reach(j, size)
    if status < 0:
        return status
    entry_put(j.map + j.position + RECORD_HEADER_BYTES, kind, partition, key, key_bytes, value, value_bytes)
    _store(j, size, 1, stamp)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_put_entries(
    j: cython.pointer[Journal],
    data: cbytes,
    data_bytes: cython.size_t,
    entries: uint32_t,
    stamp: cython.pointer[cython.const[Stamp]],
) -> cython.int:
    size: cython.size_t = RECORD_HEADER_BYTES + data_bytes
    status: cython.int
    if _is_written(j, size):
        if not reserve(cython.address(j.buffer), cython.address(j.buffer_bytes), RECORD_HEADER_BYTES):
            return -e.ENOMEM
        return _write(j, RECORD_HEADER_BYTES, data, data_bytes, entries, stamp)
    status = _reach(j, size)
    if status < 0:
        return status
    if data_bytes > 0:
        memcpy(j.map + j.position + RECORD_HEADER_BYTES, data, data_bytes)
    _store(j, size, entries, stamp)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_put_seal(j: cython.pointer[Journal]) -> cython.int:
    """Room and space for it were always left."""
    stamp: Stamp
    stamp.seqno = j.last_seqno
    stamp.time_ns = j.last_time_ns
    stamp.persisted = j.last_persisted
    status: cython.int = 0
    if j.map != cython.NULL and not j.wholesale:
        _store(j, RECORD_HEADER_BYTES, SEAL_ENTRIES, cython.address(stamp))
    elif reserve(cython.address(j.buffer), cython.address(j.buffer_bytes), RECORD_HEADER_BYTES):
        status = _write(j, RECORD_HEADER_BYTES, cython.NULL, 0, SEAL_ENTRIES, cython.address(stamp))
    else:
        status = -e.ENOMEM
    if status >= 0:
        j.sealed = True
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def journal_entries(j: cython.pointer[cython.const[Journal]]) -> cbytes:
    return j.map + j.placed + RECORD_HEADER_BYTES


# ---- the two ways ----


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _reach(j: cython.pointer[Journal], size: cython.size_t) -> cython.int:
    """The pages of the next record, and of a seal behind it, can be stored to."""
    end: uint64_t = j.position + _padded(size) + RECORD_HEADER_BYTES
    if end > fj_atomic_load64(cython.address(j.alarm)):
        return pages_reach(j, end)
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_header(
    at: cython.pointer[uint8_t],
    size: cython.size_t,
    entries: uint32_t,
    stamp: cython.pointer[cython.const[Stamp]],
) -> cython.void:
    """All but the checksum."""
    fj_store32(at + 8, size)
    fj_store32(at + 12, entries)
    fj_store64(at + 16, stamp.seqno)
    fj_store64(at + 24, stamp.time_ns)
    fj_store64(at + 32, stamp.persisted)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _seed(j: cython.pointer[Journal]) -> uint64_t:
    return (j.number << 32) ^ j.position


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _store(
    j: cython.pointer[Journal],
    size: cython.size_t,
    entries: uint32_t,
    stamp: cython.pointer[cython.const[Stamp]],
) -> cython.void:
    """Complete the record whose entries are in the mapping, and advance over it."""
    start: cython.pointer[uint8_t] = j.map + j.position
    padded: uint64_t = _padded(size)
    _put_header(start, size, entries, stamp)
    if padded > size:  # a write that failed may have left something there
        memset(start + size, 0, padded - size)
    checksum: uint64_t = XXH3_64bits_withSeed(start + 8, size - 8, _seed(j))
    # After everything else, also for the compiler; aligned, because records are.
    fj_atomic_store64(cython.cast(cython.pointer[uint64_t], start), checksum)
    if probe.probe_on:  # the trace of a crash test has to know of what no system call writes
        probe.probe_note_fd(probe.OP_WRITE, j.fd, j.position, start, padded)
    _advance(j, padded, entries, stamp)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _write(
    j: cython.pointer[Journal],
    head_bytes: cython.size_t,
    body: cbytes,
    body_bytes: cython.size_t,
    entries: uint32_t,
    stamp: cython.pointer[cython.const[Stamp]],
) -> cython.int:
    """Append a record whose first part, with room for its header, is in `buffer`, and whose rest is `body`."""
    size: cython.size_t = head_bytes + body_bytes
    padded: uint64_t = _padded(size)
    fill: cython.bint = size >= LARGE_BYTES and stamp.seqno > stamp.persisted + SYNCED_SEQNOS
    status: cython.int = 0
    if entries != SEAL_ENTRIES:
        status = pages_expect(j, j.position + padded + RECORD_HEADER_BYTES, fill)
    if status < 0:
        return status
    if j.hash == cython.NULL:
        j.hash = XXH3_createState()
        if j.hash == cython.NULL:
            return -e.ENOMEM
    _put_header(j.buffer, size, entries, stamp)
    XXH3_64bits_reset_withSeed(j.hash, _seed(j))
    XXH3_64bits_update(j.hash, j.buffer + 8, head_bytes - 8)
    if body_bytes > 0:
        XXH3_64bits_update(j.hash, body, body_bytes)
    fj_store64(j.buffer, XXH3_64bits_digest(j.hash))
    status = file_write_two(
        j.fd,
        cython.cast(cython.p_char, j.buffer),
        head_bytes,
        cython.cast(cython.pointer[cython.const[cython.char]], body),
        body_bytes,
        padded - size,
        j.position,
    )
    if status < 0:
        return status
    _advance(j, padded, entries, stamp)
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _advance(
    j: cython.pointer[Journal],
    padded: uint64_t,
    entries: uint32_t,
    stamp: cython.pointer[cython.const[Stamp]],
) -> cython.void:
    if entries != SEAL_ENTRIES:
        j.last_seqno = stamp.seqno + entries - 1
        j.last_time_ns = stamp.time_ns
        j.last_persisted = stamp.persisted
    j.placed = j.position
    fj_atomic_store64(cython.address(j.position), j.position + padded)
