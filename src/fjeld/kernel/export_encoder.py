"""The entries that a reader of one partition sees, as chunks of an export (docs/FORMATS.md, *Export*).

    chunk = per entry: key length (varint), value length (varint), key, value

A chunk ends with the entry that brings it to `chunk_bytes`, so one that holds a large value is larger. It is
compressed as a whole. The digest of the content is fed on the way, exactly as `kernel.digest` feeds it.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.fjeld.kernel.blob import blob_read, blob_room
from cython.cimports.fjeld.kernel.blob_format import BlobPointer, pointer_decode
from cython.cimports.fjeld.kernel.checksum import XXH3_128bits_update, XXH3_state_t, Xxh128
from cython.cimports.fjeld.kernel.coding import KIND_BLOB, fj_put_varint, fj_store32
from cython.cimports.fjeld.kernel.compression import compress, compressor_free, compressor_init
from cython.cimports.fjeld.kernel.core import Access
from cython.cimports.fjeld.kernel.failure import (
    ST_END,
    ST_OK,
    Failure,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.merge import merge_close, merge_first, merge_next
from cython.cimports.fjeld.kernel.table import RUN_STREAM
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memcpy

from fjeld.kernel.compression import check_codec

# Two varints of lengths that have 32 bits.
LENGTHS_BYTES = cython.declare(cython.size_t, 10)
MAX_ENTRIES = cython.declare(uint32_t, 0xFFFFFFFF)


@cython.cclass
class ChunkEncoder:
    """One pass over what `access` sees. For one thread; `fill` lets go of the GIL once a chunk."""

    def __cinit__(
        self,
        access: Access,
        sum: Xxh128,
        *,
        codec: cython.int,
        level: cython.int = 3,
        chunk_bytes: cython.size_t = 1 << 20,
    ):
        check_codec(codec, level)
        self.access = access
        self.sum = sum
        self.chunk_bytes = chunk_bytes
        if compressor_init(cython.address(self.compressor), codec, level) != ST_OK:
            raise MemoryError
        access.check()
        tag: uint64_t = access.read_tag()
        self.view = access.take_view()
        self.view.open_merge(cython.address(self.merge), tag, RUN_STREAM)

    def __dealloc__(self):
        merge_close(cython.address(self.merge))
        compressor_free(cython.address(self.compressor))
        free(self.raw)

    def fill(self) -> bool:
        """Encode the next chunk; False where no entry is left. ClosedError once the snapshot is closed."""
        failure: Failure
        status: cython.int
        state: cython.pointer[XXH3_state_t] = self.sum.state
        self.access.check()
        failure_clear(cython.address(failure))
        with cython.nogil:
            status = self.pass_on(state, cython.address(failure))
        if status != ST_OK:
            raise_failure(cython.address(failure))
        if self.ended:
            merge_close(cython.address(self.merge))
        return self.filled > 0

    @property
    def entries(self) -> int:
        """In the chunk."""
        return self.filled

    @property
    def raw_bytes(self) -> int:
        """Of the chunk before compression."""
        return self.filled_bytes

    @property
    def codec(self) -> int:
        """That the chunk was compressed with: 0 where it did not pay."""
        return self.used

    def payload(self) -> bytes:
        """The chunk as it is stored."""
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.stored), self.stored_bytes)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def pass_on(self, state: cython.pointer[XXH3_state_t], f: cython.pointer[Failure]) -> cython.int:
        """Fill `raw` from the merge, then compress it."""
        status: cython.int = ST_OK
        self.filled = 0
        self.filled_bytes = 0
        if not self.begun:
            self.begun = True
            status = merge_first(cython.address(self.merge), f)
        while (
            status == ST_OK
            and not self.ended
            and self.filled_bytes < self.chunk_bytes
            and self.filled < MAX_ENTRIES
        ):
            status = merge_next(cython.address(self.merge), f)
            if status == ST_END:
                self.ended = True
                status = ST_OK
            elif status == ST_OK:
                status = self.put(state, f)
        if status != ST_OK or self.filled == 0:
            return status
        self.used = compress(
            cython.address(self.compressor),
            self.raw,
            self.filled_bytes,
            cython.address(self.stored),
            cython.address(self.stored_bytes),
        )
        return ST_OK if self.used >= 0 else fail_nomem(f)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put(self, state: cython.pointer[XXH3_state_t], f: cython.pointer[Failure]) -> cython.int:
        """Append the entry that the merge stands on."""
        lengths: uint8_t[8]
        key_bytes: cython.size_t = self.merge.key_bytes
        value_bytes: cython.size_t = self.merge.value_bytes
        room_bytes: cython.size_t = value_bytes
        pointer: BlobPointer
        elsewhere: cython.bint = self.merge.tag & 0xFF == KIND_BLOB
        status: cython.int
        if elsewhere:
            pointer_decode(self.merge.value, cython.address(pointer))
            value_bytes = pointer.raw_bytes
            room_bytes = blob_room(cython.address(pointer), key_bytes)
        wanted: cython.size_t = self.filled_bytes + LENGTHS_BYTES + key_bytes + room_bytes
        if not reserve(cython.address(self.raw), cython.address(self.capacity_bytes), wanted):
            return fail_nomem(f)
        p: cython.pointer[uint8_t] = self.raw + self.filled_bytes
        p = fj_put_varint(p, key_bytes)
        p = fj_put_varint(p, value_bytes)
        memcpy(p, self.merge.key, key_bytes)
        if elsewhere:
            status = blob_read(
                cython.address(self.view.blob_set),
                cython.address(pointer),
                self.merge.key,
                key_bytes,
                p + key_bytes,
                False,
                f,
            )
            if status != ST_OK:
                return status
        else:
            memcpy(p + key_bytes, self.merge.value, value_bytes)
        self.filled_bytes = cython.cast(cython.size_t, p + key_bytes + value_bytes - self.raw)
        self.filled += 1
        fj_store32(lengths, key_bytes)
        fj_store32(lengths + 4, value_bytes)
        XXH3_128bits_update(state, lengths, 8)
        XXH3_128bits_update(state, self.merge.key, key_bytes)
        XXH3_128bits_update(state, p + key_bytes, value_bytes)
        return ST_OK
