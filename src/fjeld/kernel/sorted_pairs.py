"""(key, value) pairs on their way from a Python iterator into tables, a chunk at a time.

    iterator --fill, with the GIL--> a chunk of checked pairs --write, without it--> TableWriter

Filling runs the caller's Python code and looks at types, lengths and order. Writing encodes, compresses and
writes blocks, and lets go of the GIL once a chunk. Entries get seqno 0: the manifest says which seqno the
entries of an ingested table have (docs/FORMATS.md, *Table*).
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.blob_sink import FILE_DUE, BlobSink
from cython.cimports.fjeld.kernel.block_builder import MAX_BLOCK_BYTES
from cython.cimports.fjeld.kernel.coding import KIND_VALUE, MAX_KEY_BYTES, cbytes, fj_compare
from cython.cimports.fjeld.kernel.core import check_key, coerce
from cython.cimports.fjeld.kernel.failure import ST_OK, failure_clear, raise_failure
from cython.cimports.fjeld.kernel.table_writer import TableWriter, writer_add, writer_file_bytes
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free

# A chunk ends at either: small enough for the second-level cache, and about a millisecond with the GIL.
CHUNK_PAIRS = cython.declare(uint32_t, 4096)
CHUNK_BYTES = cython.declare(uint64_t, 1 << 20)
# What a block holds beside the longest key, as in the table writer.
MAX_VALUE_BYTES = cython.declare(cython.longlong, MAX_BLOCK_BYTES - MAX_KEY_BYTES - 64)
SHOWN_BYTES = cython.declare(cython.int, 64)


@cython.cclass
class SortedPairs:
    """Owns one chunk. For one thread; it holds the keys and values that it points to."""

    def __cinit__(self, pairs: object):
        self.iterator = iter(pairs)
        self.held = []
        self.pairs = cython.cast(cython.pointer[Pair], calloc(CHUNK_PAIRS, cython.sizeof(Pair)))
        if self.pairs == cython.NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.pairs)

    def fill(self) -> bool:
        """Take the next chunk from the iterator; False where nothing is left. Requires: the one before is written.

        ValueError for a key that does not follow the one before it, and for what is too long; TypeError for
        what holds no bytes; and whatever the iterator raises.
        """
        chunk_bytes: uint64_t = 0
        self.count = 0
        self.written = 0
        self.held = []
        for pair in self.iterator:
            self.take(pair)
            chunk_bytes += self.pairs[self.count - 1].key_bytes + self.pairs[self.count - 1].value_bytes
            if self.count == CHUNK_PAIRS or chunk_bytes >= CHUNK_BYTES:
                break
        return self.count > 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def take(self, pair: object) -> cython.int:
        """Check one pair and put it into the chunk."""
        key, value = pair
        if not PyBytes_CheckExact(key):
            key = coerce(key, "key")
        if not PyBytes_CheckExact(value):
            value = coerce(value, "value")
        check_key(key)
        if PyBytes_GET_SIZE(value) > MAX_VALUE_BYTES:
            raise ValueError(
                f"a value in a table has at most {MAX_VALUE_BYTES:,} bytes, this one has {len(value):,}"
            )
        to: cython.pointer[Pair] = self.pairs + self.count
        to.key = cython.cast(cbytes, PyBytes_AS_STRING(key))
        to.key_bytes = PyBytes_GET_SIZE(key)
        to.value = cython.cast(cbytes, PyBytes_AS_STRING(value))
        to.value_bytes = PyBytes_GET_SIZE(value)
        if self.taken > 0 and (
            fj_compare(
                cython.cast(cbytes, PyBytes_AS_STRING(self.last_key)),
                PyBytes_GET_SIZE(self.last_key),
                to.key,
                to.key_bytes,
            )
            >= 0
        ):
            raise ValueError(
                f"pair {self.taken} (from 0) has the key {shown(key)}, the one before it {shown(self.last_key)}: "
                "keys must strictly ascend; sort the pairs by key, and give each key once"
            )
        self.held.append(key)
        self.held.append(value)
        self.last_key = key
        self.count += 1
        self.taken += 1
        return 0

    def write(self, writer: TableWriter, table_bytes: uint64_t, sink: BlobSink | None = None) -> bool:
        """Put the chunk into the table; True where that has reached `table_bytes` and pairs are left for another.
        sink: where large values go. Lets go of the GIL.
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
        return self.written < self.count

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
        pair: cython.pointer[Pair]
        while status == ST_OK and self.written < self.count and writer_file_bytes(w) < target_bytes:
            pair = self.pairs + self.written
            if sink is None:
                status = writer_add(w, pair.key, pair.key_bytes, KIND_VALUE, pair.value, pair.value_bytes, f)
            elif sink.full():
                return FILE_DUE
            else:
                status = sink.add(w, pair.key, pair.key_bytes, KIND_VALUE, pair.value, pair.value_bytes, f)
            self.written += 1
        return status


@cython.cfunc
def shown(key: bytes) -> str:
    """A key for a message."""
    return repr(key) if len(key) <= SHOWN_BYTES else f"{key[:SHOWN_BYTES]!r}... ({len(key):,} bytes)"
