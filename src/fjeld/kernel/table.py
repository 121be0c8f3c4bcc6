"""The reader of a table file: opening, finding the block of a key, reading blocks, point look-ups.

    file    = data block* filter block index block properties block footer

(docs/FORMATS.md, *Table*.) A Table is constant after opening but for its slots, guarded by `slot_lock`, and
its descriptor, guarded by the pool's lock: any number of threads may read. Nothing on the path of a hit
allocates.
"""

import json
import os

import cython
from cython.cimports.fjeld.kernel.block import block_cook, block_entry, block_release, block_seek
from cython.cimports.fjeld.kernel.cache import (
    cache_count_hit,
    cache_count_miss,
    cache_forget,
    cache_insert,
    cache_lookup,
)
from cython.cimports.fjeld.kernel.checksum import fj_xxh64
from cython.cimports.fjeld.kernel.coding import (
    MAX_KEY_BYTES,
    cbytes,
    fj_atomic_load,
    fj_atomic_store,
    fj_compare,
    fj_head64,
)
from cython.cimports.fjeld.kernel.descriptors import descriptor_acquire, descriptor_forget
from cython.cimports.fjeld.kernel.failure import (
    ST_COLD,
    ST_END,
    ST_OK,
    fail_corrupt,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.filter import filter_may_contain
from cython.cimports.fjeld.kernel.mutex import pthread_mutex_destroy, pthread_mutex_init
from cython.cimports.fjeld.kernel.table_file import (
    ST_NEWER,
    table_close,
    table_ensure,
    table_open,
    table_read,
    table_read_now,
    table_set_edges,
    table_set_heads,
)
from cython.cimports.fjeld.kernel.trailer import BLOCK_DATA, trailer_open
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memcmp, strdup

from fjeld.errors import CorruptionError, UnsupportedFormatError

NEWEST = cython.declare(uint64_t, 0xFFFFFFFFFFFFFFFF)

# To let go of the GIL and get it back costs a look-up nothing while no other thread wants it, and a turn of every
# other thread where they do: four readers of five million records were slower than one. A block in the page cache
# is read, checked and decompressed in two to four microseconds, less than one such turn, so that LOOK_NOW is tried
# before LOOK_WAIT. Larger blocks take long enough to decompress that others should have their turn.
MOST_BYTES_NOW = cython.declare(cython.size_t, 16 << 10)

# ---- finding ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_may_contain(t: cython.pointer[cython.const[Table]], key_hash: uint64_t) -> cython.bint:
    if not fj_atomic_load(cython.address(t.opened)):
        return True
    return t.filter_lines == 0 or filter_may_contain(t.filter, t.filter_lines, t.filter_probes, key_hash)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_covers(
    t: cython.pointer[cython.const[Table]], key: cbytes, key_bytes: cython.size_t
) -> cython.bint:
    return (
        fj_compare(t.smallest, t.smallest_bytes, key, key_bytes) <= 0
        and fj_compare(key, key_bytes, t.largest, t.largest_bytes) <= 0
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_find_block(
    t: cython.pointer[cython.const[Table]], key: cbytes, key_bytes: cython.size_t
) -> uint32_t:
    """Search the heads without branches, then compare in full among blocks of the same head: mostly one."""
    prefix_bytes: cython.size_t = t.prefix_bytes
    order: cython.int
    if prefix_bytes > 0:
        order = memcmp(key, t.largest, key_bytes if key_bytes < prefix_bytes else prefix_bytes)
        if order != 0:
            return 0 if order < 0 else t.blocks
        if key_bytes < prefix_bytes:
            return 0
    head: uint64_t = fj_head64(key + prefix_bytes, key_bytes - prefix_bytes)
    low: uint32_t = first_head_from(t.heads, t.blocks, head)
    if low == t.blocks or t.heads[low] != head:
        return low
    high: uint32_t = low + 1
    if high < t.blocks and t.heads[high] == head:
        high = t.blocks
        if head < NEWEST:
            high = first_head_from(t.heads, t.blocks, head + 1)
    middle: uint32_t
    start: uint32_t
    while low < high:  # last keys before low are smaller, those from high on are not
        middle = low + (high - low) // 2
        start = t.key_offsets[middle]
        if fj_compare(t.keys + start, t.key_offsets[middle + 1] - start, key, key_bytes) < 0:
            low = middle + 1
        else:
            high = middle
    return low


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def first_head_from(
    heads: cython.pointer[cython.const[uint64_t]], count: uint32_t, head: uint64_t
) -> uint32_t:
    """The index of the first head that is not less; count > 0. No branches but the loop's."""
    base: cython.pointer[cython.const[uint64_t]] = heads
    n: uint32_t = count
    half: uint32_t
    while n > 1:
        half = n >> 1
        base += half & (0 - cython.cast(uint32_t, base[half - 1] < head))
        n -= half
    return cython.cast(uint32_t, base - heads) + cython.cast(uint32_t, base[0] < head)


# ---- reading blocks ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_cook(
    t: cython.pointer[cython.const[Table]],
    raw: cbytes,
    n: cython.size_t,
    offset: uint64_t,
    f: cython.pointer[Failure],
) -> cython.pointer[Block]:
    payload: cython.pointer[uint8_t] = cython.NULL
    payload_bytes: uint32_t = 0
    why: cython.p_const_char = cython.NULL
    b: cython.pointer[Block] = cython.NULL
    status: cython.int = trailer_open(
        raw,
        n,
        BLOCK_DATA,
        offset,
        cython.address(payload),
        cython.address(payload_bytes),
        cython.address(why),
    )
    if status == ST_OK:
        b = block_cook(payload, payload_bytes, cython.address(why))
    if b != cython.NULL:
        b.seqno_tag = t.seqno_tag
    elif why != cython.NULL:
        fail_corrupt(f, t.path, offset, why)
    else:
        fail_nomem(f)
    return b


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_cached_block(t: cython.pointer[Table], i: uint32_t) -> cython.pointer[Block]:
    b: cython.pointer[Block] = cache_lookup(t.slots + i, cython.address(t.slot_lock))
    if b != cython.NULL:
        cache_count_hit(t.cache)
    return b


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_load_block(
    t: cython.pointer[Table], i: uint32_t, how: cython.int, f: cython.pointer[Failure]
) -> cython.pointer[Block]:
    offset: uint64_t = t.block_offsets[i]
    n: cython.size_t = t.block_offsets[i + 1] - offset
    b: cython.pointer[Block] = cython.NULL
    there: cython.bint
    if how == LOOK_NOW and n > MOST_BYTES_NOW:
        return cython.NULL
    raw: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], malloc(n))
    if raw == cython.NULL:
        fail_nomem(f)
        return cython.NULL
    if how == LOOK_NOW:
        there = table_read_now(t, raw, n, offset)
    else:
        there = table_read(t, raw, n, offset, f) == ST_OK
    if there:
        b = table_keep_block(t, i, raw, f)
    free(raw)
    return b


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_keep_block(
    t: cython.pointer[Table], i: uint32_t, raw: cbytes, f: cython.pointer[Failure]
) -> cython.pointer[Block]:
    offset: uint64_t = t.block_offsets[i]
    b: cython.pointer[Block] = table_cook(t, raw, t.block_offsets[i + 1] - offset, offset, f)
    if b == cython.NULL:
        return cython.NULL
    cache_count_miss(t.cache)
    return cache_insert(t.cache, b, t.slots + i, cython.address(t.slot_lock))


