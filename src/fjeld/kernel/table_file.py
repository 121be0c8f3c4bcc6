"""The file behind a Table: opening, reading, closing.

Opening takes two reads: the footer and all that lies between the data blocks and it.

Every part is checked before the next is believed: the footer's checksum (which knows the size of the file),
then the trailers of filter, index and properties, then every length in them.
"""

import cython
from cython.cimports.fjeld.kernel.block import Block
from cython.cimports.fjeld.kernel.coding import (
    cbytes,
    fj_atomic_load,
    fj_atomic_store,
    fj_common_prefix,
    fj_compare,
    fj_load32,
)
from cython.cimports.fjeld.kernel.descriptors import (
    descriptor_acquire,
    descriptor_acquire_open,
    descriptor_release,
)
from cython.cimports.fjeld.kernel.failure import ST_NOMEM, ST_OK, fail_corrupt, fail_io, fail_nomem
from cython.cimports.fjeld.kernel.files import file_pread, file_pread_now, file_size
from cython.cimports.fjeld.kernel.filter import FILTER_HEADER_BYTES, LINE_BYTES, MAX_PROBES
from cython.cimports.fjeld.kernel.footer import FOOTER_BYTES, FOOTER_NEWER, FOOTER_SOUND, footer_decode
from cython.cimports.fjeld.kernel.mutex import pthread_mutex_lock, pthread_mutex_unlock
from cython.cimports.fjeld.kernel.sparse_index import SparseIndex, index_decode, index_heads
from cython.cimports.fjeld.kernel.trailer import (
    BLOCK_FILTER,
    BLOCK_INDEX,
    BLOCK_PROPERTIES,
    trailer_open,
)
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memcpy
from cython.cimports.posix.stdlib import posix_memalign


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_open(
    t: cython.pointer[Table],
    properties: cython.pointer[cython.pointer[uint8_t]],
    properties_bytes: cython.pointer[uint32_t],
    f: cython.pointer[Failure],
) -> cython.int:
    unwanted: cython.pointer[uint8_t] = cython.NULL
    unwanted_bytes: uint32_t = 0
    status: cython.int
    if properties == cython.NULL:
        properties = cython.address(unwanted)
        properties_bytes = cython.address(unwanted_bytes)
    status = read_footer(t, f)
    if status != ST_OK:
        return status
    t.blocks = t.footer.blocks
    # Filter, index and properties lie together: one read.
    start: uint64_t = t.footer.filter_offset
    n: cython.size_t = t.file_bytes - FOOTER_BYTES - start
    tail: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], malloc(n))
    if tail == cython.NULL:
        return fail_nomem(f)
    status = table_read(t, tail, n, start, f)
    if status == ST_OK:
        status = take_filter(t, tail, f)
    if status == ST_OK:
        status = take_index(t, tail + (t.footer.index_offset - start), f)
    if status == ST_OK:
        status = open_part(
            t,
            tail + (t.footer.properties_offset - start),
            t.footer.properties_bytes,
            BLOCK_PROPERTIES,
            t.footer.properties_offset,
            properties,
            properties_bytes,
            f,
        )
    free(tail)
    free(unwanted)
    if status != ST_OK:
        return status
    t.slots = cython.cast(
        cython.pointer[cython.pointer[Block]], calloc(t.blocks, cython.sizeof(cython.pointer[Block]))
    )
    if t.slots == cython.NULL:
        return fail_nomem(f)
    t.memory_bytes += cython.sizeof(Table) + t.blocks * cython.sizeof(cython.pointer[Block])
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_ensure(t: cython.pointer[Table], f: cython.pointer[Failure]) -> cython.int:
    status: cython.int = ST_OK
    if fj_atomic_load(cython.address(t.opened)):
        return ST_OK
    pthread_mutex_lock(cython.address(t.opening))
    if not fj_atomic_load(cython.address(t.opened)):
        status = table_open(t, cython.NULL, cython.NULL, f)
        if status == ST_OK:
            status = table_set_heads(t, f)
        if status == ST_OK:
            fj_atomic_store(cython.address(t.opened), 1)
        else:
            table_unopen(t)
        if status == ST_NEWER:
            status = fail_corrupt(
                f, t.path, t.file_bytes, "the table is of a newer format: upgrade to read it"
            )
    pthread_mutex_unlock(cython.address(t.opening))
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_footer(t: cython.pointer[Table], f: cython.pointer[Failure]) -> cython.int:
    data: uint8_t[FOOTER_BYTES]
    why: cython.p_const_char = cython.NULL
    size: int64_t
    status: cython.int
    fd: cython.int = descriptor_acquire(t.descriptors, cython.address(t.descriptor))
    if fd < 0:
        return fail_io(f, t.path, -fd)
    size = file_size(fd)
    descriptor_release(t.descriptors, cython.address(t.descriptor))
    if size < 0:
        return fail_io(f, t.path, cython.cast(cython.int, -size))
    t.file_bytes = size
    if t.expected_bytes != 0 and t.file_bytes != t.expected_bytes:
        return fail_corrupt(
            f, t.path, min(t.file_bytes, t.expected_bytes), "the table's size is not that which was written"
        )
    if size < FOOTER_BYTES:
        return fail_corrupt(f, t.path, size, "the file is too short to be a table")
    status = table_read(t, data, FOOTER_BYTES, t.file_bytes - FOOTER_BYTES, f)
    if status != ST_OK:
        return status
    status = footer_decode(data, t.file_bytes, cython.address(t.footer), cython.address(why))
    if status == FOOTER_NEWER:
        return ST_NEWER
    if status != FOOTER_SOUND:
        return fail_corrupt(f, t.path, t.file_bytes - FOOTER_BYTES, why)
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_part(
    t: cython.pointer[Table],
    block: cbytes,
    n: cython.size_t,
    kind: cython.int,
    offset: uint64_t,
    payload: cython.pointer[cython.pointer[uint8_t]],
    payload_bytes: cython.pointer[uint32_t],
    f: cython.pointer[Failure],
) -> cython.int:
    why: cython.p_const_char = cython.NULL
    status: cython.int = trailer_open(block, n, kind, offset, payload, payload_bytes, cython.address(why))
    if status == ST_NOMEM:
        return fail_nomem(f)
    if status != ST_OK:
        return fail_corrupt(f, t.path, offset, why)
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_filter(t: cython.pointer[Table], block: cbytes, f: cython.pointer[Failure]) -> cython.int:
    offset: uint64_t = t.footer.filter_offset
    payload: cython.pointer[uint8_t] = cython.NULL
    n: uint32_t = 0
    aligned: cython.p_void = cython.NULL
    status: cython.int = open_part(
        t, block, t.footer.filter_bytes, BLOCK_FILTER, offset, cython.address(payload), cython.address(n), f
    )
    if status != ST_OK:
        return status
    if n < FILTER_HEADER_BYTES:
        status = fail_corrupt(f, t.path, offset, "a filter without its header")
    else:
        t.filter_lines = fj_load32(payload)
        t.filter_probes = fj_load32(payload + 4)
        if cython.cast(uint64_t, t.filter_lines) * LINE_BYTES != n - FILTER_HEADER_BYTES or (
            t.filter_lines > 0 and (t.filter_probes < 1 or t.filter_probes > MAX_PROBES)
        ):
            status = fail_corrupt(f, t.path, offset, "a filter of impossible measures")
        elif t.filter_lines > 0:
            n -= FILTER_HEADER_BYTES
            if posix_memalign(cython.address(aligned), LINE_BYTES, n) != 0:
                status = fail_nomem(f)
            else:
                t.filter = cython.cast(cython.pointer[uint8_t], aligned)
                memcpy(t.filter, payload + FILTER_HEADER_BYTES, n)
                t.memory_bytes += n
    free(payload)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_index(t: cython.pointer[Table], block: cbytes, f: cython.pointer[Failure]) -> cython.int:
    offset: uint64_t = t.footer.index_offset
    index: SparseIndex
    payload: cython.pointer[uint8_t] = cython.NULL
    n: uint32_t = 0
    why: cython.p_const_char = cython.NULL
    status: cython.int = open_part(
        t, block, t.footer.index_bytes, BLOCK_INDEX, offset, cython.address(payload), cython.address(n), f
    )
    if status != ST_OK:
        return status
    status = index_decode(
        payload, n, t.blocks, t.footer.filter_offset, cython.address(index), cython.address(why)
    )
    free(payload)
    if status == ST_NOMEM:
        return fail_nomem(f)
    if status != ST_OK:
        return fail_corrupt(f, t.path, offset, why)
    t.block_offsets = index.block_offsets
    t.heads = index.heads
    t.key_offsets = index.key_offsets
    t.keys = index.keys
    t.memory_bytes += index.memory_bytes
    last: cbytes = t.keys + t.key_offsets[t.blocks - 1]
    last_bytes: uint32_t = t.key_offsets[t.blocks] - t.key_offsets[t.blocks - 1]
    if t.edges == cython.NULL:
        t.largest = last
        t.largest_bytes = last_bytes
    elif fj_compare(last, last_bytes, t.largest, t.largest_bytes) != 0:
        return fail_corrupt(f, t.path, offset, "this is another table than the manifest names")
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_set_edges(
    t: cython.pointer[Table],
    smallest: cbytes,
    smallest_bytes: cython.size_t,
    largest: cbytes,
    largest_bytes: cython.size_t,
) -> cython.int:
    t.edges = cython.cast(cython.pointer[uint8_t], malloc(smallest_bytes + largest_bytes + 1))
    if t.edges == cython.NULL:
        return ST_NOMEM
    memcpy(t.edges, smallest, smallest_bytes)
    t.smallest = t.edges
    t.smallest_bytes = cython.cast(uint32_t, smallest_bytes)
    if largest != cython.NULL:
        memcpy(t.edges + smallest_bytes, largest, largest_bytes)
        t.largest = t.edges + smallest_bytes
        t.largest_bytes = cython.cast(uint32_t, largest_bytes)
    t.memory_bytes += smallest_bytes + largest_bytes + 1
    t.prefix_bytes = cython.cast(
        uint32_t, fj_common_prefix(t.smallest, t.smallest_bytes, t.largest, t.largest_bytes)
    )
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_set_heads(t: cython.pointer[Table], f: cython.pointer[Failure]) -> cython.int:
    """All last keys lie between the smallest and the largest key (checked here: they are in order), so they
    share what these two share.
    """
    index: SparseIndex
    if fj_compare(t.keys, t.key_offsets[1], t.smallest, t.smallest_bytes) < 0:
        return fail_corrupt(f, t.path, t.footer.index_offset, "the index begins before the smallest key")
    index.blocks = t.blocks
    index.heads = t.heads
    index.key_offsets = t.key_offsets
    index.keys = t.keys
    index_heads(cython.address(index), t.prefix_bytes)
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_read(
    t: cython.pointer[Table],
    buf: cython.p_void,
    n: cython.size_t,
    offset: uint64_t,
    f: cython.pointer[Failure],
) -> cython.int:
    fd: cython.int = descriptor_acquire(t.descriptors, cython.address(t.descriptor))
    if fd < 0:
        return fail_io(f, t.path, -fd)
    got: int64_t = file_pread(fd, buf, n, offset)
    descriptor_release(t.descriptors, cython.address(t.descriptor))
    if got < 0:
        return fail_io(f, t.path, cython.cast(cython.int, -got))
    if cython.cast(cython.size_t, got) < n:
        return fail_corrupt(f, t.path, offset + got, "the file is shorter than it was")
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_read_now(
    t: cython.pointer[Table], buf: cython.p_void, n: cython.size_t, offset: uint64_t
) -> cython.bint:
    fd: cython.int = descriptor_acquire_open(t.descriptors, cython.address(t.descriptor))
    if fd < 0:
        return False
    got: int64_t = file_pread_now(fd, buf, n, offset)
    descriptor_release(t.descriptors, cython.address(t.descriptor))
    return got == cython.cast(int64_t, n)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_unopen(t: cython.pointer[Table]) -> cython.void:
    free(t.block_offsets)  # the whole index
    free(t.filter)
    free(t.slots)
    t.block_offsets = cython.NULL
    t.heads = cython.NULL
    t.key_offsets = cython.NULL
    t.keys = cython.NULL
    t.filter = cython.NULL
    t.slots = cython.NULL
    t.filter_lines = 0
    t.blocks = 0
    t.memory_bytes = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_close(t: cython.pointer[Table]) -> cython.void:
    table_unopen(t)
    free(cython.cast(cython.p_void, t.path))
    free(t.edges)
