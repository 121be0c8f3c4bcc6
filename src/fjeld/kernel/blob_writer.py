"""Writes one blob file: large values, each compressed and checksummed by itself.

    file    = header record* footer
    record  = value key trailer

(docs/FORMATS.md, *Blob file*.) A record is put together in the output's buffer, where it fits: the value is copied
once. The file is created with its first record, so a flush or compaction that meets no large value makes none.
"""

import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.fjeld.kernel.blob_format import (
    BLOB_FOOTER_BYTES,
    BLOB_HEADER_BYTES,
    BlobFooter,
    BlobPointer,
    blob_footer_encode,
    blob_header_encode,
    pointer_encode,
    record_bytes,
    record_seal,
)
from cython.cimports.fjeld.kernel.checksum import hash_hex
from cython.cimports.fjeld.kernel.coding import MAX_KEY_BYTES, POINTER_BYTES, cbytes
from cython.cimports.fjeld.kernel.compression import compress, compressor_free, compressor_init
from cython.cimports.fjeld.kernel.failure import ST_OK, Failure, fail_nomem, failure_clear, raise_failure
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.output import (
    OUTPUT_BUFFER_BYTES,
    output_append,
    output_bytes,
    output_close,
    output_finish,
    output_open,
    output_room,
    output_take,
)
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcpy

from fjeld.kernel.compression import check_codec
from fjeld.kernel.files import unlink