# ---- point look-ups ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def table_get(
    t: cython.pointer[Table],
    key: cbytes,
    key_bytes: cython.size_t,
    max_tag: uint64_t,
    out: cython.pointer[Entry],
    block: cython.pointer[cython.pointer[Block]],
    how: cython.int,
    f: cython.pointer[Failure],
) -> cython.int:
    i: uint32_t
    b: cython.pointer[Block]
    status: cython.int
    if not fj_atomic_load(cython.address(t.opened)):
        if how != LOOK_WAIT:
            return ST_COLD
        status = table_ensure(t, f)
        if status != ST_OK:
            return status
    i = table_find_block(t, key, key_bytes)
    while i < t.blocks:
        b = table_cached_block(t, i)
        if b == cython.NULL and how != LOOK_CACHED:
            b = table_load_block(t, i, how, f)
        if b == cython.NULL:
            return f.status if how == LOOK_WAIT else ST_COLD
        status = find_in_block(b, key, key_bytes, max_tag, out)
        if status == FOUND:
            block[0] = b
            return ST_OK
        block_release(b)
        if status == ABSENT:
            return ST_END
        i += 1  # the versions of the key go on in the next block
    return ST_END


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_in_block(
    b: cython.pointer[Block],
    key: cbytes,
    key_bytes: cython.size_t,
    max_tag: uint64_t,
    e: cython.pointer[Entry],
) -> cython.int:
    """A Finding; *e is the entry where it is FOUND."""
    i: uint32_t = block_seek(b, key, key_bytes, max_tag)
    if i == b.count:
        return FURTHER
    block_entry(b, i, e)
    if (
        b.prefix_bytes + e.suffix_bytes == key_bytes
        and memcmp(e.suffix, key + b.prefix_bytes, e.suffix_bytes) == 0
        and memcmp(b.prefix, key, b.prefix_bytes) == 0
    ):
        return FOUND
    return ABSENT


