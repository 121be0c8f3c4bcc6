"""Chunks of an export, taken apart and put into tables (docs/FORMATS.md, *Export*).

    payload --load: decompress, prove, digest--> entries --write--> TableWriter

`load` looks at every length and at the order of the keys before anything is believed, so `write` follows the
lengths blindly. Entries get seqno 0, the oldest there is: nothing lies beneath those of an import. Both let go
of the GIL once a chunk.
"""

import cython
from cython.cimports.fjeld.kernel.blob_sink import FILE_DUE, BlobSink
from cython.cimports.fjeld.kernel.block_builder import MAX_BLOCK_BYTES
from cython.cimports.fjeld.kernel.checksum import XXH3_128bits_update, XXH3_state_t, Xxh128
from cython.cimports.fjeld.kernel.coding import (
    KIND_VALUE,
    MAX_KEY_BYTES,
    cbytes,
    fj_compare,
    fj_get_varint,
    fj_store32,
)
from cython.cimports.fjeld.kernel.compression import CODEC_NONE, CODEC_ZSTD, decompress
from cython.cimports.fjeld.kernel.failure import (
    ST_NOMEM,
    ST_OK,
    Failure,
    fail_corrupt,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.table_writer import TableWriter, writer_add, writer_file_bytes
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memcpy

from fjeld.errors import CorruptionError

# What a block holds beside the longest key, as in the table writer.
MAX_VALUE_BYTES = cython.declare(cython.size_t, MAX_BLOCK_BYTES - MAX_KEY_BYTES - 64)
# A chunk that is almost full, and then the largest entry.
MAX_CHUNK_BYTES = (1 << 32) + (64 << 20)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def entry_at(p: cbytes, end: cbytes, out: cython.pointer[ChunkEntry]) -> cbytes:
    """Where the entry at p ends, or NULL: it does not fit, or has lengths that no entry has."""
    key_bytes: uint64_t = 0
    value_bytes: uint64_t = 0
    p = fj_get_varint(p, end, cython.address(key_bytes))
    if p == cython.NULL:
        return p
    p = fj_get_varint(p, end, cython.address(value_bytes))
    if p == cython.NULL:
        return p
    if key_bytes > MAX_KEY_BYTES or value_bytes > MAX_VALUE_BYTES:
        return cython.NULL
    if key_bytes + value_bytes > cython.cast(uint64_t, end - p):
        return cython.NULL
    out.key = p
    out.key_bytes = key_bytes
    out.value = p + key_bytes
    out.value_bytes = value_bytes
    return p + key_bytes + value_bytes


@cython.cclass
class ChunkDecoder:
    """Owns one chunk. For one thread. After an error nothing but a new one is of use."""

    def __dealloc__(self):
        free(self.raw)
        free(self.last)

    def begin(self, sum: Xxh128) -> None:
        """A new partition: its keys begin anew, and its content goes into `sum`."""
        self.sum = sum
        self.have_last = False
        self.raw_bytes = 0
        self.position = 0

    def load(self, payload: bytes, codec: cython.int, raw_bytes: cython.size_t, entries: uint32_t) -> None:
        """Take the next chunk. Requires: `begin`, and the chunk before is written.

        CorruptionError where it is not `entries` entries in `raw_bytes`, in order, behind all before them.
        """
        f: Failure
        status: cython.int
        data: cbytes = payload
        n: cython.size_t = len(payload)
        if self.sum is None or self.position != self.raw_bytes:
            raise ValueError("no partition was begun, or the chunk before was not written")
        state: cython.pointer[XXH3_state_t] = self.sum.state
        if codec < CODEC_NONE or codec > CODEC_ZSTD:
            raise CorruptionError(f"the chunk has the codec {codec}, which is none")
        if raw_bytes > MAX_CHUNK_BYTES:
            raise CorruptionError(f"the chunk claims {raw_bytes} bytes")
        self.raw_bytes = raw_bytes
        self.position = 0
        failure_clear(cython.address(f))
        with cython.nogil:
            status = self.unpack(codec, data, n, entries, state, cython.address(f))
        if status != ST_OK:
            self.position = raw_bytes
            raise_failure(cython.address(f))

    def skip(self) -> None:
        """Of this chunk nothing more is wanted than the proof."""
        self.position = self.raw_bytes

    def write(self, writer: TableWriter, table_bytes: uint64_t, sink: BlobSink | None = None) -> bool:
        """Put the chunk into the table; True where that has reached `table_bytes` and entries are left for another.
        sink: where large values go.
        """
        f: Failure
        status: cython.int
        writer.must_be_open()
        w: cython.pointer[Writer] = writer.writer
        failure_clear(cython.address(f))
        while True:
            with cython.nogil:
                status = self.drain(w, table_bytes, sink, cython.address(f))
            if status != FILE_DUE:
                break
            sink.begin()
        if status != ST_OK:
            raise_failure(cython.address(f))
        return self.position < self.raw_bytes

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def unpack(
        self,
        codec: cython.int,
        data: cbytes,
        n: cython.size_t,
        entries: uint32_t,
        state: cython.pointer[XXH3_state_t],
        f: cython.pointer[Failure],
    ) -> cython.int:
        if not reserve(cython.address(self.raw), cython.address(self.capacity_bytes), self.raw_bytes):
            return fail_nomem(f)
        status: cython.int = decompress(codec, data, n, self.raw, self.raw_bytes)
        if status == ST_NOMEM:
            return fail_nomem(f)
        if status != ST_OK:
            return fail_corrupt(f, cython.NULL, 0, b"the chunk does not decompress to the size it states")
        return self.prove(entries, state, f)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def prove(
        self, entries: uint32_t, state: cython.pointer[XXH3_state_t], f: cython.pointer[Failure]
    ) -> cython.int:
        """Every length and the order; the content goes into the digest."""
        lengths: uint8_t[8]
        entry: ChunkEntry
        found: uint32_t = 0
        p: cbytes = self.raw
        end: cbytes = p + self.raw_bytes
        last: cbytes = self.last
        last_bytes: cython.size_t = self.last_bytes
        ordered: cython.bint = not self.have_last
        while p < end and found < entries:
            p = entry_at(p, end, cython.address(entry))
            if p == cython.NULL:
                return fail_corrupt(f, cython.NULL, 0, b"an entry of the chunk does not fit it")
            if not ordered and fj_compare(last, last_bytes, entry.key, entry.key_bytes) >= 0:
                return fail_corrupt(f, cython.NULL, 0, b"the keys of the chunk do not ascend")
            ordered = False
            last = entry.key
            last_bytes = entry.key_bytes
            found += 1
            fj_store32(lengths, entry.key_bytes)
            fj_store32(lengths + 4, entry.value_bytes)
            XXH3_128bits_update(state, lengths, 8)
            XXH3_128bits_update(state, entry.key, entry.key_bytes)
            XXH3_128bits_update(state, entry.value, entry.value_bytes)
        if found != entries or p != end or found == 0:
            return fail_corrupt(f, cython.NULL, 0, b"the chunk does not hold the entries it states")
        if not reserve(cython.address(self.last), cython.address(self.last_capacity_bytes), last_bytes):
            return fail_nomem(f)
        memcpy(self.last, last, last_bytes)
        self.last_bytes = last_bytes
        self.have_last = True
        return ST_OK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def drain(
        self,
        w: cython.pointer[Writer],
        target_bytes: uint64_t,
        sink: BlobSink | None,
        f: cython.pointer[Failure],
    ) -> cython.int:
        status: cython.int = ST_OK
        entry: ChunkEntry
        end: cbytes = self.raw + self.raw_bytes
        p: cbytes = self.raw + self.position
        while status == ST_OK and p < end and writer_file_bytes(w) < target_bytes:
            if sink is not None and sink.full():
                return FILE_DUE
            p = entry_at(p, end, cython.address(entry))
            if p == cython.NULL:  # it was proved otherwise
                return fail_corrupt(f, cython.NULL, 0, b"an entry of the chunk does not fit it")
            if sink is None:
                status = writer_add(
                    w, entry.key, entry.key_bytes, KIND_VALUE, entry.value, entry.value_bytes, f
                )
            else:
                status = sink.add(
                    w, entry.key, entry.key_bytes, KIND_VALUE, entry.value, entry.value_bytes, f
                )
            self.position = cython.cast(cython.size_t, p - self.raw)
        return status
