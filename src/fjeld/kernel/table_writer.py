"""Writes one table file, from its first entry to its footer.

    file    = data block* filter block index block properties block footer

(docs/FORMATS.md, *Table*.) Entries collect in a block until the next would make it larger than block_bytes;
it is then encoded, compressed and appended. The same entries and options give the same bytes, always.
"""

import json
import os

import cython
from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING
from cython.cimports.fjeld.kernel.blob_refs import refs_count, refs_free, refs_tuple
from cython.cimports.fjeld.kernel.block_builder import (
    MAX_BLOCK_BYTES,
    builder_add,
    builder_bytes_with,
    builder_finish,
    builder_free,
    builder_init,
)
from cython.cimports.fjeld.kernel.checksum import fj_xxh64, hash_hex
from cython.cimports.fjeld.kernel.coding import (
    KIND_BLOB,
    KIND_MAX,
    KIND_TOMBSTONE,
    KIND_WEAK_TOMBSTONE,
    MAX_KEY_BYTES,
    POINTER_BYTES,
    cbytes,
    fj_compare,
    fj_store32,
)
from cython.cimports.fjeld.kernel.compression import CODEC_NONE, compress, compressor_free, compressor_init
from cython.cimports.fjeld.kernel.failure import (
    ST_OK,
    fail_io,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.filter import (
    FILTER_HEADER_BYTES,
    LINE_BYTES,
    filter_fill,
    filter_lines_for,
    filter_probes_for,
)
from cython.cimports.fjeld.kernel.footer import FOOTER_BYTES, TABLE_FORMAT, footer_encode
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.output import (
    output_append,
    output_bytes,
    output_close,
    output_finish,
    output_open,
)
from cython.cimports.fjeld.kernel.sparse_index import (
    MAX_INDEX_KEYS_BYTES,
    index_add,
    index_finish,
    index_free,
    index_init,
)
from cython.cimports.fjeld.kernel.trailer import (
    BLOCK_DATA,
    BLOCK_FILTER,
    BLOCK_INDEX,
    BLOCK_PROPERTIES,
    TRAILER_BYTES,
    trailer_write,
)
from cython.cimports.libc.errno import EFBIG
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcmp, memcpy

from fjeld.kernel.compression import check_codec
from fjeld.kernel.files import unlink

# What fits a block with the longest key (as the prefix) and 64 bytes for all varints.
MAX_VALUE_BYTES = cython.declare(cython.size_t, MAX_BLOCK_BYTES - MAX_KEY_BYTES - 64)
MAX_BLOCK_OPTION_BYTES = cython.declare(cython.int, 16 << 20)
MAX_FILTER_BITS = cython.declare(cython.int, 64)
MAX_SEQNO = cython.declare(uint64_t, (1 << 56) - 1)
MAX_BLOCKS = cython.declare(uint32_t, 0xFFFFFFFE)  # one more is counted in 32 bits

# ---- entries ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def writer_add(
    w: cython.pointer[Writer],
    key: cbytes,
    key_bytes: cython.size_t,
    tag: uint64_t,
    value: cbytes,
    value_bytes: cython.size_t,
    f: cython.pointer[Failure],
) -> cython.int:
    status: cython.int
    if w.failure.status != ST_OK:
        f[0] = w.failure
        return f.status
    if value_bytes > MAX_VALUE_BYTES:
        return fail_io(f, w.output.path, EFBIG)
    if w.block.count > 0 and (
        builder_bytes_with(cython.address(w.block), key, key_bytes, tag, value_bytes) > w.block_bytes
    ):
        status = end_block(w)
        if status != ST_OK:
            f[0] = w.failure
            return status
    if (
        not note_key(w, key, key_bytes)
        or (tag & 0xFF == KIND_BLOB and not refs_count(cython.address(w.blobs), value, key_bytes))
        or builder_add(cython.address(w.block), key, key_bytes, tag, value, value_bytes) != ST_OK
    ):
        fail_nomem(cython.address(w.failure))
        f[0] = w.failure
        return f.status
    note_tag(w, tag)
    w.raw_bytes += key_bytes + value_bytes
    return ST_OK


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def note_key(w: cython.pointer[Writer], key: cbytes, key_bytes: cython.size_t) -> cython.bint:
    """Remember the key and its hash, unless it is that of the entry before. False: no memory."""
    if w.entries > 0 and key_bytes == w.last_bytes and memcmp(key, w.last, key_bytes) == 0:
        return True
    if not reserve(cython.address(w.last), cython.address(w.last_capacity_bytes), key_bytes):
        return False
    if w.entries == 0:
        if not reserve(cython.address(w.smallest), cython.address(w.smallest_capacity_bytes), key_bytes):
            return False
        memcpy(w.smallest, key, key_bytes)
        w.smallest_bytes = key_bytes
    memcpy(w.last, key, key_bytes)
    w.last_bytes = key_bytes
    if w.filter_bits > 0:
        if 8 * (w.keys + 1) > w.hashes_capacity_bytes and not reserve(
            cython.cast(cython.pointer[cython.pointer[uint8_t]], cython.address(w.hashes)),
            cython.address(w.hashes_capacity_bytes),
            8 * (w.keys + 1),
        ):
            return False
        w.hashes[w.keys] = fj_xxh64(key, key_bytes)
    w.keys += 1
    return True


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def note_tag(w: cython.pointer[Writer], tag: uint64_t) -> cython.void:
    seqno: uint64_t = tag >> 8
    kind: uint64_t = tag & 0xFF
    if w.entries == 0 or seqno < w.min_seqno:
        w.min_seqno = seqno
    if w.entries == 0 or seqno > w.max_seqno:
        w.max_seqno = seqno
    w.tombstones += kind == KIND_TOMBSTONE
    w.weak_tombstones += kind == KIND_WEAK_TOMBSTONE
    w.entries += 1
    w.last_tag = tag


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def writer_file_bytes(w: cython.pointer[cython.const[Writer]]) -> uint64_t:
    return output_bytes(cython.address(w.output))