# ---- the Python face ----


@cython.no_gc_clear
@cython.cclass
class TableReader:
    """Owns a Table, and keeps the cache and the pool alive that it uses. Any thread may read.

    Opening reads and checks footer, filter, index and properties; it leaves the file open in the pool.
    `expected_bytes`: the size that the manifest names. `smallest` and `largest`: the keys that it names;
    with them nothing is read before the table is first used. `seqno`: the one of all its entries, which then need
    not say it (those of an ingested table do not); 0: they have their own.
    """

    def __cinit__(
        self,
        path: object,
        cache: BlockCache,
        descriptors: DescriptorPool,
        *,
        expected_bytes: object = None,
        smallest: object = None,
        largest: object = None,
        seqno: uint64_t = 0,
        max_seqno: uint64_t = NEWEST,
        **rest: object,
    ):
        t: cython.pointer[Table]
        name: bytes = os.fsencode(path)
        self.path = os.fspath(path)
        self.cache = cache
        self.descriptors = descriptors
        self.table = t = cython.cast(cython.pointer[Table], calloc(1, cython.sizeof(Table)))
        if t == cython.NULL:
            raise MemoryError()
        pthread_mutex_init(cython.address(t.opening), cython.NULL)
        t.cache = cache.cache
        t.descriptors = descriptors.pool
        t.descriptor.fd = -1
        t.expected_bytes = 0 if expected_bytes is None else expected_bytes
        t.seqno_tag = seqno << 8
        t.max_seqno = max_seqno
        t.path = strdup(name)
        if t.path == cython.NULL:
            raise MemoryError()
        t.descriptor.path = t.path
        if smallest is None or largest is None:
            self.open_file()
        else:
            self.take_edges(smallest, largest)

    @cython.cfunc
    def take_edges(self, smallest: bytes, largest: bytes) -> object:
        if table_set_edges(self.table, smallest, len(smallest), largest, len(largest)) != ST_OK:
            raise MemoryError()

    @cython.cfunc
    def open_file(self) -> object:
        t: cython.pointer[Table] = self.table
        f: Failure
        status: cython.int
        properties: cython.pointer[uint8_t] = cython.NULL
        properties_bytes: uint32_t = 0
        failure_clear(cython.address(f))
        with cython.nogil:
            status = table_open(
                t, cython.address(properties), cython.address(properties_bytes), cython.address(f)
            )
        try:
            if status == ST_NEWER:
                raise UnsupportedFormatError(
                    f"{self.path}: tables of format {t.footer.format} are read by a newer Fjeld only"
                )
            if status != ST_OK:
                raise_failure(cython.address(f))
            self.take_properties(cython.cast(cython.p_char, properties)[:properties_bytes])
        finally:
            free(properties)

    @cython.cfunc
    def take_properties(self, text: bytes) -> object:
        """Decode and check what the file says about itself; the smallest key comes from there."""
        t: cython.pointer[Table] = self.table
        smallest: bytes = b""
        sound: cython.bint = False
        try:
            properties: dict = json.loads(text)
            smallest = bytes.fromhex(properties["smallest"])
            sound = (
                isinstance(properties["entries"], int)
                and properties["entries"] >= t.blocks
                and len(smallest) <= MAX_KEY_BYTES
                and bytes.fromhex(properties["largest"])
                == cython.cast(cython.p_char, t.largest)[: t.largest_bytes]
                and fj_compare(smallest, len(smallest), t.largest, t.largest_bytes) <= 0
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            sound = False
        if not sound:
            raise CorruptionError(
                "the properties of the table make no sense",
                path=self.path,
                offset=t.footer.properties_offset,
            )
        self.properties = properties
        t.entries = properties["entries"]
        if table_set_edges(t, smallest, len(smallest), cython.NULL, 0) != ST_OK:
            raise MemoryError()
        f: Failure
        failure_clear(cython.address(f))
        if table_set_heads(t, cython.address(f)) != ST_OK:
            raise_failure(cython.address(f))
        fj_atomic_store(cython.address(t.opened), 1)

    def __dealloc__(self):
        t: cython.pointer[Table] = self.table
        if t == cython.NULL:
            return
        if t.slots != cython.NULL:
            cache_forget(t.cache, t.slots, t.blocks, cython.address(t.slot_lock))
        if t.descriptors != cython.NULL:
            descriptor_forget(t.descriptors, cython.address(t.descriptor))
        table_close(t)
        pthread_mutex_destroy(cython.address(t.opening))
        free(t)

    def hold(self) -> None:
        """Open the file now and keep it open, whatever becomes of its name. OSError. Requires: called once."""
        fd: cython.int
        with cython.nogil:
            fd = descriptor_acquire(self.table.descriptors, cython.address(self.table.descriptor))
        self.held = fd >= 0
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd), self.path)

    @property
    def entries(self) -> int:
        return self.table.entries

    @property
    def blocks(self) -> int:
        return self.table.blocks

    @property
    def file_bytes(self) -> int:
        return self.table.file_bytes

    @property
    def memory_bytes(self) -> int:
        return self.table.memory_bytes

    def may_contain(self, key: bytes) -> bool:
        """What range and filter say; False is certain."""
        t: cython.pointer[Table] = self.table
        return table_covers(t, key, len(key)) and table_may_contain(t, fj_xxh64(key, len(key)))

    def get(self, key: bytes, max_seqno: object = None) -> object:
        """The (seqno, kind, value) of the newest version up to max_seqno, tombstones included; or None."""
        t: cython.pointer[Table] = self.table
        max_tag: uint64_t = NEWEST
        e: Entry
        b: cython.pointer[Block] = cython.NULL
        f: Failure
        data: cbytes = key
        n: cython.size_t = len(key)
        status: cython.int
        if max_seqno is not None:
            max_tag = cython.cast(uint64_t, max_seqno) << 8 | 0xFF
        if not self.may_contain(key):
            return None
        failure_clear(cython.address(f))
        with cython.nogil:
            status = table_get(
                t, data, n, max_tag, cython.address(e), cython.address(b), LOOK_WAIT, cython.address(f)
            )
        if status == ST_END:
            return None
        if status != ST_OK:
            raise_failure(cython.address(f))
        try:
            return e.tag >> 8, e.tag & 0xFF, cython.cast(cython.p_char, e.value)[: e.value_bytes]
        finally:
            block_release(b)

    def scan(self, stream: bool = True, reverse: bool = False) -> object:
        """Iterate over all (key, seqno, kind, value); stream: past the cache, with read-ahead."""
        from fjeld.kernel.run_scan import RunScan  # it is built on this module

        return RunScan([self], stream=stream, reverse=reverse)

    def check(self) -> None:
        """Read everything and assert every invariant. CorruptionError."""
        from fjeld.kernel.table_check import check_table  # it is built on this module

        check_table(self)
