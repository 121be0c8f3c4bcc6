"""Holds back what a compaction writes until the user's filter has been asked, a thousand values in one call.

The compaction runs without the GIL and knows entries one by one; the filter is Python and should be called
seldom. So with a filter everything that would be written waits here, in order. When the queue is full, or an
output ends, the values that the filter may decide over are handed to it in one list, and then all is written:
a refused value as a tombstone, which hides what is older, or not at all where nothing older can be.

Thread safety: belongs to one compaction.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.fjeld.kernel.blob_sink import BlobSink
from cython.cimports.fjeld.kernel.coding import KIND_TOMBSTONE, cbytes
from cython.cimports.fjeld.kernel.failure import ST_OK, Failure, fail_nomem
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.table_writer import Writer, writer_add
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memcpy

# Enough that taking the GIL and the call are nothing to each value, few enough for a list in memory.
_MAX_ENTRIES = cython.declare(uint32_t, 1024)
_MAX_BYTES = cython.declare(cython.size_t, 1 << 20)


@cython.final
@cython.cclass
class FilterQueue:
    """See the module. `ask_filter` gets [(key, value), ...] and gives as many answers: true keeps the entry."""

    def __cinit__(self, ask_filter: object):
        self.ask_filter = ask_filter
        self.entries = cython.cast(cython.pointer[Queued], malloc((_MAX_ENTRIES + 2) * cython.sizeof(Queued)))
        if self.entries == cython.NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.entries)
        free(self.bytes)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def full(self) -> cython.bint:
        """Ask before the next entry is added."""
        return self.count >= _MAX_ENTRIES or self.used_bytes >= _MAX_BYTES

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def add(
        self,
        key: cbytes,
        key_bytes: cython.size_t,
        tag: uint64_t,
        value: cbytes,
        value_bytes: cython.size_t,
        shown: cbytes,
        shown_bytes: cython.size_t,
        flags: cython.int,
        f: cython.pointer[Failure],
    ) -> cython.int:
        """shown: what the filter is shown in place of the value; NULL: the value itself.

        Requires: not full, or one more than that: a version may settle the one before it.
        """
        total: cython.size_t = self.used_bytes + key_bytes + value_bytes + shown_bytes
        if total > self.capacity_bytes and not reserve(
            cython.address(self.bytes), cython.address(self.capacity_bytes), total
        ):
            return fail_nomem(f)
        q: cython.pointer[Queued] = self.entries + self.count
        q.tag = tag
        q.start = self.used_bytes
        q.key_bytes = cython.cast(uint32_t, key_bytes)
        q.value_bytes = cython.cast(uint32_t, value_bytes)
        q.shown_bytes = cython.cast(uint32_t, shown_bytes)
        q.elsewhere = shown != cython.NULL
        q.flags = cython.cast(uint8_t, flags)
        q.refused = 0
        if key_bytes:
            memcpy(self.bytes + self.used_bytes, key, key_bytes)
        if value_bytes:
            memcpy(self.bytes + self.used_bytes + key_bytes, value, value_bytes)
        if shown_bytes:
            memcpy(self.bytes + self.used_bytes + key_bytes + value_bytes, shown, shown_bytes)
        self.used_bytes = total
        self.count += 1
        if flags & QUEUE_ASK:
            self.asked += 1
        return ST_OK

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def ask(self) -> cython.int:
        """Ask the filter, with the GIL. What it raises is raised: nothing is decided then."""
        i: uint32_t
        q: cython.pointer[Queued]
        if self.asked == 0:
            return 0
        pairs: list = []
        for i in range(self.count):
            q = self.entries + i
            if q.flags & QUEUE_ASK:
                start: cython.p_char = cython.cast(cython.p_char, self.bytes + q.start)
                value: cython.p_char = start + q.key_bytes
                value_bytes: uint32_t = q.value_bytes
                if q.elsewhere:
                    value += q.value_bytes
                    value_bytes = q.shown_bytes
                pairs.append(
                    (
                        PyBytes_FromStringAndSize(start, q.key_bytes),
                        PyBytes_FromStringAndSize(value, value_bytes),
                    )
                )
        answers: list = [bool(answer) for answer in self.ask_filter(pairs)]
        if len(answers) != len(pairs):
            raise ValueError(
                f"a compaction filter must give an answer for each entry: {len(answers)} for {len(pairs)}"
            )
        position: cython.Py_ssize_t = 0
        for i in range(self.count):
            q = self.entries + i
            if q.flags & QUEUE_ASK:
                if not answers[position]:
                    q.refused = 1
                    self.entries_refused += 1
                position += 1
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def write(
        self, w: cython.pointer[Writer], sink: BlobSink | None, f: cython.pointer[Failure]
    ) -> cython.int:
        """Write all that waits, as the filter has decided, and be empty."""
        i: uint32_t
        q: cython.pointer[Queued]
        status: cython.int = ST_OK
        key: cbytes
        for i in range(self.count):
            q = self.entries + i
            key = self.bytes + q.start
            if not q.refused and sink is not None:
                status = sink.add(w, key, q.key_bytes, q.tag, key + q.key_bytes, q.value_bytes, f)
            elif not q.refused:
                status = writer_add(w, key, q.key_bytes, q.tag, key + q.key_bytes, q.value_bytes, f)
            elif not q.flags & QUEUE_BOTTOM:
                tag: uint64_t = (q.tag & ~cython.cast(uint64_t, 0xFF)) | KIND_TOMBSTONE
                status = writer_add(w, key, q.key_bytes, tag, cython.NULL, 0, f)
            if status != ST_OK:
                return status
        self.count = 0
        self.asked = 0
        self.used_bytes = 0
        return ST_OK