# ---- blocks: failures stay in w.failure ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def end_block(w: cython.pointer[Writer]) -> cython.int:
    payload: cython.pointer[uint8_t] = cython.NULL
    start: uint64_t = output_bytes(cython.address(w.output))
    status: cython.int
    n: cython.size_t = builder_finish(cython.address(w.block), cython.address(payload))
    if n == 0:
        return fail_nomem(cython.address(w.failure))
    # last is the last key of this block still; the index can name no more than 32 bits' worth of keys.
    if w.index.keys_bytes + w.last_bytes > MAX_INDEX_KEYS_BYTES or w.index.blocks >= MAX_BLOCKS:
        return fail_io(cython.address(w.failure), w.output.path, EFBIG)
    status = put_block(w, payload, n, BLOCK_DATA, True)
    if status != ST_OK:
        return status
    n = output_bytes(cython.address(w.output)) - start
    if index_add(cython.address(w.index), w.last, w.last_bytes, n) != ST_OK:
        return fail_nomem(cython.address(w.failure))
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_block(
    w: cython.pointer[Writer],
    payload: cython.pointer[uint8_t],
    n: cython.size_t,
    kind: cython.int,
    pack: cython.bint,
) -> cython.int:
    """Compress, and append with the trailer. Requires: room for a trailer behind the payload."""
    f: cython.pointer[Failure] = cython.address(w.failure)
    stored: cython.pointer[uint8_t] = payload
    stored_bytes: cython.size_t = n
    codec: cython.int = CODEC_NONE
    if pack:
        codec = compress(
            cython.address(w.compressor), payload, n, cython.address(stored), cython.address(stored_bytes)
        )
        if codec < 0:
            return fail_nomem(f)
    offset: uint64_t = output_bytes(cython.address(w.output))
    trailer_write(stored, stored_bytes, cython.cast(uint32_t, n), codec, kind, offset)
    return output_append(cython.address(w.output), stored, stored_bytes + TRAILER_BYTES, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_filter(w: cython.pointer[Writer]) -> cython.int:
    lines: uint32_t = filter_lines_for(w.keys, w.filter_bits)
    probes: uint32_t = filter_probes_for(w.filter_bits) if lines > 0 else 0
    n: cython.size_t = FILTER_HEADER_BYTES + cython.cast(cython.size_t, lines) * LINE_BYTES
    payload: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], calloc(n + TRAILER_BYTES, 1))
    status: cython.int
    if payload == cython.NULL:
        return fail_nomem(cython.address(w.failure))
    fj_store32(payload, lines)
    fj_store32(payload + 4, probes)
    if lines > 0:
        filter_fill(payload + FILTER_HEADER_BYTES, lines, probes, w.hashes, w.keys)
    status = put_block(w, payload, n, BLOCK_FILTER, False)  # half its bits are set at random: nothing to gain
    free(payload)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_tables(w: cython.pointer[Writer]) -> cython.int:
    """The last data block, the filter and the index; notes in the footer where they are."""
    payload: cython.pointer[uint8_t] = cython.NULL
    n: cython.size_t
    status: cython.int
    if w.failure.status != ST_OK:
        return w.failure.status
    status = end_block(w)
    if status != ST_OK:
        return status
    w.footer.blocks = w.index.blocks
    w.footer.filter_offset = output_bytes(cython.address(w.output))
    status = put_filter(w)
    if status != ST_OK:
        return status
    w.footer.index_offset = output_bytes(cython.address(w.output))
    n = index_finish(cython.address(w.index), cython.address(payload))
    if n == 0:
        return fail_nomem(cython.address(w.failure))
    status = put_block(w, payload, n, BLOCK_INDEX, True)
    w.footer.properties_offset = output_bytes(cython.address(w.output))
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_end(w: cython.pointer[Writer], properties: cython.pointer[uint8_t], n: cython.size_t) -> cython.int:
    """Properties (with room for a trailer) and footer; sync, seal and close."""
    data: uint8_t[FOOTER_BYTES]
    footer: cython.pointer[Footer] = cython.address(w.footer)
    end: uint64_t
    status: cython.int = put_block(w, properties, n, BLOCK_PROPERTIES, False)
    if status != ST_OK:
        return status
    end = output_bytes(cython.address(w.output))
    footer.filter_bytes = cython.cast(uint32_t, footer.index_offset - footer.filter_offset)
    footer.index_bytes = cython.cast(uint32_t, footer.properties_offset - footer.index_offset)
    footer.properties_bytes = cython.cast(uint32_t, end - footer.properties_offset)
    footer.format = TABLE_FORMAT
    footer_encode(footer, end + FOOTER_BYTES, data)
    status = output_append(cython.address(w.output), data, FOOTER_BYTES, cython.address(w.failure))
    if status != ST_OK:
        return status
    return output_finish(cython.address(w.output), cython.address(w.sum), cython.address(w.failure))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def writer_free(w: cython.pointer[Writer]) -> cython.void:
    output_close(cython.address(w.output))
    builder_free(cython.address(w.block))
    index_free(cython.address(w.index))
    compressor_free(cython.address(w.compressor))
    free(w.smallest)
    free(w.last)
    free(w.hashes)
    refs_free(cython.address(w.blobs))
    free(w)


