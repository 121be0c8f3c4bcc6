"""Where flush, compaction and ingestion put large values: one blob file after the other.

Every entry that goes into a table goes through `add` first. A value of at least `threshold_bytes` is written to the
current blob file, and the table gets a pointer. An entry that points into one of the files that are to be emptied
(`moved`) has its record moved: read, checked, and written again as it is, without decompressing it. All others pass.

A file that has reached its size is followed by another one, which takes a number from the control plane: `full`
says when, between two entries, and `begin` is called with the GIL.

Thread safety: belongs to one compaction, flush or ingestion.
"""

import cython
from cython.cimports.fjeld.kernel.blob import blob_read_record
from cython.cimports.fjeld.kernel.blob_format import BlobPointer, pointer_decode, record_bytes
from cython.cimports.fjeld.kernel.blob_writer import BlobWriter, blob_copy, blob_out_bytes, blob_put
from cython.cimports.fjeld.kernel.coding import KIND_BLOB, KIND_VALUE, POINTER_BYTES, cbytes, fj_load64
from cython.cimports.fjeld.kernel.failure import ST_OK, Failure, fail_nomem
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.table_writer import Writer, writer_add
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free


@cython.final
@cython.cclass
class BlobSink:
    """Owns the files that it has begun, until `finish` hands them over or `abandon` removes them."""

    def __cinit__(
        self,
        next_file: object,
        *,
        threshold_bytes: uint64_t,
        file_bytes: uint64_t,
        codec: cython.int = 1,
        level: cython.int = 3,
        moved: object = (),
    ):
        """moved: numbers of the files whose values are moved."""
        self.next_file = next_file
        self.threshold_bytes = threshold_bytes
        self.file_bytes = file_bytes
        self.codec = codec
        self.level = level
        self.finished = []
        self.paths = []
        numbers: list = sorted(moved)
        self.moved = cython.cast(cython.pointer[uint64_t], calloc(len(numbers) + 1, cython.sizeof(uint64_t)))
        if self.moved == cython.NULL:
            raise MemoryError
        for number in numbers:
            self.moved[self.moved_count] = number
            self.moved_count += 1

    def __dealloc__(self):
        free(self.moved)
        free(self.record)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def full(self) -> cython.bint:
        """Begin another file before the next entry is added."""
        return self.out == cython.NULL or blob_out_bytes(self.out) >= self.file_bytes

    def begin(self) -> None:
        """Finish the file, if there is one, and go on in another. Requires: `full`."""
        self.end()
        number, path = self.next_file()
        self.writer = BlobWriter(path, number=number, codec=self.codec, level=self.level)
        self.out = self.writer.out
        self.paths.append(path)

    def end(self) -> None:
        """Finish the current file."""
        self.out = cython.NULL
        if self.writer is not None:
            facts: dict = self.writer.finish()
            if facts is not None:
                self.finished.append(facts)
            self.writer = None

    def finish(self) -> list:
        """What the manifest keeps of each file; all are synced. The folder's own sync is the caller's."""
        self.end()
        return self.finished

    def abandon(self) -> list:
        """Nothing is wanted: close what is open; paths that may have to be removed."""
        self.out = cython.NULL
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None
        return self.paths

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def is_moved(self, number: uint64_t) -> cython.bint:
        low: uint32_t = 0
        high: uint32_t = self.moved_count
        middle: uint32_t
        while low < high:
            middle = (low + high) >> 1
            if self.moved[middle] < number:
                low = middle + 1
            else:
                high = middle
        return low < self.moved_count and self.moved[low] == number

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def add(
        self,
        w: cython.pointer[Writer],
        key: cbytes,
        key_bytes: cython.size_t,
        tag: uint64_t,
        value: cbytes,
        value_bytes: cython.size_t,
        f: cython.pointer[Failure],
    ) -> cython.int:
        """Put an entry into the table, its value into a blob file where it belongs there."""
        pointer: uint8_t[POINTER_BYTES]
        status: cython.int
        kind: uint64_t = tag & 0xFF
        if kind == KIND_VALUE and value_bytes >= self.threshold_bytes:
            status = blob_put(self.out, key, key_bytes, value, value_bytes, pointer, f)
            if status != ST_OK:
                return status
            tag = (tag & ~cython.cast(uint64_t, 0xFF)) | KIND_BLOB
            return writer_add(w, key, key_bytes, tag, pointer, POINTER_BYTES, f)
        if kind == KIND_BLOB and self.moved_count > 0 and self.is_moved(fj_load64(value)):
            return self.move(w, key, key_bytes, tag, value, f)
        return writer_add(w, key, key_bytes, tag, value, value_bytes, f)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def move(
        self,
        w: cython.pointer[Writer],
        key: cbytes,
        key_bytes: cython.size_t,
        tag: uint64_t,
        value: cbytes,
        f: cython.pointer[Failure],
    ) -> cython.int:
        pointer: uint8_t[POINTER_BYTES]
        p: BlobPointer
        codec: cython.int = 0
        status: cython.int
        pointer_decode(value, cython.address(p))
        n: cython.size_t = record_bytes(cython.address(p), key_bytes)
        if not reserve(cython.address(self.record), cython.address(self.record_capacity_bytes), n):
            return fail_nomem(f)
        status = blob_read_record(
            self.sources, cython.address(p), key, key_bytes, self.record, cython.address(codec), False, f
        )
        if status != ST_OK:
            return status
        status = blob_copy(self.out, self.record, cython.address(p), key_bytes, codec, pointer, f)
        if status != ST_OK:
            return status
        self.moved_bytes += n
        return writer_add(w, key, key_bytes, tag, pointer, POINTER_BYTES, f)
