"""Reading blob files: values that are kept apart from their keys.

An entry of KIND_BLOB says where its value is; the record there is read with one system call, and its checksum,
lengths and key are compared with the entry before a byte of it is believed. Nothing is cached here: large values
would push blocks out of the cache, and the system's page cache has them.

A file that is missing or too short is damage to the values in it and to nothing else: it is met, and named, when
one of them is read.

A BlobFile is constant but for its descriptor, which the pool's lock guards: any thread may read.
"""

import os

import cython
from cython.cimports.fjeld.kernel.blob_format import (
    BLOB_FOOTER_BYTES,
    BLOB_HEADER_BYTES,
    BLOB_TRAILER_BYTES,
    BlobFooter,
    blob_footer_decode,
    blob_header_check,
    record_bytes,
    record_check,
)
from cython.cimports.fjeld.kernel.checksum import (
    XXH3_128bits_digest,
    XXH3_128bits_reset,
    XXH3_128bits_update,
    XXH3_createState,
    XXH3_freeState,
    XXH3_state_t,
    XXH128_hash_t,
    hash_hex,
)
from cython.cimports.fjeld.kernel.coding import MAX_KEY_BYTES, cbytes, fj_atomic_load, fj_load32
from cython.cimports.fjeld.kernel.compression import CODEC_NONE, decompress
from cython.cimports.fjeld.kernel.descriptors import (
    descriptor_acquire,
    descriptor_acquire_open,
    descriptor_forget,
    descriptor_release,
)
from cython.cimports.fjeld.kernel.failure import (
    ST_COLD,
    ST_END,
    ST_NOMEM,
    ST_OK,
    fail_corrupt,
    fail_io,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.files import CancelFlag, file_pread, file_pread_now
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.libc.errno import ENOENT
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc

# What is hashed at once: the second-level cache holds it.
SUM_CHUNK_BYTES = cython.declare(cython.size_t, 256 << 10)

# ---- the set that a view sees ----


@cython.cfunc
@cython.exceptval(-1, check=False)
def blob_set_init(s: cython.pointer[BlobSet], readers: tuple) -> cython.int:
    """`readers` ascend by number, and live longer than the set."""
    i: cython.Py_ssize_t
    reader: BlobReader
    s.files = cython.NULL
    s.count = 0
    if not readers:
        return 0
    s.files = cython.cast(
        cython.pointer[cython.pointer[BlobFile]],
        calloc(len(readers), cython.sizeof(cython.pointer[BlobFile])),
    )
    if s.files == cython.NULL:
        raise MemoryError
    for i in range(len(readers)):
        reader = readers[i]
        s.files[i] = reader.file
    s.count = len(readers)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_set_free(s: cython.pointer[BlobSet]) -> cython.void:
    free(s.files)
    s.files = cython.NULL
    s.count = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_find(s: cython.pointer[cython.const[BlobSet]], number: uint64_t) -> cython.pointer[BlobFile]:
    low: uint32_t = 0
    high: uint32_t = s.count
    middle: uint32_t
    while low < high:
        middle = (low + high) >> 1
        if s.files[middle].number < number:
            low = middle + 1
        else:
            high = middle
    if low == s.count or s.files[low].number != number:
        return cython.NULL
    return s.files[low]


# ---- reading ----


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_room(p: cython.pointer[cython.const[BlobPointer]], key_bytes: cython.size_t) -> cython.size_t:
    return record_bytes(p, key_bytes) if p.stored_bytes == p.raw_bytes else p.raw_bytes


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_at(
    b: cython.pointer[BlobFile],
    into: cython.pointer[uint8_t],
    n: cython.size_t,
    offset: uint64_t,
    now: cython.bint,
    f: cython.pointer[Failure],
) -> cython.int:
    got: int64_t
    fd: cython.int
    if now:
        fd = descriptor_acquire_open(b.descriptors, cython.address(b.descriptor))
        if fd < 0:
            return ST_COLD
        got = file_pread_now(fd, into, n, offset)
        descriptor_release(b.descriptors, cython.address(b.descriptor))
        return ST_OK if got == cython.cast(int64_t, n) else ST_COLD
    fd = descriptor_acquire(b.descriptors, cython.address(b.descriptor))
    if fd == -ENOENT:
        return fail_corrupt(f, b.path, 0, "the file is missing; restore it, or the keyspace, from a backup")
    if fd < 0:
        return fail_io(f, b.path, -fd)
    got = file_pread(fd, into, n, offset)
    descriptor_release(b.descriptors, cython.address(b.descriptor))
    if got < 0:
        return fail_io(f, b.path, cython.cast(cython.int, -got))
    if cython.cast(cython.size_t, got) < n:
        return fail_corrupt(f, b.path, offset + got, "the file is shorter than it was")
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_read_record(
    s: cython.pointer[cython.const[BlobSet]],
    p: cython.pointer[cython.const[BlobPointer]],
    key: cbytes,
    key_bytes: cython.size_t,
    into: cython.pointer[uint8_t],
    codec: cython.p_int,
    now: cython.bint,
    f: cython.pointer[Failure],
) -> cython.int:
    b: cython.pointer[BlobFile] = blob_find(s, p.number)
    why: cython.p_const_char = cython.NULL
    status: cython.int
    n: uint64_t = record_bytes(p, key_bytes)
    if b == cython.NULL:
        return fail_corrupt(
            f, cython.NULL, p.offset, "a value in a blob file that is not part of the partition"
        )
    if (
        p.offset < BLOB_HEADER_BYTES
        or p.offset > b.file_bytes
        or n > b.file_bytes - p.offset
        or b.file_bytes - p.offset - n < BLOB_FOOTER_BYTES
    ):
        return fail_corrupt(f, b.path, p.offset, "a value that does not lie in its file")
    status = read_at(b, into, n, p.offset, now, f)
    if status == ST_OK and record_check(into, p, key, key_bytes, codec, cython.address(why)) != ST_OK:
        return ST_COLD if now else fail_corrupt(f, b.path, p.offset, why)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def blob_read(
    s: cython.pointer[cython.const[BlobSet]],
    p: cython.pointer[cython.const[BlobPointer]],
    key: cbytes,
    key_bytes: cython.size_t,
    into: cython.pointer[uint8_t],
    now: cython.bint,
    f: cython.pointer[Failure],
) -> cython.int:
    codec: cython.int = CODEC_NONE
    status: cython.int
    b: cython.pointer[BlobFile]
    if p.stored_bytes == p.raw_bytes:
        return blob_read_record(s, p, key, key_bytes, into, cython.address(codec), now, f)
    record: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], malloc(record_bytes(p, key_bytes)))
    if record == cython.NULL:
        return fail_nomem(f)
    status = blob_read_record(s, p, key, key_bytes, record, cython.address(codec), now, f)
    if status == ST_OK:
        status = decompress(codec, record, p.stored_bytes, into, p.raw_bytes)
        if status == ST_NOMEM:
            fail_nomem(f)
        elif status != ST_OK:
            b = blob_find(s, p.number)
            status = fail_corrupt(f, b.path, p.offset, "a value that does not decompress")
    free(record)
    return status


