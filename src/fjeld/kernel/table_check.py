"""Reads a whole table once, without the GIL, hashes it, and finds whatever a reader could not rely on:

1. every checksum matches and every length is sound;
2. keys ascend, and the versions of a key descend;
3. the index names the last key of every block (with 2 it leads to every key), the first key is the smallest;
4. the filter lets every key through;
5. a table of one seqno says no other.

A damaged block does not end the survey: it is found, and the next one is looked at. What was counted, and the
properties, are the caller's to compare. What is checked in a block is in `block_check`.

The file is read in chunks of whole blocks, each hashed and then parsed while it is in the processor's cache. Only the
footer and what lies before it are read twice: the data cannot be understood without them.
"""

import json

import cython
from cython.cimports.fjeld.kernel.blob_refs import refs_free, refs_tuple
from cython.cimports.fjeld.kernel.block_check import note, survey_block
from cython.cimports.fjeld.kernel.checksum import (
    XXH3_128bits_digest,
    XXH3_128bits_reset,
    XXH3_128bits_update,
    XXH3_createState,
    XXH3_freeState,
    hash_hex,
)
from cython.cimports.fjeld.kernel.coding import fj_atomic_load
from cython.cimports.fjeld.kernel.descriptors import descriptor_acquire, descriptor_release
from cython.cimports.fjeld.kernel.failure import (
    ST_CORRUPT,
    ST_END,
    ST_NOMEM,
    ST_OK,
    Failure,
    fail_io,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.files import CancelFlag, file_pread, file_size, file_will_read
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.table import Table, TableReader
from cython.cimports.fjeld.kernel.table_file import table_ensure
from cython.cimports.fjeld.kernel.trailer import BLOCK_PROPERTIES, trailer_open
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memset

from fjeld.errors import CorruptionError


def survey_table(
    reader: TableReader, cancel: CancelFlag | None = None, ahead_bytes: uint64_t = 0
) -> dict | None:
    """What is in the table, and what is wrong with it; None where it was cancelled. OSError where it cannot be
    read.

    ahead_bytes: how much the disk is asked for at once, ahead of what is parsed; 0: that is left to the system.
    """
    f: Failure
    s: Survey
    status: cython.int
    t: cython.pointer[Table] = reader.table
    failure_clear(cython.address(f))
    memset(cython.address(s), 0, cython.sizeof(Survey))
    s.ahead_bytes = ahead_bytes
    if cancel is not None:
        s.cancelled = cython.address(cancel.raised)
    try:
        with cython.nogil:
            status = survey(t, cython.address(s), cython.address(f))
        if status == ST_END:
            return None
        if status != ST_OK:
            raise_failure(cython.address(f))
        problems: list = []
        i: cython.size_t
        for i in range(s.finding_count):
            problems.append((s.findings[i].offset, cython.cast(bytes, s.findings[i].what).decode()))
        properties: object = None
        if s.properties != cython.NULL:
            properties = cython.cast(cython.p_char, s.properties)[: s.properties_bytes]
        return {
            "size_bytes": s.size_bytes,
            "xxh128": hash_hex(s.xxh128),
            "problems": problems,
            "whole": bool(s.whole),
            "properties": properties,
            "properties_offset": t.footer.properties_offset,
            "entries": s.entries,
            "keys": s.keys,
            "tombstones": s.tombstones,
            "weak_tombstones": s.weak_tombstones,
            "min_seqno": s.min_seqno,
            "max_seqno": s.max_seqno,
            "raw_bytes": s.raw_bytes,
            "blocks": t.blocks,
            "blobs": refs_tuple(cython.address(s.blobs)),
        }
    finally:
        release(cython.address(s))


def check_table(reader: TableReader) -> dict:
    """CorruptionError for the first thing that is wrong, or what was counted: it is what the properties say."""
    found: dict = survey_table(reader)
    for offset, what in found["problems"]:
        raise CorruptionError(what, path=reader.path, offset=offset)
    properties: dict = reader.properties or json.loads(found["properties"])
    names: tuple = (
        "entries",
        "keys",
        "tombstones",
        "weak_tombstones",
        "min_seqno",
        "max_seqno",
        "raw_bytes",
    )
    counted: dict = {name: found[name] for name in names}
    if reader.table.seqno_tag and properties.get("max_seqno") == 0:
        counted["min_seqno"] = counted["max_seqno"] = (
            0  # ingested: what was counted is what the manifest says
        )
    for name, count in counted.items():
        if properties.get(name) != count:
            raise CorruptionError(
                f"the properties say {properties.get(name)} {name}, there are {count}",
                path=reader.path,
                offset=reader.table.footer.properties_offset,
            )
    return counted


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def release(s: cython.pointer[Survey]) -> cython.void:
    XXH3_freeState(s.state)
    free(s.previous)
    free(s.chunk)
    free(s.plain)
    free(s.together)
    free(s.findings)
    free(s.properties)
    refs_free(cython.address(s.blobs))


# ---- the file ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def survey(t: cython.pointer[Table], s: cython.pointer[Survey], f: cython.pointer[Failure]) -> cython.int:
    """ST_OK, ST_END where it was cancelled, or a failure in f: what is damaged is a finding, not a failure."""
    fd: cython.int
    size: int64_t
    status: cython.int = table_ensure(t, f)
    sound: cython.bint = status == ST_OK
    if status == ST_CORRUPT:
        if note(s, f.offset, f.what) != ST_OK:
            return fail_nomem(f)
    elif status != ST_OK:
        return status
    s.state = XXH3_createState()
    if s.state == cython.NULL:
        return fail_nomem(f)
    XXH3_128bits_reset(s.state)
    fd = descriptor_acquire(t.descriptors, cython.address(t.descriptor))
    if fd < 0:
        return fail_io(f, t.path, -fd)
    size = file_size(fd)
    if size < 0:
        status = fail_io(f, t.path, cython.cast(cython.int, -size))
    else:
        s.size_bytes = size
        s.whole = sound
        status = survey_data(t, s, fd, f) if sound else ST_OK
        if status == ST_OK and s.whole:
            status = survey_tail(t, s, fd, f)
        elif status == ST_OK and not sound:
            status = hash_rest(t, s, fd, 0, f)
        elif status == ST_OK:
            status = hash_rest(t, s, fd, t.footer.filter_offset, f)
    descriptor_release(t.descriptors, cython.address(t.descriptor))
    s.xxh128 = XXH3_128bits_digest(s.state)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_chunk(
    t: cython.pointer[Table],
    s: cython.pointer[Survey],
    fd: cython.int,
    offset: uint64_t,
    n: cython.size_t,
    f: cython.pointer[Failure],
) -> cython.int:
    """n bytes into the chunk, and into the hash."""
    got: int64_t
    if s.cancelled != cython.NULL and fj_atomic_load(s.cancelled) != 0:
        return ST_END
    if not reserve(cython.address(s.chunk), cython.address(s.chunk_capacity_bytes), n):
        return fail_nomem(f)
    if s.ahead_bytes != 0 and (offset % s.ahead_bytes < n or offset % s.ahead_bytes + n > s.ahead_bytes):
        file_will_read(fd, offset + n, 2 * s.ahead_bytes)  # the first chunk, or one across a border
    got = file_pread(fd, s.chunk, n, offset)
    if got < 0:
        return fail_io(f, t.path, cython.cast(cython.int, -got))
    if cython.cast(cython.size_t, got) < n:
        s.whole = False
        memset(s.chunk + got, 0, n - got)  # what is not there matches no checksum
        if note(s, offset + got, "the file is shorter than it was") != ST_OK:
            return fail_nomem(f)
    XXH3_128bits_update(s.state, s.chunk, got)
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def hash_rest(
    t: cython.pointer[Table],
    s: cython.pointer[Survey],
    fd: cython.int,
    offset: uint64_t,
    f: cython.pointer[Failure],
) -> cython.int:
    n: uint64_t
    status: cython.int = ST_OK
    while offset < s.size_bytes and status == ST_OK:
        n = s.size_bytes - offset
        if n > CHUNK_BYTES:
            n = CHUNK_BYTES
        status = read_chunk(t, s, fd, offset, n, f)
        offset += n
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def survey_data(
    t: cython.pointer[Table], s: cython.pointer[Survey], fd: cython.int, f: cython.pointer[Failure]
) -> cython.int:
    i: uint32_t = 0
    end: uint32_t
    start: uint64_t
    status: cython.int = ST_OK
    while i < t.blocks:
        start = t.block_offsets[i]
        end = i + 1
        while end < t.blocks and t.block_offsets[end + 1] - start <= CHUNK_BYTES:
            end += 1
        status = read_chunk(t, s, fd, start, t.block_offsets[end] - start, f)
        if status != ST_OK:
            return status
        while i < end:
            status = survey_block(
                t,
                s,
                i,
                s.chunk + (t.block_offsets[i] - start),
                t.block_offsets[i + 1] - t.block_offsets[i],
            )
            if status == ST_NOMEM:
                return fail_nomem(f)
            i += 1
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def survey_tail(
    t: cython.pointer[Table], s: cython.pointer[Survey], fd: cython.int, f: cython.pointer[Failure]
) -> cython.int:
    """Hash filter, index, properties and footer, which opening has checked; keep the properties."""
    start: uint64_t = t.footer.filter_offset
    why: cython.p_const_char = cython.NULL
    status: cython.int = read_chunk(t, s, fd, start, s.size_bytes - start, f)
    if status != ST_OK:
        return status
    status = trailer_open(
        s.chunk + (t.footer.properties_offset - start),
        t.footer.properties_bytes,
        BLOCK_PROPERTIES,
        t.footer.properties_offset,
        cython.address(s.properties),
        cython.address(s.properties_bytes),
        cython.address(why),
    )
    if status == ST_CORRUPT:
        status = note(s, t.footer.properties_offset, why)
    return fail_nomem(f) if status != ST_OK else ST_OK