MAX_VALUE_BYTES = cython.declare(cython.size_t, 0xFFFFFFFF)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def begin(o: cython.pointer[BlobOut]) -> cython.int:
    """Make the file, with its header."""
    header: uint8_t[BLOB_HEADER_BYTES]
    status: cython.int = output_open(cython.address(o.output), o.path, cython.address(o.failure))
    o.begun = o.output.fd >= 0
    if status != ST_OK:
        return status
    blob_header_encode(o.number, header)
    return output_append(cython.address(o.output), header, BLOB_HEADER_BYTES, cython.address(o.failure))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_put(
    o: cython.pointer[BlobOut],
    key: cbytes,
    key_bytes: cython.size_t,
    value: cbytes,
    value_bytes: cython.size_t,
    pointer: cython.pointer[uint8_t],
    f: cython.pointer[Failure],
) -> cython.int:
    stored: cython.pointer[uint8_t] = cython.NULL
    stored_bytes: cython.size_t = 0
    p: BlobPointer
    codec: cython.int = compress(
        cython.address(o.compressor),
        cython.cast(cython.pointer[uint8_t], value),
        value_bytes,
        cython.address(stored),
        cython.address(stored_bytes),
    )
    if codec < 0:
        return fail_nomem(f)
    p.stored_bytes = cython.cast(uint32_t, stored_bytes)
    p.raw_bytes = cython.cast(uint32_t, value_bytes)
    return append(o, stored, key, key_bytes, cython.address(p), codec, pointer, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_copy(
    o: cython.pointer[BlobOut],
    record: cbytes,
    p: cython.pointer[cython.const[BlobPointer]],
    key_bytes: cython.size_t,
    codec: cython.int,
    pointer: cython.pointer[uint8_t],
    f: cython.pointer[Failure],
) -> cython.int:
    to: BlobPointer
    to.stored_bytes = p.stored_bytes
    to.raw_bytes = p.raw_bytes
    return append(o, record, record + p.stored_bytes, key_bytes, cython.address(to), codec, pointer, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def append(
    o: cython.pointer[BlobOut],
    stored: cbytes,
    key: cbytes,
    key_bytes: cython.size_t,
    p: cython.pointer[BlobPointer],
    codec: cython.int,
    pointer: cython.pointer[uint8_t],
    f: cython.pointer[Failure],
) -> cython.int:
    """Append a record, whose lengths `p` has; where it lies is written into `p` and `pointer`."""
    record: cython.pointer[uint8_t] = cython.NULL
    n: cython.size_t = record_bytes(p, key_bytes)
    in_place: cython.bint = n <= OUTPUT_BUFFER_BYTES
    if o.failure.status == ST_OK and not o.begun:
        begin(o)
    if o.failure.status == ST_OK:
        if in_place:
            record = output_room(cython.address(o.output), n, cython.address(o.failure))
        elif reserve(cython.address(o.large), cython.address(o.large_bytes), n):
            record = o.large
        else:
            fail_nomem(cython.address(o.failure))
    if record == cython.NULL:
        f[0] = o.failure
        return f.status
    p.number = o.number
    p.offset = output_bytes(cython.address(o.output))
    memcpy(record, stored, p.stored_bytes)
    memcpy(record + p.stored_bytes, key, key_bytes)
    record_seal(record, p, key_bytes, codec)
    if in_place:
        output_take(cython.address(o.output), n)
    elif output_append(cython.address(o.output), record, n, cython.address(o.failure)) != ST_OK:
        f[0] = o.failure
        return f.status
    o.footer.records += 1
    o.footer.raw_bytes += p.raw_bytes
    o.footer.stored_bytes += p.stored_bytes
    pointer_encode(p, pointer)
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_out_bytes(o: cython.pointer[cython.const[BlobOut]]) -> uint64_t:
    return output_bytes(cython.address(o.output)) if o.begun else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_end(o: cython.pointer[BlobOut]) -> cython.int:
    """The footer; sync, seal and close."""
    data: uint8_t[BLOB_FOOTER_BYTES]
    if o.failure.status != ST_OK:
        return o.failure.status
    blob_footer_encode(
        cython.address(o.footer), output_bytes(cython.address(o.output)) + BLOB_FOOTER_BYTES, data
    )
    status: cython.int = output_append(
        cython.address(o.output), data, BLOB_FOOTER_BYTES, cython.address(o.failure)
    )
    if status != ST_OK:
        return status
    return output_finish(cython.address(o.output), cython.address(o.sum), cython.address(o.failure))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def out_free(o: cython.pointer[BlobOut]) -> cython.void:
    output_close(cython.address(o.output))
    compressor_free(cython.address(o.compressor))
    free(o.large)
    free(o)


# ---- the Python face ----


@cython.final
@cython.cclass
class BlobWriter:
    """Owns a new file until `finish` or `abandon`. For one thread; it lets go of the GIL in `finish`.

    After a failure only `abandon` is of use. A writer that is dropped leaves its file behind, unsealed.
    """

    def __cinit__(self, path: object, *, number: object, codec: cython.int = 1, level: cython.int = 3):
        check_codec(codec, level)
        self.path = os.fspath(path)
        self.encoded_path = os.fsencode(self.path)
        self.number = number
        o: cython.pointer[BlobOut] = cython.cast(cython.pointer[BlobOut], calloc(1, cython.sizeof(BlobOut)))
        if o == cython.NULL:
            raise MemoryError
        self.out = o
        o.output.fd = -1
        o.path = self.encoded_path
        o.number = number
        if compressor_init(cython.address(o.compressor), codec, level) != ST_OK:
            raise MemoryError

    def __dealloc__(self):
        if self.out != cython.NULL:
            out_free(self.out)

    @cython.cfunc
    def must_be_open(self) -> object:
        if self.out == cython.NULL:
            raise ValueError(f"{self.path}: this blob file is finished or abandoned")

    @property
    def entries(self) -> int:
        self.must_be_open()
        return self.out.footer.records

    @property
    def file_bytes(self) -> int:
        """Written so far, with what is buffered."""
        self.must_be_open()
        return blob_out_bytes(self.out)

    def add(self, key: bytes, value: bytes) -> bytes:
        """Append a value; the pointer to it."""
        self.must_be_open()
        f: Failure
        if len(key) > MAX_KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes: {MAX_KEY_BYTES} is the most")
        if cython.cast(cython.size_t, len(value)) > MAX_VALUE_BYTES:
            raise ValueError(f"a value of {len(value)} bytes does not fit a blob file")
        pointer: bytes = PyBytes_FromStringAndSize(cython.NULL, POINTER_BYTES)
        failure_clear(cython.address(f))
        if (
            blob_put(
                self.out,
                key,
                len(key),
                value,
                len(value),
                cython.cast(cython.pointer[uint8_t], PyBytes_AS_STRING(pointer)),
                cython.address(f),
            )
            != ST_OK
        ):
            raise_failure(cython.address(f))
        return pointer

    def finish(self) -> dict:
        """Write the rest, sync, seal and close. What the manifest keeps of the file; None where none was begun."""
        self.must_be_open()
        o: cython.pointer[BlobOut] = self.out
        status: cython.int
        facts: dict = None
        if o.begun:
            self.out = cython.NULL  # nobody else touches it while the GIL is free
            with cython.nogil:
                status = put_end(o)
            if status != ST_OK:
                self.out = o  # for abandon
                raise_failure(cython.address(o.failure))
            facts = {
                "number": self.number,
                "size_bytes": output_bytes(cython.address(o.output)),
                "xxh128": hash_hex(o.sum),
                "entries": o.footer.records,
                "raw_bytes": o.footer.raw_bytes,
                "stored_bytes": o.footer.stored_bytes,
            }
        self.out = cython.NULL
        out_free(o)
        return facts

    def abandon(self) -> None:
        """Close and remove the file; does nothing after `finish`."""
        o: cython.pointer[BlobOut] = self.out
        if o == cython.NULL:
            return
        self.out = cython.NULL
        begun: cython.bint = o.begun
        out_free(o)
        if begun:
            unlink(self.path)