# ---- the Python face ----


@cython.no_gc_clear
@cython.cclass
class BlobReader:
    """Owns a BlobFile, and keeps the pool alive that it uses. Reads nothing before it is first used.

    Any thread may read.
    """

    def __cinit__(
        self,
        path: object,
        descriptors: DescriptorPool,
        *,
        number: uint64_t,
        file_bytes: uint64_t,
        **rest: object,
    ):
        self.path = os.fspath(path)
        self.encoded_path = os.fsencode(self.path)
        self.descriptors = descriptors
        b: cython.pointer[BlobFile] = cython.cast(
            cython.pointer[BlobFile], calloc(1, cython.sizeof(BlobFile))
        )
        if b == cython.NULL:
            raise MemoryError
        self.file = b
        b.path = self.encoded_path
        b.descriptor.path = b.path
        b.descriptor.fd = -1
        b.descriptors = descriptors.pool
        b.number = number
        b.file_bytes = file_bytes

    def __dealloc__(self):
        b: cython.pointer[BlobFile] = self.file
        if b != cython.NULL:
            with cython.nogil:
                descriptor_forget(b.descriptors, cython.address(b.descriptor))
            free(b)

    def hold(self) -> None:
        """Open the file now and keep it open, whatever becomes of its name. OSError. Requires: called once."""
        fd: cython.int
        with cython.nogil:
            fd = descriptor_acquire(self.file.descriptors, cython.address(self.file.descriptor))
        self.held = fd >= 0
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd), self.path)

    def summary(self, cancel: CancelFlag | None = None) -> object:
        """The size of the file and the XXH3-128 of its bytes; None where it was cancelled. OSError."""
        f: Failure
        h: XXH128_hash_t
        size: uint64_t = 0
        status: cython.int
        cancelled: cython.pointer[cython.const[cython.int]] = cython.NULL
        if cancel is not None:
            cancelled = cython.address(cancel.raised)
        failure_clear(cython.address(f))
        with cython.nogil:
            status = sum_file(
                self.file, cython.address(size), cython.address(h), cancelled, cython.address(f)
            )
        if status == ST_END:
            return None
        if status != ST_OK:
            raise_failure(cython.address(f))
        return size, hash_hex(h)

    @property
    def number(self):
        return self.file.number

    @property
    def file_bytes(self):
        return self.file.file_bytes

    def check(self) -> dict:
        """Read the whole file and check every byte of it: CorruptionError, or what was counted.

        Records are found from the last one back: each trailer says where its record begins.
        """
        f: Failure
        found: BlobFooter
        status: cython.int
        b: cython.pointer[BlobFile] = self.file
        failure_clear(cython.address(f))
        with cython.nogil:
            status = check_file(b, cython.address(found), cython.address(f))
        if status != ST_OK:
            raise_failure(cython.address(f))
        return {
            "entries": found.records,
            "raw_bytes": found.raw_bytes,
            "stored_bytes": found.stored_bytes,
        }


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sum_file(
    b: cython.pointer[BlobFile],
    size: cython.pointer[uint64_t],
    h: cython.pointer[XXH128_hash_t],
    cancelled: cython.pointer[cython.const[cython.int]],
    f: cython.pointer[Failure],
) -> cython.int:
    """ST_OK, ST_END where it was cancelled, or a failure in f."""
    got: int64_t = 1
    fd: cython.int
    state: cython.pointer[XXH3_state_t] = XXH3_createState()
    chunk: cython.pointer[uint8_t] = cython.cast(cython.pointer[uint8_t], malloc(SUM_CHUNK_BYTES))
    status: cython.int = ST_OK
    if state == cython.NULL or chunk == cython.NULL:
        status = fail_nomem(f)
    else:
        XXH3_128bits_reset(state)
        fd = descriptor_acquire(b.descriptors, cython.address(b.descriptor))
        if fd < 0:
            status = fail_io(f, b.path, -fd)
        while status == ST_OK and got > 0:
            got = file_pread(fd, chunk, SUM_CHUNK_BYTES, size[0])
            if got < 0:
                status = fail_io(f, b.path, cython.cast(cython.int, -got))
            elif cancelled != cython.NULL and fj_atomic_load(cancelled) != 0:
                status = ST_END
            else:
                XXH3_128bits_update(state, chunk, got)
                size[0] += got
        if fd >= 0:
            descriptor_release(b.descriptors, cython.address(b.descriptor))
        h[0] = XXH3_128bits_digest(state)
    XXH3_freeState(state)
    free(chunk)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_file(
    b: cython.pointer[BlobFile], footer: cython.pointer[BlobFooter], f: cython.pointer[Failure]
) -> cython.int:
    data: uint8_t[BLOB_FOOTER_BYTES]
    why: cython.p_const_char
    counted: BlobFooter
    room: cython.pointer[uint8_t] = cython.NULL
    room_bytes: cython.size_t = 0
    at: uint64_t = b.file_bytes - BLOB_FOOTER_BYTES
    status: cython.int
    if b.file_bytes < BLOB_HEADER_BYTES + BLOB_FOOTER_BYTES:
        return fail_corrupt(f, b.path, 0, "a blob file too short for header and footer")
    status = read_at(b, data, BLOB_FOOTER_BYTES, at, False, f)
    if status != ST_OK:
        return status
    why = blob_footer_decode(data, b.file_bytes, footer)
    if why != cython.NULL:
        return fail_corrupt(f, b.path, at, why)
    status = read_at(b, data, BLOB_HEADER_BYTES, 0, False, f)
    if status != ST_OK:
        return status
    why = blob_header_check(data, b.number)
    if why != cython.NULL:
        return fail_corrupt(f, b.path, 0, why)
    counted.records = counted.raw_bytes = counted.stored_bytes = 0
    while status == ST_OK and at > BLOB_HEADER_BYTES:
        status = check_last(
            b,
            cython.address(at),
            cython.address(counted),
            cython.address(room),
            cython.address(room_bytes),
            f,
        )
    free(room)
    if status == ST_OK and (
        counted.records != footer.records
        or counted.raw_bytes != footer.raw_bytes
        or counted.stored_bytes != footer.stored_bytes
    ):
        status = fail_corrupt(
            f, b.path, b.file_bytes - BLOB_FOOTER_BYTES, "other records than the footer says"
        )
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_last(
    b: cython.pointer[BlobFile],
    at: cython.pointer[uint64_t],
    counted: cython.pointer[BlobFooter],
    room: cython.pointer[cython.pointer[uint8_t]],
    room_bytes: cython.pointer[cython.size_t],
    f: cython.pointer[Failure],
) -> cython.int:
    """Check the record that ends at at[0], which becomes its beginning."""
    trailer: uint8_t[BLOB_TRAILER_BYTES]
    p: BlobPointer
    codec: cython.int
    why: cython.p_const_char = cython.NULL
    key_bytes: uint32_t
    n: uint64_t
    status: cython.int
    end: uint64_t = at[0]
    if end < BLOB_HEADER_BYTES + BLOB_TRAILER_BYTES:
        return fail_corrupt(f, b.path, BLOB_HEADER_BYTES, "bytes between header and records")
    status = read_at(b, trailer, BLOB_TRAILER_BYTES, end - BLOB_TRAILER_BYTES, False, f)
    if status != ST_OK:
        return status
    p.number = b.number
    p.raw_bytes = fj_load32(trailer)
    p.stored_bytes = fj_load32(cython.address(trailer[4]))
    key_bytes = fj_load32(cython.address(trailer[8]))
    n = record_bytes(cython.address(p), key_bytes)
    if key_bytes > MAX_KEY_BYTES or n > end - BLOB_HEADER_BYTES:
        return fail_corrupt(f, b.path, end - BLOB_TRAILER_BYTES, "a record with impossible lengths")
    p.offset = end - n
    if not reserve(room, room_bytes, n):
        return fail_nomem(f)
    status = read_at(b, room[0], n, p.offset, False, f)
    if status != ST_OK:
        return status
    if (
        record_check(
            room[0], cython.address(p), cython.NULL, key_bytes, cython.address(codec), cython.address(why)
        )
        != ST_OK
    ):
        return fail_corrupt(f, b.path, p.offset, why)
    at[0] = p.offset
    counted.records += 1
    counted.raw_bytes += p.raw_bytes
    counted.stored_bytes += p.stored_bytes
    return ST_OK