# ---- the Python face ----


@cython.final
@cython.cclass
class TableWriter:
    """Owns a new file until `finish` or `abandon`. For one thread; it lets go of the GIL in `finish` only.

    After a failure only `abandon` is of use. A writer that is dropped leaves its file behind, unsealed.
    """

    def __cinit__(
        self,
        path: object,
        *,
        keyspace_id: str,
        number: object,
        block_bytes: cython.int = 4096,
        filter_bits: cython.int = 10,
        codec: cython.int = 1,
        level: cython.int = 3,
    ):
        if block_bytes < 1 or block_bytes > MAX_BLOCK_OPTION_BYTES:
            raise ValueError(f"block_bytes must be 1 to {MAX_BLOCK_OPTION_BYTES}, not {block_bytes}")
        if filter_bits < 0 or filter_bits > MAX_FILTER_BITS:
            raise ValueError(f"filter_bits must be 0 to {MAX_FILTER_BITS}, not {filter_bits}")
        check_codec(codec, level)
        self.path = os.fspath(path)
        self.encoded_path = os.fsencode(self.path)
        self.keyspace_id = keyspace_id
        self.number = number
        w: cython.pointer[Writer] = cython.cast(cython.pointer[Writer], calloc(1, cython.sizeof(Writer)))
        if w == cython.NULL:
            raise MemoryError()
        w.output.fd = -1
        w.block_bytes = block_bytes
        w.filter_bits = filter_bits
        self.writer = w
        name: cython.p_char = self.encoded_path
        builder_init(cython.address(w.block))
        index_init(cython.address(w.index))
        if compressor_init(cython.address(w.compressor), codec, level) != ST_OK:
            raise MemoryError()
        with cython.nogil:
            output_open(cython.address(w.output), name, cython.address(w.failure))
        if w.failure.status != ST_OK:
            raise_failure(cython.address(w.failure))

    def __dealloc__(self):
        if self.writer != cython.NULL:
            writer_free(self.writer)

    @property
    def entries(self) -> int:
        self.must_be_open()
        return self.writer.entries

    @property
    def file_bytes(self) -> int:
        """Written so far, with what is buffered."""
        self.must_be_open()
        return writer_file_bytes(self.writer)

    @cython.cfunc
    def must_be_open(self) -> object:
        if self.writer == cython.NULL:
            raise ValueError(f"{self.path}: this table is finished or abandoned")

    def add(self, key: bytes, seqno: uint64_t, kind: cython.int, value: bytes) -> None:
        """Add an entry: in order of key, and from the newest version of a key to the oldest."""
        self.must_be_open()
        w: cython.pointer[Writer] = self.writer
        f: Failure
        order: cython.int
        tag: uint64_t = seqno << 8 | kind
        if len(key) > MAX_KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes: {MAX_KEY_BYTES} is the most")
        if cython.cast(cython.size_t, len(value)) > MAX_VALUE_BYTES:
            raise ValueError(f"a value of {len(value)} bytes does not fit a table")
        if seqno > MAX_SEQNO or kind < KIND_TOMBSTONE or kind > KIND_MAX:
            raise ValueError(f"no such tag: seqno {seqno}, kind {kind}")
        if kind == KIND_BLOB and len(value) != POINTER_BYTES:
            raise ValueError(f"a pointer has {POINTER_BYTES} bytes, not {len(value)}")
        if w.entries > 0:
            order = fj_compare(w.last, w.last_bytes, key, len(key))
            if order > 0 or (order == 0 and w.last_tag <= tag):
                raise ValueError(f"out of order: {key[:64]!r} at seqno {seqno}")
        failure_clear(cython.address(f))
        if writer_add(w, key, len(key), tag, value, len(value), cython.address(f)) != ST_OK:
            raise_failure(cython.address(f))

    def finish(self) -> dict:
        """Write the rest, sync, seal and close. What the manifest keeps of the file."""
        self.must_be_open()
        w: cython.pointer[Writer] = self.writer
        status: cython.int
        text: cython.pointer[uint8_t]
        n: cython.size_t
        if w.entries == 0:
            raise ValueError(f"{self.path}: a table holds one entry at least; abandon this one")
        self.writer = cython.NULL  # nobody else touches it while the GIL is free
        try:
            with cython.nogil:
                status = put_tables(w)
            if status == ST_OK:
                properties: bytes = self.encode_properties(w)
                n = len(properties)
                room: bytearray = bytearray(properties + bytes(TRAILER_BYTES))
                text = cython.cast(cython.pointer[uint8_t], PyByteArray_AS_STRING(room))
                with cython.nogil:
                    status = put_end(w, text, n)
            if status != ST_OK:
                raise_failure(cython.address(w.failure))
            facts: dict = self.facts(w)
        except BaseException:
            self.writer = w  # for abandon
            raise
        writer_free(w)
        return facts

    def abandon(self) -> None:
        """Close and remove the file; does nothing after `finish`."""
        w: cython.pointer[Writer] = self.writer
        if w == cython.NULL:
            return
        self.writer = cython.NULL
        writer_free(w)
        unlink(self.path)

    @cython.cfunc
    def encode_properties(self, w: cython.pointer[Writer]) -> bytes:
        properties: dict = {
            "keyspace": self.keyspace_id,
            "number": self.number,
            "entries": w.entries,
            "keys": w.keys,
            "tombstones": w.tombstones,
            "weak_tombstones": w.weak_tombstones,
            "min_seqno": w.min_seqno,
            "max_seqno": w.max_seqno,
            "smallest": cython.cast(cython.p_char, w.smallest)[: w.smallest_bytes].hex(),
            "largest": cython.cast(cython.p_char, w.last)[: w.last_bytes].hex(),
            "raw_bytes": w.raw_bytes,
        }
        return json.dumps(properties, sort_keys=True, separators=(",", ":")).encode()

    @cython.cfunc
    def facts(self, w: cython.pointer[Writer]) -> dict:
        return {
            "size_bytes": output_bytes(cython.address(w.output)),
            "xxh128": hash_hex(w.sum),
            "entries": w.entries,
            "tombstones": w.tombstones,
            "weak_tombstones": w.weak_tombstones,
            "min_seqno": w.min_seqno,
            "max_seqno": w.max_seqno,
            "smallest": cython.cast(cython.p_char, w.smallest)[: w.smallest_bytes],
            "largest": cython.cast(cython.p_char, w.last)[: w.last_bytes],
            "raw_bytes": w.raw_bytes,
            "blocks": w.footer.blocks,
            "blobs": refs_tuple(cython.address(w.blobs)),
        }
